"""The system that is looked at, as the settings describe it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.ledger.database import Database
from shared.management import NotAsked, management_api
from shared.policy_watch import NOT_CONFIGURED
from shared.topology import Topology
from tools.ctl.doctoring.findings import NotChecked
from tools.ctl.doctoring.management import Management
from tools.ctl.doctoring.settings import DoctorSettings


@dataclass(frozen=True)
class System:
    """Where everything is. `user` is the services' on the broker; `has_management` is None where no management API is
    configured."""

    urls: str
    user: str
    topology: Topology
    has_management: Management | None
    database_url: str
    redis_url: str | None
    api_url: str
    recover_after_s: float
    has_providers: tuple[str, ...] | None = None
    """Those of SMS_PROVIDERS_FILE; None where this machine has not the file."""

    @classmethod
    def of(cls, settings: DoctorSettings, api_url: str) -> "System":
        """The system of these settings."""
        return cls(
            urls=settings.amqp_url.get_secret_value(),
            user=settings.amqp_user,
            topology=settings.topology,
            has_management=None if (api := management_api(settings)) is None else Management(api),
            database_url=settings.database_url.get_secret_value(),
            redis_url=settings.redis_url.get_secret_value() if settings.redis_url else None,
            api_url=api_url,
            recover_after_s=settings.recover_after_s,
            has_providers=None if settings.providers_file is None else settings.all_providers.names,
        )

    @property
    def management(self) -> Management:
        """The management API; NotAsked where there is none."""
        if self.has_management is None:
            raise NotAsked(NOT_CONFIGURED)
        return self.has_management

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[Database]:
        """The ledger as it is: neither made nor migrated; NotChecked where there is none."""
        database = Database(self.database_url)
        try:
            if database.file is not None and not database.file.exists():
                raise NotChecked(f"there is no file {database.file}")
            yield database
        finally:
            await database.close()
