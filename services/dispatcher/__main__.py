"""The dispatcher: splits batches into numbers and keeps the outbound queues fed."""

import asyncio
import os
import secrets
import socket
from functools import partial

from services.dispatcher.backlog import Backlog
from services.dispatcher.feed import Feeder
from services.dispatcher.handler import BatchHandler, BatchTasks, Ledgers, Rules
from services.dispatcher.queued_marker import QueuedMarker
from services.dispatcher.recovery import QueueWatch, Recovery
from services.dispatcher.settings import DispatcherSettings
from services.dispatcher.statuses import StatusWriter
from shared import lifecycle, logs
from shared.amqp.consumer import Consumer
from shared.amqp.declare import declare_when_reachable
from shared.amqp.publisher import Publisher
from shared.cache import Cache
from shared.domain.recovery import RecoveryTimeouts
from shared.health import HealthServer
from shared.ledger.clock import LedgerClock
from shared.ledger.database import Database
from shared.ledger.feeding import FeedingLedger
from shared.ledger.intake import IntakeLedger
from shared.ledger.reading import ReadingLedger
from shared.ledger.recovery import RecoveryLedger
from shared.ledger.templates import TemplateLedger
from shared.ledger.waiting import check as ledger_check
from shared.policy_watch import PolicyWatch
from shared.settings import load_or_exit
from shared.topology import BATCHES

_BATCHES_AT_ONCE = 4
"""Batch messages in work: a small one does not wait for a big one, and memory stays bounded."""

_COLLECT_AFTER = 10_000
"""Less than a sender: one of its objects may be a batch message of 15 MiB."""


def main() -> None:
    """Run a dispatcher until it is told to stop."""
    settings = load_or_exit(DispatcherSettings)
    logs.configure("dispatcher", settings.log_level)
    lifecycle.run(lambda stop: serve(settings, stop), collect_after=_COLLECT_AFTER)


async def serve(settings: DispatcherSettings, stop: asyncio.Event) -> None:
    """Wire the dispatcher, let it work, and take it down in order: consumer, what is in flight, publisher."""
    name = f"dispatcher@{socket.gethostname()}/{os.getpid()}-{secrets.token_hex(3)}"
    amqp_url = settings.amqp_url.get_secret_value()
    database = Database(settings.database_url.get_secret_value())
    clock = LedgerClock(database, settings.lease_ms / 1000)
    declare = partial(declare_when_reachable, amqp_url, settings.topology)
    publisher = Publisher(amqp_url, f"{name} publishes", "sms-dispatcher", declare)
    tasks = lifecycle.CriticalTasks()
    consumer = Consumer(
        (amqp_url, f"{name} consumes"),
        [BATCHES],
        _BATCHES_AT_ONCE,
        lambda delivery: in_hand.take(delivery),
        prepare=clock.before(declare),
        lost=lambda: in_hand.drop(),
    )
    clock.went_wrong = consumer.give_back
    watch = QueueWatch(consumer.depth)
    feeding = FeedingLedger(database)
    marker = QueuedMarker(feeding)
    feeder = Feeder((feeding, clock), publisher, marker, watch.depth, settings.outbound_depth, name)
    intake = IntakeLedger(database)
    handler = BatchHandler(
        Ledgers(intake, TemplateLedger(database)),
        publisher,
        Rules(settings.default_region, settings.max_batch_bytes),
        name,
        feeder.wake,
    )
    in_hand = BatchTasks(handler, tasks)
    timeouts = RecoveryTimeouts(settings.recover_after_s, settings.lease_ms, settings.retry_tiers_s)
    recovery = Recovery((RecoveryLedger(database), intake, clock), publisher, watch, declare, timeouts, name)
    backlog = Backlog(
        consumer.depth, [queue.name for queue in settings.topology.queues], feeding, settings.backlog_look_s
    )
    cache = Cache(settings.redis_address, settings.cache_secret)
    statuses = StatusWriter(cache, ReadingLedger(database), name)
    health = HealthServer(
        settings.health_host,
        settings.health_port,
        {
            "consuming": lambda: consumer.is_ready,
            "publishing": lambda: publisher.is_ready,
            "ledger": ledger_check,
            "clock": clock.check,
        },
    )
    await health.start()
    try:
        if not await lifecycle.unless_stopped(stop, database.migrate_when_reachable()):
            return
        for work, task_name in (
            (clock.run(), "clock"),
            (publisher.run(), "publisher"),
            (feeder.run(), "feeder"),
            (marker.run(), "marker"),
            (recovery.run(), "recovery"),
            (backlog.run(), "backlog"),
            (PolicyWatch(settings).run(), "policies"),
            *(((statuses.run(), "statuses"),) if settings.redis_address else ()),
            (consumer.run(), "consumer"),
        ):
            tasks.start(work, task_name)
        await tasks.wait(stop)
        await lifecycle.within(settings.drain_timeout_s, _drain(consumer, feeder))
    finally:
        await publisher.close()
        await consumer.close()
        await tasks.cancel()
        await cache.close()
        await database.close()
        await health.stop()


async def _drain(consumer: Consumer, feeder: Feeder) -> None:
    await consumer.stop()
    await feeder.drain()


if __name__ == "__main__":
    main()
