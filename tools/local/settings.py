"""Where everything listens and keeps its files, from SMS_* in the environment; the services' settings pass through."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tools.local.errors import BadSettings

Port = Annotated[int, Field(ge=1, le=65535)]


class LocalSettings(BaseSettings):
    """The ports of 127.0.0.1 that people open, and the folder of all files."""

    model_config = SettingsConfigDict(env_prefix="SMS_", extra="ignore", frozen=True)

    api_port: Port = 8080
    management_port: Port = 15672
    simulator_port: Port = 8090
    run_folder: Path = Path(".run")
    drain_timeout_s: Annotated[float, Field(ge=0)] = 25
    """The services' own: stopping one waits a little longer than this."""

    @property
    def folder(self) -> Path:
        """The folder of all files, absolute: processes outlive the shell that started them."""
        return self.run_folder.resolve()


def load_settings() -> LocalSettings:
    """The settings; BadSettings is one line that names every setting that is wrong."""
    try:
        return LocalSettings()
    except ValidationError as error:
        problems = error.errors(include_input=False)
        raise BadSettings("; ".join(f"SMS_{str(item['loc'][0]).upper()}: {item['msg']}" for item in problems)) from None


def inherited() -> dict[str, str]:
    """The environment the processes start from, so that SMS_MAX_ATTEMPTS and its like reach the services."""
    return dict(os.environ)
