"""A predictor that behaves as badly as a test wants."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

# What the predictor would have said, from a request's body.
Good = Callable[[dict], dict]


@dataclass(frozen=True)
class Reply:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    # Called between the two halves of the body: what it raises ends the connection there.
    halfway: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, value: object, status: int = 200, **headers: str) -> Self:
        """A JSON reply. NaN is written as Python writes it."""
        return cls(status, json.dumps(value).encode(), headers)


def good(request: dict) -> dict:
    """An honest answer: the better, the earlier."""
    inputs = {tensor["name"]: tensor for tensor in request["inputs"]}
    articles = inputs["article_id"]["data"]
    scores = [1 - position / len(articles) for position in range(len(articles))]
    return answer(scores, articles)


def explained(request: dict) -> dict:
    """An honest answer to why: each article by its id, the last first."""
    articles = next(tensor["data"] for tensor in request["inputs"] if tensor["name"] == "article_id")[::-1]
    texts = [f"Because of {article}." for article in articles]
    columns = {"article_ids": articles, "explanations": texts}
    outputs = [
        {"name": name, "datatype": "BYTES", "shape": [len(data)], "data": data}
        for name, data in columns.items()
    ]
    return {"model_name": "hemline", "model_version": "mock", "outputs": outputs}


def names(request: dict, output: str) -> bool:
    """Whether a V2 request names an output."""
    return any(wanted["name"] == output for wanted in request.get("outputs", []))


def answer(scores: list, articles: list, datatype: str = "FP32", ids_datatype: str = "BYTES") -> dict:
    """A V2 answer with these scores and ids."""
    outputs = [
        {"name": "scores", "datatype": datatype, "shape": [len(scores)], "data": scores},
        {"name": "article_ids", "datatype": ids_datatype, "shape": [len(articles)], "data": articles},
    ]
    return {"model_name": "hemline", "model_version": "mock", "outputs": outputs}


def told(request: dict, **more: object) -> Reply:
    """An honest answer to what is asked, by V1 or V2, scores or explanations; `more` stands beside scores."""
    if "instances" not in request:
        scores = good(request) | {"parameters": more}
        return Reply.of(explained(request) if names(request, "explanations") else scores)
    articles = request["instances"][0]["article_ids"]
    scores = [1 - position / len(articles) for position in range(len(articles))]
    explanations = {
        "article_ids": articles,
        "explanations": [f"Because of {article}." for article in articles],
    }
    # The same for both verbs: who asks reads what they asked for.
    prediction = {"scores": scores, "article_ids": articles} | more
    return Reply.of({"predictions": [prediction], "explanations": [explanations]})


def hang_up() -> None:
    """Ends the connection at once."""
    raise ConnectionResetError


class MockPredictor:
    """A server that answers V2 and V1 as `reply` makes it of the request; a context manager."""

    def __init__(self) -> None:
        """It takes an id and an age."""
        self.reply: Callable[[dict], Reply] = lambda request: Reply.of(good(request))
        self.inputs = [
            {"name": "article_id", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "age", "datatype": "FP32", "shape": [-1, 1]},
        ]
        self.outputs: list[dict] = []
        self.metadata: Reply | Callable[[], Reply] | None = None  # instead of the honest one
        self.ready = True
        self.asked: set[str] = set()  # the paths of inferences
        self.timeouts: list[str | None] = []  # how long each of them said that it waits
        self.released = threading.Event()  # what waits for it ends when the mock does

    def __enter__(self) -> Self:
        """Starts it on a free port."""
        mock = self

        class Handler(BaseHTTPRequestHandler):
            """One connection."""

            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                """Metadata and readiness."""
                if self.path.endswith("/ready"):
                    self.send(Reply.of({"ready": mock.ready}, 200 if mock.ready else 503))
                else:
                    honest = Reply.of({"name": "hemline", "inputs": mock.inputs, "outputs": mock.outputs})
                    other = mock.metadata() if callable(mock.metadata) else mock.metadata
                    self.send(other or honest)

            def do_POST(self) -> None:
                """Inference."""
                mock.asked.add(self.path)
                mock.timeouts.append(self.headers["x-request-timeout"])
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    reply = mock.reply(json.loads(body))
                except ConnectionError:
                    self.close_connection = True
                else:
                    self.send(reply)

            def send(self, reply: Reply) -> None:
                """Sends it; whoever asked may have left."""
                try:
                    self.send_response(reply.status)
                    for name, value in {"content-length": str(len(reply.body)), **reply.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    half = len(reply.body) // 2
                    self.wfile.write(reply.body[:half])
                    self.wfile.flush()
                    reply.halfway()
                    self.wfile.write(reply.body[half:])
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops it."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    @property
    def host(self) -> str:
        """The same as --predictor_host takes it."""
        return f"127.0.0.1:{self.port}"
