"""The audit's settings."""

from pydantic import field_validator

from shared.settings import Settings
from tools.ctl.errors import UsageError

_SCHEMES = ("http://", "https://")


class AuditSettings(Settings):
    """What an audit needs beside ledger and broker: where the simulator is, if there is one."""

    simulator_url: str | None = None

    @field_validator("simulator_url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url and not url.startswith(_SCHEMES):
            raise ValueError("the URL must start with http:// or https://")
        return url.rstrip("/") if url else None


def checked_url(url: str) -> str:
    """The URL of the option; UsageError where it is none."""
    if not url.startswith(_SCHEMES):
        raise UsageError("--simulator: the URL must start with http:// or https://")
    return url.rstrip("/")
