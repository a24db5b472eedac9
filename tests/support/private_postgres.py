"""A throw-away PostgreSQL from the system's packages, on a free loopback port."""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import asyncpg
import psutil

from tests.support.machine import NotHere
from tools.node import ports

INSTALLED = Path("/usr/lib/postgresql")
USER = "sms"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.05


class PrivatePostgres:
    """PostgreSQL with a generated password and the database `sms`; `folder` keeps its log, and an ordinary user's data.

    As root the server runs as another user, which could not reach a folder below a private one (such as pytest's):
    the data then live in a folder of their own under the system's temporary one. `close` removes the data.
    """

    def __init__(
        self, folder: Path, certificate: Path | None = None, *, copies: "PrivatePostgres | None" = None
    ) -> None:
        """Choose port and password; nothing is started. With a certificate (and its key, in one file) it offers TLS.

        One that `copies` another, running one is its hot standby, with the same password. Raises NotHere.
        """
        self._binaries = _binaries()
        self._owner = _owner()
        self._folder = folder
        self._certificate = certificate
        self._copies = copies
        self._data: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._port = ports.free_ports(1)[0]
        self._password = copies._password if copies else secrets.token_hex(16)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """The address of the database `sms`, with user and password."""
        return self._url("sms")

    def start(self) -> None:
        """Make the data folder at the first call, start the server, return when it answers."""
        if self._data is None:
            self._data = self._make_data()
            self._launch()
            if self._copies is None:
                self.create_database("sms")
        elif self._server is None:
            self._launch()

    def stop(self) -> None:
        """End the server in order; `start` brings it back with the same data."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)  # "fast": open sessions are ended, nothing is lost
            self._server.wait(STOP_TIMEOUT_S)
            self._server = None

    def kill(self) -> None:
        """End the server and its backends with SIGKILL, as a crash would; `start` recovers the data."""
        if self._server is not None:
            family = psutil.Process(self._server.pid).children(recursive=True)
            self._server.kill()
            self._server.wait(STOP_TIMEOUT_S)
            _end(family)
            self._server = None

    def close(self) -> None:
        """Kill the server and remove its data."""
        self.kill()
        if self._data is not None:
            shutil.rmtree(self._data)
            self._data = None

    def create_database(self, name: str) -> str:
        """Create an empty database and return its address."""
        command = [str(self._binaries / "createdb"), *self._connection(), "-U", USER, "--maintenance-db=postgres", name]
        subprocess.run(command, env={"PGPASSWORD": self._password}, check=True, capture_output=True)
        return self._url(name)

    def url_with(self, other: "PrivatePostgres") -> str:
        """The address of the database `sms` on whichever of the two takes writes."""
        return self.url.replace(f":{self._port}/", f":{self._port},{ports.HOST}:{other.port}/")

    def change_password(self, run: Callable[[str], None], *, back: bool = False) -> None:
        """By an administrator's connection: nobody who has the address gets in any more, or, `back`, does again."""
        run(f"ALTER ROLE {USER} PASSWORD '{self._password if back else secrets.token_hex(16)}'")

    @contextmanager
    def administrator(self) -> Iterator[Callable[[str], None]]:
        """A connection to the database `postgres`, which runs a statement at a time."""
        with asyncio.Runner() as runner:
            connection = runner.run(asyncpg.connect(self._url("postgres")))

            def run(statement: str) -> None:
                runner.run(connection.execute(statement))

            yield run
            runner.run(connection.close())

    def wait_for_copies(self) -> None:
        """From now on tell nobody that something is committed before the standby, which is running, has it."""
        with self.administrator() as run:
            run("ALTER SYSTEM SET synchronous_standby_names = '*'")
            run("SELECT pg_reload_conf()")
            run("CREATE TABLE first_of_all ()")

    def demote(self) -> None:
        """Take no writes any more, and keep whoever is connected."""
        with self.administrator() as run:
            run("ALTER SYSTEM SET default_transaction_read_only = on")
            run("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """From a standby to a server that takes writes."""
        with self.administrator() as run:
            run("SELECT pg_promote()")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self._folder / "postgres.log"

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password}@{ports.HOST}:{self._port}/{database}"

    def _connection(self) -> list[str]:
        return ["-h", ports.HOST, "-p", str(self._port)]

    def _make_data(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        data = Path(tempfile.mkdtemp(prefix="sms-postgres-", dir=None if self._owner else self._folder))
        password_file = data.with_suffix(".password")
        password_file.write_text(self._password)
        for path in (data, password_file):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if self._owner:
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        try:
            if self._copies:
                self._copy_all(self._copies, data)
            else:
                self._initialise(data, password_file)
        finally:
            password_file.unlink()
        if self._certificate:
            self._copy(self._certificate, data / "server.pem")
        return data

    def _copy(self, source: Path, target: Path) -> None:
        """For the server's eyes only: it refuses a key that others can read."""
        target.touch(mode=0o600)
        target.write_bytes(source.read_bytes())
        if self._owner:
            os.chown(target, self._owner.pw_uid, self._owner.pw_gid)

    def _initialise(self, data: Path, password_file: Path) -> None:
        options = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={password_file}", "-E", "UTF8", "--locale=C.UTF-8"]
        with self._log.open("ab") as log:
            self._popen([self._binaries / "initdb", "-D", data, "--no-sync", *options], log).wait(START_TIMEOUT_S)
        if not (data / "PG_VERSION").exists():
            raise RuntimeError(f"initdb failed; its output is in {self._log}")

    def _copy_all(self, source: "PrivatePostgres", data: Path) -> None:
        where = f"host={ports.HOST} port={source.port} user={USER} password={self._password}"
        # -R: what a standby needs to know to follow the other.
        options = ["-d", where, "-R", "--checkpoint=fast", "--no-sync"]
        with self._log.open("ab") as log:
            self._popen([self._binaries / "pg_basebackup", "-D", data, *options], log).wait(START_TIMEOUT_S)
        if not (data / "standby.signal").exists():
            raise RuntimeError(f"pg_basebackup failed; its output is in {self._log}")

    def _launch(self) -> None:
        settings = {
            "listen_addresses": ports.HOST,
            "port": self._port,
            "unix_socket_directories": "",
            "fsync": "off",  # survives our SIGKILL all the same, only not a crash of the machine
            "full_page_writes": "off",
        }
        if self._certificate:
            settings |= {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.pem"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._server = self._popen([self._binaries / "postgres", "-D", self._data, *options], log)
        self._await_ready(self._server)

    def _popen(self, command: list[object], log: IO[bytes]) -> subprocess.Popen[bytes]:
        owner = self._owner
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            start_new_session=True,
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
        )

    def _await_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while server.poll() is None and time.monotonic() < deadline:
            if subprocess.run([self._binaries / "pg_isready", "-q", *self._connection()], check=False).returncode == 0:
                return
            time.sleep(POLL_INTERVAL_S)
        self.kill()
        raise RuntimeError(f"PostgreSQL did not start; its log is {self._log}")


def _binaries() -> Path:
    """The newest installed version's programs."""
    found = [path.parent for path in INSTALLED.glob("*/bin/postgres") if path.parts[-3].isdigit()]
    if not found:
        raise NotHere("PostgreSQL is not installed: install the package postgresql (Debian, Ubuntu)")
    return max(found, key=lambda path: int(path.parts[-2]))


def _owner() -> pwd.struct_passwd | None:
    """Who the server runs as when we are root, which it refuses; None means ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _end(family: list[psutil.Process]) -> None:
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
