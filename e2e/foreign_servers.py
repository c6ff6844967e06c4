"""Starts servers that others made, each in the environment that has its packages."""

import os
import shlex
from pathlib import Path

import pytest

from hemline.pair import Server

HERE = Path(__file__).resolve().parent
# Which environment a script of foreign/ needs, and the target that makes it.
ENVIRONMENTS = {
    "kserve_predictor.py": ("HEMLINE_CLIENTS", ".venv-clients", "setup-clients"),
    "kserve_transformer.py": ("HEMLINE_CLIENTS", ".venv-clients", "setup-clients"),
    "mlserver_predictor.py": ("HEMLINE_MLSERVER", ".venv-mlserver", "setup-mlserver"),
}


def start(script: str, folder: Path, *arguments: str) -> Server:
    """A server that a script of foreign/ is; its log and what it leaves behind are in `folder`."""
    variable, default, target = ENVIRONMENTS[script]
    python = Path(os.environ.get(variable) or HERE.parent / default).absolute() / "bin" / "python"
    if not python.is_file():
        # `make conformance` installs it; without it nothing is tested, which must not look like a pass.
        pytest.fail(f"no environment for {script}: run `make {target}`, or name one in {variable}")
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / script.removesuffix(".py")
    command = f"exec {shlex.quote(str(python))} {shlex.quote(str(HERE / 'foreign' / script))}"
    program.write_text(f'#!/bin/sh\ncd {shlex.quote(str(folder))}\n{command} "$@"\n')
    program.chmod(0o755)
    runs = len(list(folder.glob("*.log")))
    return Server(script, program, arguments, folder / f"{runs}.log")


def address(server: Server, protocol: str = "v2") -> str:
    """Where it listens for a protocol, as --predictor_host takes it. PairError where it never does."""
    rest = server.url.removeprefix("http://")
    if protocol != "grpc-v2":
        return rest
    return next(line["grpc"] for line in server.lines() if line.get("message") == "listening")
