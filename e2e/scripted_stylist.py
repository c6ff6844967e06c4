"""A predictor-llm that thinks of outfits as a test wants: its stream of events, and what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

MODEL = "scripted"
# What is sent, piece by piece, to a request's body. What it raises ends the connection there.
Script = Callable[[dict], Iterator[bytes]]


def event(name: str, data: object) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def item(index: int, emoji: str, category: str, description: str) -> bytes:
    """The event of an item."""
    told = {"index": index, "emoji": emoji, "category": category, "description": description}
    return event("item", told)


def end(items: int, summary: str = "They go together.", **more: object) -> Iterator[bytes]:
    """The events that end an outfit."""
    yield event("summary", {"summary": summary})
    yield event("done", {"llm": MODEL, "form": "json", "items": items, **more})


def outfit(*descriptions: str) -> Script:
    """An outfit of these descriptions, whatever is asked."""

    def script(_body: dict) -> Iterator[bytes]:
        for index, description in enumerate(descriptions):
            yield item(index, "👕", f"Piece {index}", description)
        yield from end(len(descriptions))

    return script


def composed(body: dict) -> Iterator[bytes]:
    """Items like what the profile says was bought, each lighter; without one, of the request's own words."""
    bought = (body["parameters"].get("profile") or {}).get("purchases", [])[:3]
    wanted = [
        f"a lighter {one['product_type']} in {one['colour']}, like {one['name']}" for one in bought
    ] or [f"{kind} for: {body['text_input']}" for kind in ("trousers", "a top", "shoes")]
    return outfit(*wanted)(body)


class ScriptedStylist:
    """The server: a context manager. `script` may be changed between requests."""

    def __init__(self, script: Script = composed) -> None:
        self.script = script
        self.status = 200
        self.content_type = "text/event-stream"
        self.calls: list[dict] = []  # bodies, in the order in which they came
        self.headers: list[dict[str, str]] = []  # that came with them
        self.paths: list[str] = []

    def __enter__(self) -> Self:
        """Starts it on a free port."""
        stylist = self

        class Handler(BaseHTTPRequestHandler):
            """One connection, for one request: it ends where the stream does."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                stylist.calls.append(body)
                stylist.headers.append({name.lower(): value for name, value in self.headers.items()})
                stylist.paths.append(self.path)
                self.close_connection = True
                try:
                    self.send_response(stylist.status)
                    self.send_header("content-type", stylist.content_type)
                    self.send_header("transfer-encoding", "chunked")
                    self.end_headers()
                    for piece in stylist.script(body):
                        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")
                except ConnectionError:
                    pass  # whoever asked left, or the script did

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        """Where it listens, as --stylist-host takes it."""
        return f"127.0.0.1:{self._server.server_address[1]}"
