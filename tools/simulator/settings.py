"""The simulator's settings, from SMS_SIMULATOR_* in the environment."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where to listen (port 0: a free one) and how long accept-late waits before it answers."""

    model_config = SettingsConfigDict(env_prefix="SMS_SIMULATOR_", allow_inf_nan=False)

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8090, ge=0, le=65_535)
    late_s: float = Field(default=15.0, gt=0, le=3600)
