"""Copies this machine's Python, without packages, to where an image has it: python_folder.py FOLDER."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# What a base image with glibc has itself.
OF_BASE = ("ld-linux", "libc.", "libdl.", "libm.", "libpthread.", "librt.", "libutil.")
LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "ensurepip",
    "config-*",
    "__pycache__",
)


def main(folder: Path) -> None:
    """Makes FOLDER/usr/local anew, with the interpreter, its shared libraries and the standard library."""
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / "usr/local"
    stdlib = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(stdlib, target / "lib" / stdlib.name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (target / "bin").mkdir()
    executable = Path(sys.executable).resolve()
    shutil.copy2(executable, target / "bin/python3")
    for binary in [executable, *(target / "lib" / stdlib.name / "lib-dynload").glob("*.so")]:
        for library in linked(binary):
            if not library.name.startswith(OF_BASE):
                shutil.copy(library, target / "lib")


def linked(binary: Path) -> list[Path]:
    """The shared libraries that a program or a module of it loads; those that are not here are left out."""
    said = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
    return [Path(path) for path in re.findall(r"=> (/\S+)", said)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
