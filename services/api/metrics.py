"""What the api counts and measures."""

from prometheus_client import Counter, Histogram

from shared.errors import Rejected, Unconfirmed, Unroutable

BATCHES_ACCEPTED = Counter("sms_api_batches_accepted", "Batches that the broker confirmed")
RECIPIENTS_ACCEPTED = Counter("sms_api_recipients_accepted", "Recipients in batches that the broker confirmed")
REQUESTS = Counter("sms_api_requests", "Requests by route and answer", ["route", "method", "status"])
REQUEST_SECONDS = Histogram("sms_api_request_seconds", "From a request's first byte to its answer", ["route"])
PUBLISH_SECONDS = Histogram(
    "sms_api_publish_seconds",
    "From the publish of a batch to its confirm",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
PUBLISHES_FAILED = Counter("sms_api_publishes_failed", "Batches without a confirm, by reason", ["reason"])

VENDOR_ITEMS_TAKEN = Counter(
    "sms_api_vendor_items", "Receipts, and texts from handsets, that the broker confirmed", ["what", "provider"]
)
VENDOR_CALLS_REFUSED = Counter(
    "sms_api_vendor_calls_refused", "Vendors' calls that were refused, by reason", ["what", "provider", "reason"]
)

STATUS_READS = Counter("sms_api_status_reads", "Looks at how a batch stands, by who answered", ["source"])

# A counter that begins at 0 shows its first increase; one that appears with its first event does not.
for _reason in (Unconfirmed, Rejected, Unroutable):
    PUBLISHES_FAILED.labels(_reason.__name__)
for _source in ("redis", "ledger"):
    STATUS_READS.labels(_source)
