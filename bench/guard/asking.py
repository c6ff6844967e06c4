"""Asks over one connection, one request after the other, with the same bytes each time.

No gRPC library: what one adds now and then, as pings, would be counted too.
"""

import socket
import struct
from collections.abc import Iterator
from http.client import HTTPConnection

from protocols import GRPC_PATH, Request

from hemline.pair import PairError

SECONDS = 120.0  # that an answer may take: under valgrind everything takes fifty times as long
# HTTP/2's frames and flags, entries of HPACK's static table, and the largest window.
DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
AUTHORITY, METHOD_POST, PATH, SCHEME_HTTP, CONTENT_TYPE = 1, 3, 4, 6, 31
INITIAL_WINDOW_SIZE, FIRST_WINDOW, WINDOW = 4, 65_535, 2**31 - 1


class Http1:
    """A REST request over HTTP/1.1 with keep-alive."""

    def __init__(self, address: str, request: Request) -> None:
        """Connects to `address`, host:port."""
        self._http, self._request = HTTPConnection(address, timeout=SECONDS), request

    def ask(self) -> bytes:
        """Sends it and reads the answer's body. Raises PairError where that is a failure."""
        self._http.request("POST", self._request.path, self._request.body, self._request.headers)
        answer = self._http.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise PairError(f"the answer is {answer.status}: {body.decode(errors='replace')}")
        return body


class Grpc:
    """A unary call over HTTP/2, as little of it as one call at a time takes."""

    def __init__(self, address: str, request: Request) -> None:
        """Connects to `address`, host:port."""
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=SECONDS)
        self._file = self._socket.makefile("rb")
        self._message = b"\0" + struct.pack(">I", len(request.body)) + request.body
        # Literals that are not to be remembered. A name's number from 15 on goes on in the next byte.
        authority, path = bytes([AUTHORITY]) + text(address), bytes([PATH]) + text(GRPC_PATH)
        content_type = bytes([15, CONTENT_TYPE - 15]) + text("application/grpc")
        indexed = bytes([0x80 | METHOD_POST, 0x80 | SCHEME_HTTP])
        self._headers = indexed + authority + path + content_type + b"\0" + text("te") + text("trailers")
        self._stream = -1
        # Windows as large as can be: none has to be opened again.
        settings = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, WINDOW))
        wider = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW - FIRST_WINDOW))
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + wider)

    def ask(self) -> bytes:
        """Sends it and reads the answer's message. Raises PairError where it is a failure."""
        self._stream += 2
        head = frame(HEADERS, END_HEADERS, self._stream, self._headers)
        self._socket.sendall(head + frame(DATA, END_STREAM, self._stream, self._message))
        if not (body := b"".join(self._data())):
            raise PairError("the answer over gRPC is a failure")
        return body[5:]

    def _data(self) -> Iterator[bytes]:
        """The answer's data, up to the end of its stream."""
        ended = False
        while not ended and len(head := self._file.read(9)) == 9:
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            content = self._file.read(int.from_bytes(head[:3]))
            if kind in (SETTINGS, PING) and not flags & ACK:
                self._socket.sendall(frame(kind, ACK, 0, content if kind == PING else b""))
            if kind == DATA:
                yield content
            ended = stream == self._stream and kind in (DATA, HEADERS) and bool(flags & END_STREAM)


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """A frame of HTTP/2; up to 16 KiB of content."""
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def text(value: str) -> bytes:
    """A string as HPACK has it; up to 126 bytes."""
    return bytes([len(value)]) + value.encode()
