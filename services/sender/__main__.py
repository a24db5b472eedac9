"""The sender: takes numbers from the outbound queues and calls the provider."""

import asyncio

from services.sender.follow_ups import FollowUps
from services.sender.pipeline import Pipeline
from services.sender.providers import gateway_of
from services.sender.rate_limiter import RateLimiter
from services.sender.settings import SenderSettings
from services.sender.stages import Rules
from shared import lifecycle, logs
from shared.ledger.provider_gates import ProviderGates
from shared.ledger.sending import SendingLedger
from shared.settings import load_or_exit
from shared.topology import Lane, outbound_queue
from shared.worker import Worker

_COLLECT_AFTER = 50_000
"""What a number is made of ends with it; to look for cycles in it took a fifth of a sender's CPU."""


def main() -> None:
    """Run a sender until it is told to stop."""
    settings = load_or_exit(SenderSettings)
    logs.configure("sender", settings.log_level)
    lifecycle.run(lambda stop: serve(settings, stop), collect_after=_COLLECT_AFTER)


async def serve(settings: SenderSettings, stop: asyncio.Event) -> None:
    """Wire the sender, and let it work until the stop."""
    gateway = gateway_of(settings)
    worker = Worker(
        "sender",
        settings,
        [outbound_queue(lane) for lane in Lane],
        settings.deliveries_at_once,
        take=lambda delivery: pipeline.take(delivery),
        lost=lambda: pipeline.forget(),
    )
    rules = Rules(
        settings.retry_policy,
        settings.lease_ms,
        settings.call_within_ms,
        settings.provider_deduplicates,
        settings.longest_hold_s,
    )
    gates, longest_pause_s = ProviderGates(worker.database), settings.provider_longest_pause_s
    pipeline = Pipeline(
        (SendingLedger(worker.database), worker.clock),
        (gateway, RateLimiter(gates, gateway.name, settings.provider_rate, longest_pause_s)),
        worker.publisher,
        FollowUps(settings.retry_tiers_s, worker.name),
        rules,
    )
    await worker.run(
        stop,
        {"pipeline": pipeline.run},
        prepare=gateway.open,
        drain=pipeline.drain,
        cut_off=pipeline.cancel,
        close=gateway.close,
    )


if __name__ == "__main__":
    main()
