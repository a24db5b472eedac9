"""What `make env` says of a .env that is there."""

import shutil
import subprocess
from pathlib import Path

SETUP = Path(__file__).parents[2] / "tools" / "setup.sh"


def said_of(folder: Path, env: str) -> list[str]:
    (folder / "tools").mkdir()
    shutil.copy(SETUP, folder / "tools")
    (folder / ".env").write_text(env)
    done = subprocess.run(
        ["bash", folder / "tools" / "setup.sh", "env"], capture_output=True, text=True, timeout=60, check=True
    )
    assert (folder / ".env").read_text() == env
    return done.stderr.splitlines()


def test_a_password_that_compose_would_read_otherwise_is_named_without_its_value(tmp_path: Path) -> None:
    first, second = said_of(
        tmp_path, "SMS_RABBITMQ_PASSWORD=hunter$2\nSMS_POSTGRES_PASSWORD=hunter #2\nSMS_RABBITMQ_COOKIE=c\n"
    )
    assert first.startswith("warning: SMS_RABBITMQ_PASSWORD in .env: what follows a $ is the name of a variable")
    assert second.startswith("warning: SMS_POSTGRES_PASSWORD in .env: docker compose ends the value before the #")
    assert "hunter" not in first + second


def test_of_passwords_that_compose_takes_as_they_are_nothing_is_said(tmp_path: Path) -> None:
    env = "SMS_RABBITMQ_PASSWORD='p@/:#%$ #x'\nSMS_POSTGRES_PASSWORD=p@/:#%\nSMS_API_KEYS=k,l\nSMS_RABBITMQ_COOKIE=c\n"
    assert said_of(tmp_path, env) == []
