"""Receipts: which number one is about, what it does to it, and how it goes over the broker."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.receipts import left_over
from shared.domain.message import message_id
from shared.domain.receipts import (
    MOST_OF_A_CALL,
    Receipt,
    ReceiptStatus,
    Reference,
    SentRow,
    Step,
    call_reference,
    decide,
    digest_of,
    is_of_another,
    of_the_whole,
    one_reference,
    reference_of,
    spellings,
    state_after,
)
from shared.domain.states import TRANSITIONS, State
from shared.errors import UnreadableMessage
from shared.ledger.receipts import Fate
from shared.messages import RECEIPTS_TYPE, ReceiptsMessage, WireReceipt, read_receipts

BATCH_ID = "0198c0de-0000-8000-8000-00000000abcd"
OTHER_BATCH = "0198c0de-0000-8000-8000-00000000abce"
ROW, ATTEMPT = 7, 2
MAIN, OTHER = "main", "other"
OWN_ID, OTHER_ID = "id-of-the-call", "id-of-another-call"
ARRIVED, FAILED, UNDER_WAY = ReceiptStatus.DELIVERED, ReceiptStatus.UNDELIVERED, ReceiptStatus.UNDER_WAY
FINAL = (ARRIVED, FAILED)
MINUTE_MS = 60_000

LATEST, EARLIER, NEVER_TOLD = ATTEMPT, ATTEMPT - 1, None
HELD_TO_HAVE_FAILED = [State.PENDING, State.QUEUED, State.RETRYING, State.FAILED, State.EXPIRED]
NEVER_SENT = [State.INVALID, State.DUPLICATE, State.SUPPRESSED, State.CANCELLED]


def a_row(state: State, **more: Any) -> SentRow:
    row = SentRow(BATCH_ID, ROW, ATTEMPT, state, "+8613800138000", OWN_ID, 1, is_resent=False, provider=MAIN)
    return row._replace(**more)


def a_receipt(attempt: int | None = LATEST, **more: Any) -> Receipt:
    fields: dict[str, Any] = {"provider": MAIN, "status": ARRIVED, "message_id": OWN_ID, **more}
    return Receipt(reference=Reference(BATCH_ID, ROW, ROW, attempt), **fields)


def step(state: State, status: ReceiptStatus, receipt: Receipt | None = None, **row: Any) -> Step:
    return decide(a_row(state, **row), receipt or a_receipt(), status)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("attempt", [LATEST, EARLIER, NEVER_TOLD])
def test_what_is_still_on_its_way_says_nothing_new(state: State, attempt: int | None) -> None:
    for is_resent in (False, True):
        assert step(state, UNDER_WAY, a_receipt(attempt), is_resent=is_resent) is Step.PASS


@pytest.mark.parametrize("status", FINAL)
@pytest.mark.parametrize("attempt", [LATEST, EARLIER, NEVER_TOLD])
@pytest.mark.parametrize("provider", [MAIN, OTHER])
def test_a_word_told_again_says_nothing_new(status: ReceiptStatus, attempt: int | None, provider: str) -> None:
    assert step(state_after(status), status, a_receipt(attempt, provider=provider)) is Step.PASS


@pytest.mark.parametrize("attempt", [LATEST, EARLIER, NEVER_TOLD])
def test_the_first_final_word_holds(attempt: int | None) -> None:
    assert step(State.DELIVERED, FAILED, a_receipt(attempt)) is Step.KEEP
    assert step(State.UNDELIVERED, ARRIVED, a_receipt(attempt)) is Step.KEEP


@pytest.mark.parametrize("state", [state for state in State if state not in (State.DELIVERED, State.UNDELIVERED)])
@pytest.mark.parametrize("status", FINAL)
def test_a_number_that_was_resent_stands_as_it_stood_then(state: State, status: ReceiptStatus) -> None:
    assert step(state, status, is_resent=True) is Step.KEEP


@pytest.mark.parametrize("status", FINAL)
@pytest.mark.parametrize("attempt", [LATEST, NEVER_TOLD, ATTEMPT + 1])
def test_a_receipt_waits_for_its_attempt_to_be_recorded(status: ReceiptStatus, attempt: int | None) -> None:
    for message_id_told in (OWN_ID, OTHER_ID, None):
        assert step(State.SENDING, status, a_receipt(attempt, message_id=message_id_told)) is Step.WAIT


def test_an_earlier_attempts_failure_does_not_wait_for_another_that_is_made() -> None:
    assert step(State.SENDING, FAILED, a_receipt(EARLIER)) is Step.KEEP


def test_an_earlier_attempts_arrival_is_looked_at_again_when_another_is_recorded() -> None:
    assert step(State.SENDING, ARRIVED, a_receipt(EARLIER)) is Step.WAIT
    assert step(State.RETRYING, ARRIVED, a_receipt(EARLIER)) is Step.SETTLE


@pytest.mark.parametrize("state", [State.SENT, State.UNKNOWN])
@pytest.mark.parametrize("status", FINAL)
@pytest.mark.parametrize("attempt", [LATEST, NEVER_TOLD])
def test_the_latest_attempts_receipt_settles_what_was_sent_and_what_is_unclear(
    state: State, status: ReceiptStatus, attempt: int | None
) -> None:
    assert step(state, status, a_receipt(attempt)) is Step.SETTLE
    assert step(state, status, a_receipt(attempt, message_id=None)) is Step.SETTLE
    assert step(state, status, a_receipt(attempt), message_id=None) is Step.SETTLE


@pytest.mark.parametrize("status", FINAL)
def test_of_an_earlier_attempt_or_another_call_nothing_settles_what_was_sent(status: ReceiptStatus) -> None:
    assert step(State.SENT, status, a_receipt(EARLIER)) is Step.KEEP
    assert step(State.SENT, status, a_receipt(message_id=OTHER_ID)) is Step.KEEP
    assert step(State.SENT, status, a_receipt(NEVER_TOLD, message_id=OTHER_ID)) is Step.KEEP


@pytest.mark.parametrize("receipt", [a_receipt(EARLIER), a_receipt(message_id=OTHER_ID)], ids=["earlier", "other call"])
def test_what_is_unclear_is_settled_by_a_text_that_arrived_and_not_by_one_that_did_not(receipt: Receipt) -> None:
    assert step(State.UNKNOWN, ARRIVED, receipt) is Step.SETTLE
    assert step(State.UNKNOWN, FAILED, receipt) is Step.KEEP


def test_a_text_that_arrived_by_another_provider_does_not_settle_what_is_unclear_at_this_one() -> None:
    assert step(State.UNKNOWN, ARRIVED, a_receipt(EARLIER, provider=OTHER)) is Step.KEEP


@pytest.mark.parametrize("state", HELD_TO_HAVE_FAILED)
@pytest.mark.parametrize("attempt", [LATEST, EARLIER, NEVER_TOLD])
@pytest.mark.parametrize("message_id_told", [OWN_ID, OTHER_ID, None])
def test_a_text_that_arrived_though_it_was_held_to_have_failed_is_not_sent_again(
    state: State, attempt: int | None, message_id_told: str | None
) -> None:
    receipt = a_receipt(attempt, message_id=message_id_told)
    assert step(state, ARRIVED, receipt) is Step.SETTLE
    assert step(state, FAILED, receipt) is Step.KEEP


@pytest.mark.parametrize("state", HELD_TO_HAVE_FAILED)
def test_a_number_that_was_never_tried_or_only_elsewhere_is_not_settled(state: State) -> None:
    assert step(state, ARRIVED, a_receipt(NEVER_TOLD), attempt=0) is Step.KEEP
    assert step(state, ARRIVED, a_receipt(EARLIER, provider=OTHER)) is Step.KEEP


@pytest.mark.parametrize("state", NEVER_SENT)
@pytest.mark.parametrize("status", FINAL)
def test_a_number_that_is_not_sent_stays_as_it_is(state: State, status: ReceiptStatus) -> None:
    assert step(state, status) is Step.KEEP


def test_of_a_part_another_id_is_no_other_call() -> None:
    part = a_receipt(message_id=OTHER_ID, is_of_a_part=True)
    assert step(State.SENT, ARRIVED, part) is Step.SETTLE
    assert step(State.SENT, FAILED, part) is Step.SETTLE


def test_the_same_id_in_another_spelling_is_no_other_call() -> None:
    assert step(State.SENT, ARRIVED, a_receipt(message_id="00FF"), message_id="255") is Step.SETTLE
    assert step(State.SENT, ARRIVED, a_receipt(message_id="255"), message_id="0xff") is Step.KEEP


def test_a_receipt_by_the_providers_own_id_is_of_the_latest_attempt() -> None:
    assert step(State.SENT, ARRIVED, Receipt(MAIN, ARRIVED, message_id=OWN_ID)) is Step.SETTLE
    assert step(State.SENT, ARRIVED, Receipt(MAIN, ARRIVED, message_id=OTHER_ID)) is Step.KEEP


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("status", FINAL)
@pytest.mark.parametrize("attempt", [LATEST, EARLIER, NEVER_TOLD])
@pytest.mark.parametrize("provider", [MAIN, OTHER])
def test_what_settles_is_a_transition_of_the_table(
    state: State, status: ReceiptStatus, attempt: int | None, provider: str
) -> None:
    if step(state, status, a_receipt(attempt, provider=provider)) is Step.SETTLE:
        assert (state, state_after(status)) in TRANSITIONS


def test_what_is_under_way_has_no_state_after_it() -> None:
    with pytest.raises(KeyError):
        state_after(UNDER_WAY)


def test_another_provider_is_believed_of_an_earlier_attempt_only() -> None:
    row = a_row(State.SENT)
    assert not is_of_another(row, a_receipt(LATEST))
    assert is_of_another(row, a_receipt(LATEST, provider=OTHER))
    assert is_of_another(row, a_receipt(NEVER_TOLD, provider=OTHER))
    assert not is_of_another(row, a_receipt(EARLIER, provider=OTHER))


@given(row=st.integers(0, 10**9 - 1), attempt=st.integers(0, 10**9 - 1))
def test_the_word_for_one_message_is_read_as_it_was_written(row: int, attempt: int) -> None:
    word = one_reference(message_id(BATCH_ID, row), attempt)
    assert word == f"{BATCH_ID}:{row}:{attempt}"
    assert Reference.read(word) == Reference(BATCH_ID, row, row, attempt)


@given(first=st.integers(0, 10**8), others=st.lists(st.integers(0, MOST_OF_A_CALL - 1), max_size=20))
def test_the_word_for_a_call_names_its_rows_from_the_first_to_the_last(first: int, others: list[int]) -> None:
    rows = [first + other for other in [*others, 0]]
    word = call_reference([message_id(BATCH_ID, row) for row in rows])
    assert word == f"{BATCH_ID}:{min(rows)}-{max(rows)}"
    assert Reference.read(word) == Reference(BATCH_ID, min(rows), max(rows))


def test_a_messages_reference_alone_names_one_number_in_any_attempt() -> None:
    read = Reference.read(reference_of(a_row(State.SENT)))
    assert read == Reference(BATCH_ID, ROW, ROW)
    assert read.names_one


def test_a_call_with_one_number_names_one_and_one_with_several_does_not() -> None:
    one, several = Reference.read(f"{BATCH_ID}:3-3"), Reference.read(f"{BATCH_ID}:3-4")
    assert one is not None
    assert one.names_one
    assert several is not None
    assert not several.names_one


def test_a_call_may_name_as_many_rows_as_any_vendor_takes_and_no_more() -> None:
    assert Reference.read(f"{BATCH_ID}:5-{5 + MOST_OF_A_CALL - 1}") is not None
    assert Reference.read(f"{BATCH_ID}:5-{5 + MOST_OF_A_CALL}") is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        b"bytes",
        [],
        {},
        "",
        "ref-0001",
        BATCH_ID,
        f"{BATCH_ID}:",
        f"{BATCH_ID}:x",
        f"{BATCH_ID}:-1",
        f"{BATCH_ID}:1:",
        f"{BATCH_ID}:1-",
        f"{BATCH_ID}:2-1",
        f"{BATCH_ID}:1-2:1",
        f"{BATCH_ID}:1:2:3",
        f"{BATCH_ID}:1:-1",
        f"{BATCH_ID}:1234567890",
        f"{BATCH_ID}:1\n",
        f" {BATCH_ID}:1",
        f"{BATCH_ID.upper()}:1",
        f"{BATCH_ID}:１",
        f"{BATCH_ID}:1\0",
        f"{BATCH_ID}:1\ud800",
    ],
)
def test_what_is_not_our_word_is_no_reference(text: object) -> None:
    assert Reference.read(text) is None


@given(st.text() | st.text(alphabet="0123456789abcdef:-"))
def test_reading_a_word_that_anybody_wrote_never_fails(text: str) -> None:
    assert Reference.read(text) is None or BATCH_ID.count("-") == text.partition(":")[0].count("-")


@pytest.mark.parametrize(
    ("parts", "segments", "whole"),
    [
        ([], 1, UNDER_WAY),
        ([ARRIVED], 1, ARRIVED),
        ([FAILED], 1, FAILED),
        ([UNDER_WAY], 1, UNDER_WAY),
        ([ARRIVED], 2, UNDER_WAY),
        ([ARRIVED, UNDER_WAY], 2, UNDER_WAY),
        ([ARRIVED, ARRIVED], 2, ARRIVED),
        ([ARRIVED, ARRIVED, ARRIVED], 2, ARRIVED),
        ([FAILED], 3, FAILED),
        ([ARRIVED, FAILED], 2, FAILED),
        ([ARRIVED, ARRIVED, FAILED], 2, FAILED),
    ],
)
def test_a_long_text_arrived_when_all_of_its_parts_have_and_not_when_one_has_not(
    parts: list[ReceiptStatus], segments: int, whole: ReceiptStatus
) -> None:
    assert of_the_whole(iter(parts), segments) is whole


IDS = st.integers(1, 2**64 - 1)


@given(IDS, st.integers(0, 8))
def test_an_id_is_known_again_in_hexadecimal_in_any_case_and_with_zeros(number: int, zeros: int) -> None:
    answered = f"{number:x}"
    for told in (f"{number:X}", f"{'0' * zeros}{answered}", f" {answered}\n"):
        assert spellings(told)[0] == answered


WITH_A_LETTER = IDS.filter(lambda number: not f"{number:x}".isdigit())


@given(WITH_A_LETTER, st.integers(0, 8))
def test_an_id_answered_in_hexadecimal_and_told_in_decimal_is_the_same(number: int, zeros: int) -> None:
    assert f"{number:x}" in spellings(f"{'0' * zeros}{number}")
    assert set(spellings(f"{number:X}")) & set(spellings(str(number)))


@given(WITH_A_LETTER.map("{:x}".format))
def test_an_id_answered_in_decimal_and_told_in_hexadecimal_is_the_same(told: str) -> None:
    assert str(int(told, 16)) in spellings(told)


@given(IDS.filter(lambda number: f"{number:x}".isdigit()))
def test_digits_alone_stand_for_no_other_digits(number: int) -> None:
    assert spellings(str(number)) == (str(number),)
    assert not any(each.isdigit() and each != f"{number:x}" for each in spellings(f"{number:x}"))


@given(st.text(min_size=1))
def test_the_first_spelling_of_an_id_is_the_one_it_is_found_by(told: str) -> None:
    first, *others = spellings(told)
    assert spellings(first)[0] == first
    assert first not in others
    assert len(others) <= 2


@pytest.mark.parametrize(("told", "plain"), [("0", "0"), ("000", "0"), ("0A00", "a00"), ("SM0a", "sm0a"), ("", "")])
def test_zeros_go_only_where_something_follows(told: str, plain: str) -> None:
    assert spellings(told)[0] == plain


def test_an_id_of_another_kind_has_one_spelling() -> None:
    assert spellings("SM00000000000000000000000000000001") == ("sm00000000000000000000000000000001",)
    assert spellings("0198c0de-0000") == ("198c0de-0000",)
    assert spellings("1" * 21) == ("1" * 21,)


def test_a_digest_shows_nothing_of_the_number_and_differs_by_batch_and_number() -> None:
    number = "+8613800138000"
    own = digest_of(BATCH_ID, number)
    assert own == digest_of(BATCH_ID, number)
    assert len({own, digest_of(OTHER_BATCH, number), digest_of(BATCH_ID, "+8613800138001")}) == 3
    assert len(own) == 16
    assert set(own) <= set("0123456789abcdef")


WIRE = WireReceipt(
    status=FAILED,
    reference=f"{BATCH_ID}:{ROW}:{ATTEMPT}",
    recipient=digest_of(BATCH_ID, "+8613800138000"),
    message_id=OWN_ID,
    code="MK:0001",
    reason="空号",
    at_ms=1_700_000_000_000,
    is_of_a_part=True,
)


def pushed(*receipts: WireReceipt, received_at_ms: int = 1_700_000_000_000) -> ReceiptsMessage:
    return ReceiptsMessage(provider=MAIN, received_at_ms=received_at_ms, receipts=list(receipts))


def over_the_broker(message: ReceiptsMessage) -> ReceiptsMessage:
    return read_receipts(RECEIPTS_TYPE, message.model_dump_json(exclude_none=True, exclude_defaults=True).encode())


def test_a_receipt_comes_out_of_the_broker_as_it_went_in() -> None:
    message = pushed(WIRE, WireReceipt(status=ARRIVED, message_id=OWN_ID))
    assert over_the_broker(message) == message
    assert over_the_broker(message).receipts[0].read(MAIN) == Receipt(
        provider=MAIN,
        status=FAILED,
        reference=Reference(BATCH_ID, ROW, ROW, ATTEMPT),
        recipient=WIRE.recipient,
        message_id=OWN_ID,
        code="MK:0001",
        reason="空号",
        at_ms=1_700_000_000_000,
        is_of_a_part=True,
    )


def test_a_word_on_the_wire_that_is_not_ours_is_no_reference() -> None:
    assert WireReceipt(status=ARRIVED, reference="ref-0001").read(MAIN).reference is None


def test_a_member_that_a_later_version_adds_is_passed_over() -> None:
    body = {"provider": MAIN, "received_at_ms": 1, "later": 1, "receipts": [{"status": "delivered", "later": 1}]}
    assert read_receipts(RECEIPTS_TYPE, orjson.dumps(body)).receipts == [WireReceipt(status=ARRIVED)]


@pytest.mark.parametrize(
    ("message_type", "body"),
    [
        ("sms.batch.v1", b"{}"),
        (RECEIPTS_TYPE, b""),
        (RECEIPTS_TYPE, b"{"),
        (RECEIPTS_TYPE, b"[]"),
        (RECEIPTS_TYPE, b"{}"),
        (RECEIPTS_TYPE, b'{"provider":"","received_at_ms":1,"receipts":[]}'),
        (RECEIPTS_TYPE, b'{"provider":"main","received_at_ms":-1,"receipts":[]}'),
        (RECEIPTS_TYPE, b'{"provider":"main","received_at_ms":1,"receipts":[{"status":"13800138000"}]}'),
        (RECEIPTS_TYPE, b'{"provider":"main","received_at_ms":1,"receipts":[{"status":"delivered","at_ms":9e15}]}'),
    ],
)
def test_what_is_no_message_of_receipts_is_refused_without_a_word_of_it(message_type: str, body: bytes) -> None:
    with pytest.raises(UnreadableMessage) as refused:
        read_receipts(message_type, body)
    assert "13800138000" not in str(refused.value)


BY_REFERENCE = WireReceipt(status=ARRIVED, reference=f"{BATCH_ID}:1")
BY_ID = WireReceipt(status=ARRIVED, message_id=OWN_ID)
FOUND = [Fate.SETTLED, Fate.KEPT, Fate.PASSED]


def left(
    fates: dict[int, Fate], *receipts: WireReceipt, after_ms: int = 0, noted: bool = True
) -> tuple[Sequence[WireReceipt], bool]:
    """What is left of a push whose receipts are passed over where `fates` says nothing else, so long after the first
    look."""
    message = pushed(*receipts)
    if after_ms:
        message = message.model_copy(update={"first_look_at_ms": message.received_at_ms})
    each = [fates.get(position, Fate.PASSED) for position in range(len(receipts))]
    read = [receipt.read(MAIN) for receipt in receipts]
    over = left_over(message, read, each, message.received_at_ms + after_ms, may_be_noted=noted)
    return over.receipts, over.is_early


@pytest.mark.parametrize("fate", FOUND)
def test_of_a_push_whose_numbers_were_found_nothing_is_left(fate: Fate) -> None:
    assert left({0: fate, 1: fate}, BY_REFERENCE, BY_ID) == ([], False)


@pytest.mark.parametrize("receipt", [BY_REFERENCE, BY_ID], ids=["reference", "id"])
def test_what_is_early_is_looked_at_again_for_as_long_as_it_is(receipt: WireReceipt) -> None:
    assert left({0: Fate.EARLY}, receipt) == ([receipt], True)
    assert left({0: Fate.EARLY}, receipt, after_ms=24 * 60 * MINUTE_MS) == ([receipt], True)


def test_a_reference_that_no_number_has_is_not_looked_for_again() -> None:
    assert left({0: Fate.UNMATCHED}, BY_REFERENCE) == ([BY_REFERENCE], False)


def test_an_id_that_no_number_has_yet_is_looked_for_again() -> None:
    assert left({0: Fate.UNMATCHED}, BY_ID) == ([BY_ID], True)
    assert left({0: Fate.UNMATCHED}, BY_ID, after_ms=5 * MINUTE_MS - 1) == ([BY_ID], True)
    assert left({0: Fate.UNMATCHED}, BY_ID, after_ms=5 * MINUTE_MS) == ([BY_ID], False)


def test_an_id_that_nobody_notes_is_not_looked_for_again() -> None:
    assert left({0: Fate.UNMATCHED}, BY_ID, noted=False) == ([BY_ID], False)


def test_only_what_found_no_number_is_left_and_waits_together() -> None:
    fates = {0: Fate.SETTLED, 1: Fate.UNMATCHED, 2: Fate.EARLY, 3: Fate.KEPT}
    early = BY_REFERENCE.model_copy(update={"reference": f"{BATCH_ID}:2"})
    assert left(fates, BY_ID, BY_REFERENCE, early, BY_ID) == ([BY_REFERENCE, early], True)
