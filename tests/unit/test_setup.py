"""What `make env` says of a .env that is there."""

import shutil
import subprocess
from pathlib import Path

LATER = "SMS_RABBITMQ_COOKIE=c\nSMS_REDIS_PASSWORD=r\n"
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
    first, second = said_of(tmp_path, "SMS_RABBITMQ_PASSWORD=hunter$2\nSMS_POSTGRES_PASSWORD=hunter #2\n" + LATER)
    assert first.startswith("warning: SMS_RABBITMQ_PASSWORD in .env: what follows a $ is the name of a variable")
    assert second.startswith("warning: SMS_POSTGRES_PASSWORD in .env: docker compose ends the value before the #")
    assert "hunter" not in first + second


def test_of_passwords_that_compose_takes_as_they_are_nothing_is_said(tmp_path: Path) -> None:
    env = "SMS_RABBITMQ_PASSWORD='p@/:#%$ #x'\nSMS_POSTGRES_PASSWORD=p@/:#%\nSMS_API_KEYS=k,l\n" + LATER
    assert said_of(tmp_path, env) == []


def test_what_came_later_is_added_to_an_env_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(SETUP, tmp_path / "tools")
    (tmp_path / ".env").write_text("SMS_API_KEYS=k\n")
    subprocess.run(["bash", tmp_path / "tools" / "setup.sh", "env"], capture_output=True, timeout=60, check=True)
    first, *added = (tmp_path / ".env").read_text().split()
    assert first == "SMS_API_KEYS=k"
    assert [line.partition("=")[0] for line in added] == ["SMS_RABBITMQ_COOKIE", "SMS_REDIS_PASSWORD"]
    assert all(len(line.partition("=")[2]) == 48 for line in added)
