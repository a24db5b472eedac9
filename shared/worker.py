"""What the services that consume have in common: their name, their connections, their health port, and how they end."""

import asyncio
import os
import secrets
import socket
import string
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from shared import lifecycle
from shared.amqp.consumer import Consumer
from shared.amqp.declare import declare_when_reachable
from shared.amqp.messages import Delivery
from shared.amqp.publisher import Publisher
from shared.health import HealthServer
from shared.ledger.clock import LedgerClock
from shared.ledger.database import Database
from shared.ledger.waiting import check as ledger_check
from shared.policy_watch import PolicyWatch
from shared.running_tasks import RunningTasks
from shared.settings import WorkerSettings


async def _nothing() -> None:
    """Nothing to do."""


class Worker:
    """A consumer, a publisher and the ledger, under one name that tells this process from all others.

    `queues` are those that it consumes, with the deliveries of each that it has unsettled at the most.
    """

    def __init__(
        self,
        kind: str,
        settings: WorkerSettings,
        queues: Mapping[str, int],
        take: Callable[[Delivery], None],
        lost: Callable[[], None],
    ) -> None:
        self._settings = settings
        amqp_url = settings.amqp_url.get_secret_value()
        # Letters: a log masks digits behind the process id as a phone number's.
        own = "".join(secrets.choice(string.ascii_lowercase) for _ in range(5))
        self.name = f"{kind}@{socket.gethostname()}/{os.getpid()}-{own}"
        self.database = Database(settings.database_url.get_secret_value())
        self.clock = LedgerClock(self.database, settings.lease_ms / 1000)
        self.declare = partial(declare_when_reachable, amqp_url, settings.topology)
        self.publisher = Publisher(amqp_url, f"{self.name} publishes", f"sms-{kind}", self.declare)
        self.consumer = Consumer(
            (amqp_url, f"{self.name} consumes"),
            queues,
            take,
            prepare=self.clock.before(self.declare),
            lost=lost,
        )
        self.clock.went_wrong = self.consumer.give_back
        self.tasks = RunningTasks()

    async def run(
        self,
        stop: asyncio.Event,
        work: Mapping[str, Callable[[], Coroutine[Any, Any, None]]],
        *,
        drain: Callable[[], Awaitable[None]],
        close: Callable[[], Awaitable[None]],
        prepare: Callable[[], Awaitable[None]] = _nothing,
        cut_off: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        """Work until the stop, then take it down in order: no more deliveries, `drain` what is in flight, `cut_off`
        what is left of it, the connections, and at last `close`.

        `prepare` comes before the tasks, which begin in the order of `work` (by name); consuming begins last.
        """
        health = HealthServer(self._settings.health_host, self._settings.health_port, self._checks())
        await health.start()
        try:
            if not await lifecycle.unless_stopped(stop, self.database.migrate_when_reachable()):
                return
            await prepare()
            tasks = {
                "clock": self.clock.run,
                "publisher": self.publisher.run,
                **work,
                "policies": PolicyWatch(self._settings).run,
                "consumer": self.consumer.run,
            }
            for name, begin in tasks.items():
                self.tasks.begin(begin(), name)
            await lifecycle.until_stopped(stop, self.tasks)
            await lifecycle.within(self._settings.drain_timeout_s, self._drained(drain))
        finally:
            await cut_off()
            await self.publisher.close()
            await self.consumer.close()
            await self.tasks.cancel()
            await close()
            await self.database.close()
            await health.stop()

    def _checks(self) -> Mapping[str, Callable[[], bool | str]]:
        return {
            "consuming": lambda: self.consumer.is_ready,
            "publishing": lambda: self.publisher.is_ready,
            "ledger": ledger_check,
            "clock": self.clock.check,
        }

    async def _drained(self, drain: Callable[[], Awaitable[None]]) -> None:
        await self.consumer.stop()
        await drain()
