"""Where RabbitMQ's own scripts are on this machine."""

import shutil
from pathlib import Path

from tools.node.errors import NotInstalledError

DEBIAN_SCRIPTS = Path("/usr/lib/rabbitmq/bin")


def scripts_folder(packaged: Path = DEBIAN_SCRIPTS) -> Path:
    """The folder with `rabbitmq-server` and `rabbitmqctl`: the package's, or the PATH's; raises NotInstalledError.

    Not Debian's wrappers in /usr/sbin: those refuse ordinary users and change to the user rabbitmq.
    """
    candidates = [packaged, *_beside_the_one_in_path()]
    for folder in candidates:
        if (folder / "rabbitmq-server").is_file() and (folder / "rabbitmqctl").is_file():
            return folder
    raise NotInstalledError("RabbitMQ is not installed: install the package rabbitmq-server (Debian, Ubuntu)")


def _beside_the_one_in_path() -> list[Path]:
    found = shutil.which("rabbitmq-server")
    return [Path(found).resolve().parent] if found else []
