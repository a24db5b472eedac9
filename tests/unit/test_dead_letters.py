"""Dead letters: what the person who reads one in the management UI finds."""

from shared.domain.follow_ups import Failure, dead_letter
from shared.topology import DeadLetterKey

BATCH_ID = "0198c0de-0000-8000-8000-00000000abcd"
FAILED_AT_MS = 1_700_000_000_123
BARE = Failure("no_content", "The batch has no content", FAILED_AT_MS, "dispatcher@host/1", "sms.batches")
FULL = Failure(
    code="bad_number",
    reason="No such number",
    failed_at_ms=FAILED_AT_MS,
    failed_by="sender@host/1",
    original_queue="sms.outbound.bulk",
    provider="default",
    provider_status=400,
    attempts=2,
    first_at_ms=FAILED_AT_MS - 60_000,
)


def test_the_headers_are_those_of_the_contract() -> None:
    letter = dead_letter(DeadLetterKey.OUTBOUND, b"{}", "sms.outbound.v1", f"{BATCH_ID}:7", BATCH_ID, FULL)
    assert letter.headers == {
        "x-error-code": "bad_number",
        "x-error-reason": "No such number",
        "x-provider": "default",
        "x-provider-status": 400,
        "x-attempts": 2,
        "x-first-at": "2023-11-14T22:12:20.123Z",
        "x-failed-at": "2023-11-14T22:13:20.123Z",
        "x-failed-by": "sender@host/1",
        "x-original-queue": "sms.outbound.bulk",
        "x-batch-id": BATCH_ID,
    }


def test_a_header_with_nothing_to_say_is_left_out() -> None:
    letter = dead_letter(DeadLetterKey.BATCHES, b"{}", "sms.batch.v1", BATCH_ID, BATCH_ID, BARE)
    assert not {"x-provider", "x-provider-status", "x-first-at"} & letter.headers.keys()
    assert letter.headers["x-attempts"] == 0


def test_the_message_is_the_one_that_failed_under_its_own_ids() -> None:
    letter = dead_letter(DeadLetterKey.UNKNOWN, b'{"row": 7}', "sms.outbound.v1", f"{BATCH_ID}:7", BATCH_ID, FULL)
    assert (letter.exchange, letter.routing_key) == ("sms.dead-letter", "unknown")
    assert (letter.body, letter.type) == (b'{"row": 7}', "sms.outbound.v1")
    assert (letter.message_id, letter.correlation_id) == (f"{BATCH_ID}:7", BATCH_ID)
    assert letter.timestamp_s == 1_700_000_000
    assert letter.expiration_ms is None


def test_a_long_reason_is_cut_so_that_the_header_stays_short() -> None:
    failure = Failure("code", "x" * 5000, FAILED_AT_MS, "sender", "queue")
    letter = dead_letter(DeadLetterKey.OUTBOUND, b"", "sms.outbound.v1", "m", BATCH_ID, failure)
    assert letter.headers["x-error-reason"] == "x" * 300
