"""The dispatcher: splits batches into numbers and keeps the outbound queues fed."""

import asyncio

from services.dispatcher.backlog import Backlog
from services.dispatcher.feed import Feeder
from services.dispatcher.handler import BatchHandler, BatchTasks, Ledgers, Rules
from services.dispatcher.inbound import PUSHES_AT_ONCE as TEXTS_AT_ONCE
from services.dispatcher.inbound import InboundTaker, Lists, Words
from services.dispatcher.queued_marker import QueuedMarker
from services.dispatcher.receipts import PUSHES_AT_ONCE, ReceiptTaker
from services.dispatcher.recovery import QueueWatch, Recovery
from services.dispatcher.router import Router
from services.dispatcher.settings import DispatcherSettings
from services.dispatcher.statuses import StatusWriter
from shared import lifecycle, logs
from shared.amqp.messages import Delivery
from shared.cache import Cache
from shared.domain.opt_out import START_WORDS, STOP_WORDS
from shared.domain.recovery import RecoveryTimeouts
from shared.ledger.feeding import FeedingLedger
from shared.ledger.inbound import InboundLedger
from shared.ledger.intake import IntakeLedger
from shared.ledger.provider_gates import ProviderGates
from shared.ledger.provider_senders import ProviderSenders
from shared.ledger.reading import ReadingLedger
from shared.ledger.receipts import ReceiptsLedger
from shared.ledger.recovery import RecoveryLedger
from shared.ledger.suppressions import SuppressionLedger
from shared.ledger.templates import TemplateLedger
from shared.providers import Providers
from shared.reloading import Reloading
from shared.settings import load_or_exit
from shared.topology import BATCHES, INBOUND_QUEUE, RECEIPTS
from shared.worker import Worker

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
    """Wire the dispatcher, and let it work until the stop."""

    def take(delivery: Delivery) -> None:
        takers[delivery.queue].take(delivery)

    def drop() -> None:
        for taker in takers.values():
            taker.drop()

    worker = Worker(
        "dispatcher",
        settings,
        {BATCHES: _BATCHES_AT_ONCE, RECEIPTS: PUSHES_AT_ONCE, INBOUND_QUEUE: TEXTS_AT_ONCE},
        take=take,
        lost=drop,
    )
    database, clock, publisher = worker.database, worker.clock, worker.publisher
    watch = QueueWatch(worker.consumer.depth)
    feeding, intake = FeedingLedger(database), IntakeLedger(database)
    marker = QueuedMarker(feeding)
    router = Router(settings.all_providers.routes, ProviderGates(database), ProviderSenders(database))
    feeder = Feeder((feeding, clock), publisher, marker, watch.depth, settings.outbound_depth, worker.name, router)
    handler = BatchHandler(
        Ledgers(intake, TemplateLedger(database)),
        publisher,
        Rules(settings.default_region, settings.max_batch_bytes, settings.all_providers.sender_name_for),
        worker.name,
        feeder.wake,
    )
    providers = settings.all_providers
    receipts = ReceiptTaker(ReceiptsLedger(database, providers.opted_out_from), publisher, providers.tells_only_ids)
    words = Words(STOP_WORDS | settings.stop_words, START_WORDS | settings.start_words)
    inbound = InboundTaker(Lists(SuppressionLedger(database), InboundLedger(database)), publisher, providers, words)
    in_work = BatchTasks(handler, worker.tasks)
    takers: dict[str, BatchTasks | ReceiptTaker | InboundTaker] = {
        BATCHES: in_work,
        RECEIPTS: receipts,
        INBOUND_QUEUE: inbound,
    }
    timeouts = RecoveryTimeouts(settings.recover_after_s, settings.lease_ms, settings.retry_tiers_s)
    ledgers = RecoveryLedger(database), intake, clock
    recovery = Recovery(ledgers, publisher, watch, worker.declare, timeouts, worker.name, router.providers)
    queues = [queue.name for queue in settings.topology.queues]
    backlog = Backlog(worker.consumer.depth, queues, feeding, settings.backlog_look_s)
    cache = Cache(settings.redis_address, settings.cache_secret)
    statuses = StatusWriter(cache, ReadingLedger(database), worker.name)

    async def reload(providers: Providers) -> None:
        router.use(providers.routes)

    work = {
        "feeder": feeder.run,
        "marker": marker.run,
        "recovery": recovery.run,
        "receipts": receipts.run,
        "inbound": inbound.run,
        "backlog": backlog.run,
        "reloading": Reloading(settings, database, reload).run,
    }
    if settings.redis_address:
        work["statuses"] = statuses.run
    await worker.run(stop, work, drain=feeder.drain, close=cache.close)


if __name__ == "__main__":
    main()
