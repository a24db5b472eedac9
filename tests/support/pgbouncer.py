"""PgBouncer in front of a PostgreSQL, on a free loopback port."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.machine import NotHere
from tests.support.processes import eventually
from tools.node import ports

_PATH = f"{os.defpath}:/usr/sbin:/usr/local/sbin"
_STOP_TIMEOUT_S = 30


@contextmanager
def pgbouncer(database_url: str, pool_mode: str, ignored: str = "") -> Iterator[str]:
    """The address of the same database through a PgBouncer, which lets clients ask in vain for the settings `ignored`.

    Raises NotHere.
    """
    program = shutil.which("pgbouncer", path=_PATH)
    if program is None:
        raise NotHere("PgBouncer is not installed: install the package pgbouncer (Debian, Ubuntu)")
    behind, port = urlsplit(database_url), ports.free_ports(1)[0]
    # As root it refuses to run; nobody can reach a folder below pytest's.
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="sms-pgbouncer-") as name:
        folder = Path(name)
        (folder / "users").write_text(f'"{behind.username}" "{behind.password}"\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host={behind.hostname} port={behind.port}\n"
            f"[pgbouncer]\nlisten_addr = {ports.HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {folder / 'users'}\n"
            f"pool_mode = {pool_mode}\nignore_startup_parameters = {ignored}\n"
        )
        for path in (folder, *folder.iterdir()):
            if owner:
                os.chown(path, owner.pw_uid, owner.pw_gid)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [program, str(folder / "ini")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=owner.pw_uid if owner else None,
            )
        try:
            eventually(lambda: "listening on" in (folder / "log").read_text() or server.poll() is not None)
            assert server.poll() is None, (folder / "log").read_text()
            yield behind._replace(netloc=f"{behind.username}:{behind.password}@{ports.HOST}:{port}").geturl()
        finally:
            server.terminate()
            server.wait(_STOP_TIMEOUT_S)
