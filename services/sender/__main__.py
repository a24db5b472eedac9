"""The sender: takes numbers from the outbound queues and calls the provider."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from zoneinfo import ZoneInfo

from services.sender.follow_ups import FollowUps
from services.sender.handing_back import HandingBack, HandingBackAll
from services.sender.heartbeat import Heartbeat
from services.sender.open_gateways import OpenGateways
from services.sender.opted_out import OptedOut
from services.sender.pipeline import Pipeline
from services.sender.providers import gateways_of
from services.sender.providers.gateway import HttpGateway
from services.sender.rate_limiter import DailyLimit, RateLimiter
from services.sender.settings import SenderSettings
from services.sender.stages import Rules
from services.sender.stale_settler import StaleSettler
from services.sender.turn_reader import TurnReader
from shared import lifecycle, logs
from shared.domain.opt_out_codes import IN_ANSWERS
from shared.domain.routing import ANY_PROVIDER, Routing
from shared.error_log import ErrorLog
from shared.ledger.fuse import Fuse
from shared.ledger.provider_days import ProviderDays
from shared.ledger.provider_gates import ProviderGates
from shared.ledger.provider_senders import ProviderSenders
from shared.ledger.receipts import ReceiptsLedger
from shared.ledger.sending import SendingLedger
from shared.ledger.suppressions import SuppressionLedger
from shared.providers import Providers
from shared.reloading import Reloading
from shared.running_tasks import RunningTasks
from shared.settings import load, load_or_exit
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
    """Wire the sender, and let it work until the stop: a pipeline for each provider that it serves."""
    gateways = gateways_of(settings)
    open_gateways = OpenGateways(gateways)
    takers: dict[str, Pipeline | HandingBackAll] = {}
    worker = Worker(
        "sender",
        settings,
        {
            queue: settings.deliveries_at_once(name, gateway.max_recipients)
            for name, gateway in gateways.items()
            for queue in queues_of(name)
        }
        | {queue: settings.prefetch for queue in left_over(settings.all_providers.names)},
        take=lambda delivery: takers[delivery.queue].take(delivery),
        lost=lambda: _each(taker.forget for taker in takers_once),
    )
    pipelines = {name: pipeline_of(settings, worker, gateway) for name, gateway in gateways.items()}
    for name, pipeline in pipelines.items():
        takers |= dict.fromkeys(queues_of(name), pipeline)
    if queues := left_over(settings.all_providers.names):
        takers |= dict.fromkeys(queues, handing_back_all(settings, worker))
    takers_once = list(dict.fromkeys(takers.values()))

    async def reload(_providers: Providers) -> None:
        anew = load(SenderSettings)
        for name, gateway in gateways_of(anew).items():
            await open_gateways.replace(name, gateway, calls_end_within_s=anew.lease_ms / 1000)
            limiter = limiter_of(anew, worker, name)
            pipelines[name].use(gateway, limiter, routing_of(anew))
            await limiter.end_refusal()

    heartbeat = Heartbeat(
        ProviderSenders(worker.database),
        worker.name,
        lambda: {name: pipeline.activity for name, pipeline in pipelines.items()},
    )
    await worker.run(
        stop,
        {f"pipeline {number}": taker.run for number, taker in enumerate(takers_once, 1)}
        | {"reloading": Reloading(settings, worker.database, reload).run, "heartbeat": heartbeat.run},
        prepare=open_gateways.open,
        drain=lambda: _all(taker.drain for taker in takers_once),
        cut_off=lambda: _all(taker.cancel for taker in takers_once),
        close=lambda: _all([heartbeat.leave, open_gateways.close]),
    )


def queues_of(provider: str) -> list[str]:
    """A provider's queues."""
    return [outbound_queue(lane, provider) for lane in Lane]


def left_over(providers: Collection[str]) -> list[str]:
    """The queues that have no provider any more, and may have messages of a time when they had."""
    return [] if ANY_PROVIDER in providers else queues_of(ANY_PROVIDER)


def pipeline_of(settings: SenderSettings, worker: Worker, gateway: HttpGateway) -> Pipeline:
    """The way of a provider's messages through this sender."""
    name, fuse = gateway.name, Fuse(settings.fuse_first, settings.fuse_later)
    said = settings.all_providers.by_name[name]
    ids = ReceiptsLedger(worker.database) if said.tells_only_its_ids else None
    return Pipeline(
        (SendingLedger(worker.database, name, fuse, ids, said.sender_name), worker.clock),
        (gateway, limiter_of(settings, worker, name), routing_of(settings)),
        worker.publisher,
        FollowUps(settings.retry_tiers_s, worker.name, name),
        _rules(settings, name),
        OptedOut(SuppressionLedger(worker.database), IN_ANSWERS.get(said.type, frozenset()), said.sender_name),
    )


def routing_of(settings: SenderSettings) -> Routing | None:
    """Which messages are whose, where there are several providers."""
    return Routing(settings.all_providers.routes) if len(settings.all_providers.names) > 1 else None


def limiter_of(settings: SenderSettings, worker: Worker, provider: str) -> RateLimiter:
    """The pace of a provider's calls."""
    said, gates = settings.all_providers.by_name[provider], ProviderGates(worker.database)
    days = ProviderDays(worker.database)
    daily = None if said.daily is None else DailyLimit(days, said.daily, ZoneInfo(said.daily_zone))
    longest_pause_s = settings.provider_longest_pause_s
    return RateLimiter(gates, provider, settings.rate(provider), longest_pause_s, said.rate_per, daily)


def handing_back_all(settings: SenderSettings, worker: Worker) -> HandingBackAll:
    """What takes the messages that no provider is there for."""
    follow_ups, under_way = FollowUps(settings.retry_tiers_s, worker.name), RunningTasks()
    ledger, rules = SendingLedger(worker.database), _rules(settings, settings.all_providers.names[0])
    stale = StaleSettler(ledger, worker.publisher, follow_ups, rules, ErrorLog())
    return HandingBackAll(HandingBack(TurnReader(worker.publisher, follow_ups, under_way), stale), under_way)


def _rules(settings: SenderSettings, provider: str) -> Rules:
    return Rules(
        settings.retry_policy,
        settings.lease_ms,
        settings.call_within_ms(provider),
        settings.provider_deduplicates,
        settings.longest_hold_s,
        settings.all_providers.by_name[provider].concurrency,
        hands_back=len(settings.all_providers.names) > 1,
    )


def _each(calls: Iterable[Callable[[], None]]) -> None:
    for call in calls:
        call()


async def _all(calls: Iterable[Callable[[], Awaitable[None]]]) -> None:
    await asyncio.gather(*(call() for call in calls))


if __name__ == "__main__":
    main()
