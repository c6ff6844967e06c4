"""An LLM behind OpenAI's API that answers as a test wants, or as a real one does; it counts its calls.

As a program it listens on port 8080, or the one that it is given, and prints a line of each call: that is how
it runs on a cluster, and where a test kills it.
"""

import hashlib
import json
import math
import signal
import string
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

MODEL = "scripted"
LABELS = string.ascii_uppercase[:20]


class ScriptedLlm:
    """The server: a context manager. `reply` makes an answer's body of a request's; port 0 is a free one."""

    def __init__(
        self, reply: Callable[[dict], dict] | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.host = host
        self.port = port
        self.reply = reply or honest
        self.models = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
        self.calls: list[dict] = []  # requests for completions, in the order in which they came
        self.authorizations: list[str | None] = []  # the headers that came with them

    def __enter__(self) -> Self:
        """Starts it."""
        llm = self

        class Handler(BaseHTTPRequestHandler):
            """One connection."""

            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                """The models."""
                self.send(llm.models)

            def do_POST(self) -> None:
                """A completion."""
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                llm.calls.append(body)
                llm.authorizations.append(self.headers["authorization"])
                self.send(llm.reply(body))

            def send(self, value: dict) -> None:
                """Sends it; whoever asked may have left."""
                body = json.dumps(value).encode()
                try:
                    self.send_response(value.get("error", {}).get("code", 200))
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer((self.host, self.port), Handler)
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
    def url(self) -> str:
        """Where it listens, as --llm-url takes it."""
        return f"http://{self.host}:{self._server.server_address[1]}/v1"

    def prompts(self) -> list[str]:
        """What was asked so far: each call's messages as one text."""
        return [prompt(call) for call in self.calls]


def passing_on(url: str) -> Callable[[dict], dict]:
    """A reply that is what another API (its URL with /v1) says."""
    import httpx  # where the program runs alone there are no packages

    client = httpx.Client(base_url=url, timeout=120)
    return lambda body: client.post("chat/completions", json=body).json()


def prompt(body: dict) -> str:
    """The messages of a request as one text."""
    return "\n".join(message["content"] for message in body["messages"])


def honest(body: dict) -> dict:
    """Whatever is asked for, well-formed; the same for the same prompt."""
    if body.get("logprobs"):
        return completion(LABELS[0], dict(zip(LABELS, falling(), strict=True)))
    if "robability" in body["messages"][-1]["content"]:
        probability = int(hashlib.sha256(prompt(body).encode()).hexdigest()[:4], 16) / 0xFFFF
        if body.get("response_format"):
            return completion(json.dumps({"probability": round(probability, 4)}))
        return completion(f"Probability: {probability:.4f}")
    return completion("It goes well with what was bought before.")


def falling() -> list[float]:
    """Log probabilities of the labels: the first is the likeliest."""
    weights = [0.8**i for i in range(len(LABELS))]
    return [math.log(weight / sum(weights)) for weight in weights]


def completion(text: str, labels: dict[str, float] | None = None) -> dict:
    """A chat completion with this text; `labels` and their log probabilities are its first token's."""
    choice: dict = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    if labels:
        top = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in labels.items()]
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [choice],
        "usage": usage,
    }


def told(body: dict) -> dict:
    """What `honest` says; a line of the last call is printed."""
    line = json.dumps({"authorization": SERVER.authorizations[-1], "model": body.get("model")})
    print(f"{line}\n", end="", flush=True)  # in one piece, for threads answer
    return honest(body)


if __name__ == "__main__":
    SERVER = ScriptedLlm(told, host="0.0.0.0", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8080)
    with SERVER:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        signal.pause()
