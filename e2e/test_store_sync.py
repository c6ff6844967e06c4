"""Before an event is acknowledged it has been synced: seen in the system calls of whoever syncs."""

import re
import shutil
import subprocess
import time

import pytest
from stores import TestStore
from test_store import address
from told import purchase, shops

EVENTS = 20
CALL = re.compile(r"^\d+ +(?P<time>\d+\.\d+) (?P<call>\w+)\((?P<arguments>.*)")
SYNCS = ("fsync", "fdatasync")


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_event_is_synced_before_it_is_acknowledged(under_test, pair, away, tmp_path, kind):
    url = away.url if kind == "postgresql" else TestStore.sqlite(tmp_path / "store.db").url
    log = "pg_wal" if kind == "postgresql" else "store.db-wal"
    with shops(under_test, url, address(pair.predictor), tmp_path, count=1) as (shop,):
        assert shop.tell(purchase("visitor", "warm")).status_code == 202
        pids = [shop.server.process.pid, *(away.server.pids() if kind == "postgresql" else [])]
        with traced(pids, tmp_path / "trace"):
            for number in range(EVENTS):
                assert shop.tell(purchase("visitor", str(number))).status_code == 202
    synced = False
    acknowledged = 0
    for call, arguments in calls(tmp_path / "trace"):
        if call in SYNCS and log in arguments and "= 0" in arguments:
            synced = True
        elif "HTTP/1.1 202" in arguments:
            assert synced, f"event {acknowledged} was acknowledged before it was synced"
            acknowledged, synced = acknowledged + 1, False
    assert acknowledged == EVENTS


class traced:
    """Writes the system calls of processes to a file."""

    def __init__(self, pids, file) -> None:
        """Of these, and of what they start."""
        names = ",".join([*SYNCS, "write", "writev", "sendto", "sendmsg"])
        attached = [argument for pid in pids for argument in ("-p", str(pid))]
        self.file = file
        self.command = [
            "strace",
            "-f",
            "-y",
            "-s",
            "64",
            "-ttt",
            "-e",
            f"trace={names}",
            "-o",
            file,
            *attached,
        ]

    def __enter__(self) -> None:
        """Attached once it says so of each."""
        self.strace = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        time.sleep(1.5)

    def __exit__(self, *_: object) -> None:
        """Detached."""
        time.sleep(0.2)
        self.strace.terminate()
        self.strace.communicate(timeout=30)


def calls(file) -> list[tuple[str, str]]:
    """Calls in the order in which they finished; one that others interrupted counts where it resumed."""
    begun, found = {}, []
    for line in file.read_text(errors="replace").splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip().partition(" ")[2]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            if "HTTP/1.1 202" in rest:  # what is written may be read before the call returns
                name, _, arguments = begun.pop(pid).partition("(")
                found.append((name, arguments))
            continue
        if rest.startswith("<... "):
            if pid not in begun:
                continue
            rest = begun.pop(pid) + rest
        name, _, arguments = rest.partition("(")
        found.append((name, arguments))
    return found
