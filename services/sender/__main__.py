"""The sender: takes numbers from the outbound queues and calls the provider."""

import asyncio
import os
import secrets
import socket
from functools import partial

from services.sender.follow_ups import FollowUps
from services.sender.jobs import Rules
from services.sender.pipeline import Pipeline
from services.sender.providers import TYPES
from services.sender.rate_limiter import RateLimiter
from services.sender.settings import SenderSettings
from shared import lifecycle, logs
from shared.amqp.consumer import Consumer
from shared.amqp.declare import declare_when_reachable
from shared.amqp.publisher import Publisher
from shared.health import HealthServer
from shared.ledger.clock import LedgerClock
from shared.ledger.database import Database
from shared.ledger.gates import ProviderGates
from shared.ledger.sending import SendingLedger
from shared.ledger.waiting import check as ledger_check
from shared.policy_watch import PolicyWatch
from shared.settings import load_or_exit
from shared.topology import Lane, outbound_queue

_COLLECT_AFTER = 50_000
"""What a number is made of ends with it; to look for cycles in it took a fifth of a sender's CPU."""


def main() -> None:
    """Run a sender until it is told to stop."""
    settings = load_or_exit(SenderSettings)
    logs.configure("sender", settings.log_level)
    lifecycle.run(lambda stop: serve(settings, stop), collect_after=_COLLECT_AFTER)


async def serve(settings: SenderSettings, stop: asyncio.Event) -> None:
    """Wire the sender, let it work, and take it down in order: consumer, what is in flight, publisher."""
    name = f"sender@{socket.gethostname()}/{os.getpid()}-{secrets.token_hex(3)}"
    amqp_url = settings.amqp_url.get_secret_value()
    database = Database(settings.database_url.get_secret_value())
    clock = LedgerClock(database, settings.lease_ms / 1000)
    gateway = TYPES["plain"](settings)
    declare = partial(declare_when_reachable, amqp_url, settings.topology)
    publisher = Publisher(amqp_url, f"{name} publishes", "sms-sender", declare)
    rules = Rules(
        settings.retry_policy,
        settings.lease_ms,
        settings.call_within_ms,
        settings.provider_deduplicates,
        settings.longest_hold_s,
    )
    limiter = RateLimiter(
        ProviderGates(database), gateway.name, settings.provider_rate, settings.provider_longest_pause_s
    )
    follow_ups = FollowUps(settings.retry_tiers_s, name)
    pipeline = Pipeline((SendingLedger(database), clock), (gateway, limiter), publisher, follow_ups, rules)
    consumer = Consumer(
        (amqp_url, f"{name} consumes"),
        [outbound_queue(lane) for lane in Lane],
        settings.deliveries_at_once,
        pipeline.take,
        prepare=clock.before(declare),
        lost=pipeline.forget,
    )
    clock.went_wrong = consumer.give_back
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
    tasks = lifecycle.CriticalTasks()
    await health.start()
    try:
        if not await lifecycle.unless_stopped(stop, database.migrate_when_reachable()):
            return
        await gateway.open()
        for work, task_name in (
            (clock.run(), "clock"),
            (publisher.run(), "publisher"),
            (pipeline.run(), "pipeline"),
            (consumer.run(), "consumer"),
            (PolicyWatch(settings).run(), "policies"),
        ):
            tasks.start(work, task_name)
        await tasks.wait(stop)
        await lifecycle.within(settings.drain_timeout_s, _drain(consumer, pipeline))
    finally:
        await pipeline.cancel()
        await publisher.close()
        await consumer.close()
        await tasks.cancel()
        await gateway.close()
        await database.close()
        await health.stop()


async def _drain(consumer: Consumer, pipeline: Pipeline) -> None:
    await consumer.stop()
    await pipeline.drain()


if __name__ == "__main__":
    main()
