"""The stub of a provider: an nginx of our own that takes texts at once and counts them."""

import getpass
import http.client
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.support.processes import eventually
from tools.node.ports import free_ports

_TEMPLATE = Path(__file__).with_name("provider.nginx.conf")
_MODULES = Path("/usr/lib/nginx/modules")
_LOOK_EVERY_S = 0.01


class NotInstalled(Exception):
    """What a measurement needs is missing on this machine."""


class Provider:
    """nginx with one worker on 127.0.0.1; `folder` gets its configuration and its log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir()
        (self._port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._looking = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)

    def start(self) -> "Provider":
        """Start it, and return when it answers; NotInstalled without nginx and its Lua module."""
        configuration = self._folder / "nginx.conf"
        configuration.write_text(self._configuration())
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen([_nginx(), "-c", configuration, "-p", self._folder], stderr=log)
        eventually(self._answers, 10)
        return self

    def stop(self) -> None:
        """End it."""
        self._looking.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def url(self, path: str) -> str:
        """Of `messages` (one text a call), `slow` (the same after 100 ms) or `batches` (many texts a call)."""
        return f"http://127.0.0.1:{self._port}/{path}"

    @property
    def pid(self) -> int:
        """Its main process, whose child does the work."""
        assert self._process is not None
        return self._process.pid

    def texts(self) -> int:
        """How many texts it has taken."""
        self._looking.request("GET", "/texts")
        return int(self._looking.getresponse().read())

    def await_texts(self, count: int, timeout_s: float) -> None:
        """Return when it has taken so many in all; AssertionError where it has not by then."""
        deadline_s = time.monotonic() + timeout_s
        while (seen := self.texts()) < count:
            assert time.monotonic() < deadline_s, f"the provider got {seen} of {count} texts in {timeout_s:g} s"
            time.sleep(_LOOK_EVERY_S)

    def _configuration(self) -> str:
        # Without a user, nginx that was started by root would run its worker as nobody, who may not enter our folder.
        filled_in = {
            "FOLDER": str(self._folder),
            "PORT": str(self._port),
            "USER": f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
            "MODULES": "\n".join(f"load_module {module};" for module in _modules()),
        }
        text = _TEMPLATE.read_text()
        for name, value in filled_in.items():
            text = text.replace(f"@{name}@", value)
        return text

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"nginx ended: {(self._folder / 'log').read_text()[-2000:]}"
        try:
            return self.texts() == 0
        except OSError:
            self._looking.close()
            return False


def version() -> str:
    """As nginx names itself: `nginx 1.22.1`."""
    said = subprocess.run([_nginx(), "-v"], capture_output=True, text=True, check=True).stderr
    return said.rpartition(":")[2].strip().replace("/", " ")


def _nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        raise NotInstalled("nginx is missing: tools/setup.sh packages bench")
    return found


def _modules() -> list[Path]:
    modules = [_MODULES / "ndk_http_module.so", _MODULES / "ngx_http_lua_module.so"]
    if not all(module.exists() for module in modules):
        raise NotInstalled("nginx's Lua module is missing: tools/setup.sh packages bench")
    return modules
