"""What is shipped: images where they were built, else environments."""

import subprocess
from pathlib import Path

from page import number, table

from bench import Bench

MB = 1e6
NOT_SHIPPED = ("pip", "setuptools", "wheel")
IMAGES = ("hemline-transformer", "hemline-predictor-gbdt")


def measure(bench: Bench) -> dict:
    """Bytes by name; None where an image was not built."""
    images = {name: image(bench.images, name) for name in IMAGES}
    peers = {"KServe SDK": bench.tools.peer, "MLServer": bench.tools.mlserver}
    return {"images": images, "environments": {name: environment(python) for name, python in peers.items()}}


def image(folder: Path, name: str) -> int | None:
    """The size of an image's tar."""
    found = sorted(
        folder.glob(f"*{name.removeprefix('hemline-')}*.tar"), key=lambda file: file.stat().st_mtime
    )
    return found[-1].stat().st_size if found else None


def environment(python: Path) -> dict[str, int]:
    """The packages of an environment but those that only install, and the interpreter with its library."""
    ask = (
        "import sys, sysconfig; paths = sysconfig.get_paths(); "
        "print(paths['purelib'], paths['stdlib'], sys._base_executable)"
    )
    packages, library, executable = subprocess.run(
        [python, "-c", ask], capture_output=True, text=True, check=True
    ).stdout.split()
    tools = [file for name in NOT_SHIPPED for file in Path(packages).glob(f"{name}*")]
    # What is installed beside the library, its tests, and what only compilers need.
    names = ("site-packages", "test", "ensurepip", "idlelib", "__pycache__", "config-*")
    others = [path for name in names for path in Path(library).glob(name)]
    shared = list(Path(executable).resolve().parents[1].glob("lib/libpython3.*.so.*"))
    own = disk(Path(library)) - sum(disk(path) for path in others)
    return {
        "packages": disk(Path(packages)) - sum(disk(path) for path in tools),
        "interpreter": own + sum(disk(path) for path in [Path(executable).resolve(), *shared]),
    }


def disk(path: Path) -> int:
    """Bytes on disk of a file or a folder."""
    if not path.exists():
        return 0
    done = subprocess.run(["du", "-sk", path], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) * 1024


def page(found: dict) -> list[str]:
    """One table."""
    rows = [
        [
            f"Hemline's image {name}",
            "not built" if size is None else number(size / MB),
        ]
        for name, size in found["images"].items()
    ]
    for name, parts in found["environments"].items():
        rows.append([f"{name}: the environment's packages", number(parts["packages"] / MB)])
        rows.append([f"{name}: the interpreter and its library", number(parts["interpreter"] / MB)])
    text = (
        "Hemline's are whole images, as the tars that `make images` writes. No image of the peers is made: "
        "theirs are the sizes of what would have to be in one, without a base."
    )
    return ["### Size", text, table(["", "MB"], rows)]
