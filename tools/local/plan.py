"""What runs: the processes in the order they start, with their settings, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2]
_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Places:
    """Where the parts find each other."""

    folder: Path
    amqp_url: str
    management_url: str
    api_port: int
    simulator_port: int

    @property
    def api_url(self) -> str:
        return f"http://{_HOST}:{self.api_port}"

    @property
    def simulator_url(self) -> str:
        return f"http://{_HOST}:{self.simulator_port}"

    @property
    def shared(self) -> dict[str, str]:
        """The settings of every service."""
        return {
            "SMS_AMQP_URL": self.amqp_url,
            "SMS_MANAGEMENT_URL": self.management_url,
            "SMS_DATABASE_URL": f"sqlite:///{self.folder}/ledger.sqlite3",
        }

    @property
    def for_smsctl(self) -> dict[str, str]:
        """What smsctl needs to find all this."""
        own = {"SMS_API_URL": self.api_url, "SMS_SIMULATOR_URL": self.simulator_url}
        return own | self.shared


@dataclass(frozen=True)
class Process:
    """One process to run; `port` is the one it must have to itself, 0 where it serves nothing but its health."""

    module: str
    settings: Mapping[str, str]
    port: int = 0
    ready_path: str = "/readyz"


def plan(places: Places, senders: int, inherited: Mapping[str, str]) -> dict[str, Process]:
    """Every process by name, in the order they start. `inherited` may name another provider than the simulator."""
    provider = {"SMS_PROVIDER_URL": inherited.get("SMS_PROVIDER_URL", f"{places.simulator_url}/messages")}
    if file := inherited.get("SMS_PROVIDERS_FILE"):
        provider["SMS_PROVIDERS_FILE"] = file
    simulator = {"SMS_SIMULATOR_HOST": _HOST, "SMS_SIMULATOR_PORT": str(places.simulator_port)}
    api = {"SMS_API_HOST": _HOST, "SMS_API_PORT": str(places.api_port)}
    return {
        "simulator": Process("tools.simulator", simulator, places.simulator_port, "/healthz"),
        "dispatcher": Process("services.dispatcher", places.shared),
        **{
            f"sender-{number}": Process("services.sender", places.shared | provider) for number in range(1, senders + 1)
        },
        "api": Process("services.api", places.shared | api, places.api_port),
    }


def stage_of(name: str) -> int:
    """When a process is stopped: first the one that takes work in, last the one that is called."""
    return {"api": 0, "dispatcher": 1, "simulator": 3}.get(name, 2)
