"""How the foreign servers are started: on ports that they say themselves, as ours do."""

import argparse
import json
import socket


def arguments(**more: dict) -> argparse.Namespace:
    """What every one of them is told; a port of 0 becomes a free one. `more` are more options."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--http_port", type=int, default=0)
    parser.add_argument("--grpc_port", type=int, default=0)
    for name, settings in more.items():
        parser.add_argument(f"--{name}", **settings)
    told = parser.parse_args()
    told.http_port, told.grpc_port = told.http_port or free_port(), told.grpc_port or free_port()
    return told


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def say(told: argparse.Namespace) -> None:
    """The line that says where a server will listen; whoever waits for it asks for readiness next."""
    addresses = {"rest": f"{told.host}:{told.http_port}", "grpc": f"{told.host}:{told.grpc_port}"}
    print(json.dumps({"message": "listening", **addresses}), flush=True)
