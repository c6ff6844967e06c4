"""As much of a Kubernetes API server as somebody needs who watches InferenceServices and a ConfigMap."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

INFERENCE_SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
KINDS = {
    INFERENCE_SERVICES: ("serving.kserve.io/v1beta1", "InferenceService"),
    CONFIG_MAPS: ("v1", "ConfigMap"),
}
POLL_SECONDS = 0.05


class KubernetesApi:
    """Objects that a test puts and deletes; lists and watches of them. `forbidden` answers 403 instead."""

    def __init__(self) -> None:
        """Empty."""
        self._changed = threading.Condition()
        # For each path (number of the change, type, object), oldest first.
        self._events: dict[str, list[tuple[int, str, dict]]] = {path: [] for path in KINDS}
        self._objects: dict[str, dict[str, dict]] = {path: {} for path in KINDS}
        self._version = 1
        self._is_closed = False
        self.forbidden = False

    def __enter__(self) -> Self:
        """Listens."""
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends, watches too."""
        self._is_closed = True
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, folder: Path) -> dict[str, str]:
        """The variable that names a file with the way here."""
        path = folder / "kubeconfig"
        cluster = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [
                {"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "default"}}
            ],
            "current-context": "here",
        }
        path.write_text(json.dumps(config))
        return {"KUBECONFIG": str(path)}

    def put_ranker(self, name: str, ranker: str, url: str | None, **annotations: str) -> None:
        """An InferenceService with the label of a ranker, at this address."""
        status = {"address": {"url": url}} if url else {}
        metadata = {"name": name, "labels": {"hemline.io/ranker": ranker}}
        metadata["annotations"] = {f"hemline.io/{key}": value for key, value in annotations.items()}
        self._put(INFERENCE_SERVICES, metadata, spec={"predictor": {}}, status=status)

    def put_policy(self, name: str = "hemline-ranking", **keys: str) -> None:
        """The ConfigMap; `by_history` is the key `by-history`."""
        data = {key.replace("_", "-"): value for key, value in keys.items()}
        self._put(CONFIG_MAPS, {"name": name}, data=data)

    def delete_ranker(self, name: str) -> None:
        """Takes an InferenceService away."""
        self._delete(INFERENCE_SERVICES, name)

    def delete_policy(self, name: str = "hemline-ranking") -> None:
        """Takes the ConfigMap away."""
        self._delete(CONFIG_MAPS, name)

    def _put(self, path: str, metadata: dict, **content: object) -> None:
        api_version, kind = KINDS[path]
        with self._changed:
            self._version += 1
            name = metadata["name"]
            kind_of_change = "MODIFIED" if name in self._objects[path] else "ADDED"
            metadata = metadata | {"namespace": "default", "resourceVersion": str(self._version)}
            found = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
            self._objects[path][name] = found
            self._events[path].append((self._version, kind_of_change, found))
            self._changed.notify_all()

    def _delete(self, path: str, name: str) -> None:
        with self._changed:
            self._version += 1
            gone = self._objects[path].pop(name)
            gone = gone | {"metadata": gone["metadata"] | {"resourceVersion": str(self._version)}}
            self._events[path].append((self._version, "DELETED", gone))
            self._changed.notify_all()

    def listed(self, path: str) -> dict:
        """What there is of a kind."""
        api_version, kind = KINDS[path]
        with self._changed:
            items = list(self._objects[path].values())
            metadata = {"resourceVersion": str(self._version)}
        return {"apiVersion": api_version, "kind": f"{kind}List", "metadata": metadata, "items": items}

    def after(self, path: str, version: int) -> list[tuple[int, str, dict]] | None:
        """The changes since a version, once there are some; nothing when the server has ended."""
        with self._changed:
            while not self._is_closed:
                if found := [event for event in self._events[path] if event[0] > version]:
                    return found
                self._changed.wait(POLL_SECONDS)
        return None


class _Handler(BaseHTTPRequestHandler):
    """Lists and watches."""

    protocol_version = "HTTP/1.1"
    api: KubernetesApi

    def do_GET(self) -> None:
        """One of the two kinds, or 404."""
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if self.api.forbidden:
            self._answer(
                403,
                {
                    "kind": "Status",
                    "status": "Failure",
                    "reason": "Forbidden",
                    "code": 403,
                    "message": "inferenceservices is forbidden",
                    "metadata": {},
                },
            )
        elif url.path not in KINDS:
            self._answer(
                404,
                {
                    "kind": "Status",
                    "status": "Failure",
                    "reason": "NotFound",
                    "code": 404,
                    "message": "not found",
                    "metadata": {},
                },
            )
        elif query.get("watch") == "true":
            self._watch(url.path, int(query.get("resourceVersion") or 0))
        else:
            self._answer(200, self.api.listed(url.path))

    def _answer(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _watch(self, path: str, version: int) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            while events := self.api.after(path, version):
                for number, kind, found in events:
                    line = json.dumps({"type": kind, "object": found}).encode() + b"\n"
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                    version = number
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # who watched has left

    def log_message(self, *_: object) -> None:
        """Says nothing."""
