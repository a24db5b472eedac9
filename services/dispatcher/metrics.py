"""What a dispatcher counts and measures."""

from prometheus_client import Counter, Gauge, Histogram

BATCHES = Counter("sms_dispatcher_batches_total", "Batch messages handled, by what became of them", ["result"])
ROWS = Counter("sms_dispatcher_rows_total", "Rows written to the ledger")
FED = Counter("sms_dispatcher_fed_total", "Numbers published to the outbound queues and confirmed", ["lane"])
UNFED = Counter("sms_dispatcher_unconfirmed_total", "Numbers whose publish was not confirmed; they are published again")
RECOVERED = Counter("sms_dispatcher_recovered_total", "Numbers that stood still, and were fed again or ended")
STATUSES = Counter("sms_dispatcher_statuses_total", "Statuses of batches written to Redis")
RECEIPTS = Counter(
    "sms_dispatcher_receipts_total",
    "Receipts looked at, by what became of them; early ones each time",
    ["provider", "fate"],
)
INBOUND = Counter("sms_dispatcher_inbound_total", "Texts from handsets, by what they ask for", ["provider", "wish"])
CHUNK_SECONDS = Histogram("sms_dispatcher_feed_seconds", "From the publish of a chunk to its last confirm")
RUNNING = Gauge("sms_dispatcher_running_batches", "Batches that this dispatcher feeds")
QUEUE_MESSAGES = Gauge("sms_dispatcher_queue_messages", "Messages that wait in a queue; none while unknown", ["queue"])
OLDEST_UNSENT = Gauge(
    "sms_dispatcher_oldest_unsent_seconds",
    "How long the oldest number that nobody has tried yet has been due, 0 where there is none; none while unknown",
    ["lane"],
)
