"""The messages on the broker: what is read from them, and what is refused."""

from typing import Any

import orjson
import pytest

from shared.domain.message import message_id
from shared.errors import UnreadableMessage
from shared.messages import (
    BATCH_TYPE,
    OUTBOUND_TYPE,
    BatchMessage,
    OutboundMessage,
    outbound_body,
    read_batch,
    read_outbound,
)
from shared.topology import Lane

BATCH_ID = "0198c0de-0000-8000-8000-00000000abcd"
OUTBOUND: dict[str, Any] = {"batch_id": BATCH_ID, "row": 7, "attempt": 0, "recipient": "+86138****8000", "lane": "bulk"}
BATCH: dict[str, Any] = {"batch_id": BATCH_ID, "fingerprint": "f", "accepted_at_ms": 1, "recipients": ["13800138000"]}


def test_what_the_dispatcher_writes_the_sender_reads() -> None:
    body = outbound_body(BATCH_ID, 7, 2, "+86138****8000", "priority", 1_700_000_000_000)
    assert read_outbound(OUTBOUND_TYPE, body) == OutboundMessage(
        batch_id=BATCH_ID,
        row=7,
        attempt=2,
        recipient="+86138****8000",
        lane=Lane.PRIORITY,
        not_before_ms=1_700_000_000_000,
    )


def test_an_outbound_message_is_the_five_members_of_the_contract_and_no_more() -> None:
    assert orjson.loads(outbound_body(BATCH_ID, 7, 0, "+86138****8000", "bulk")) == OUTBOUND


def test_a_numbers_reference_is_the_batch_and_the_row() -> None:
    assert message_id(BATCH_ID, 7) == f"{BATCH_ID}:7"
    assert read_outbound(None, orjson.dumps(OUTBOUND)).message_id == f"{BATCH_ID}:7"


def test_a_batch_message_has_recipients_with_and_without_variables() -> None:
    recipients = ["13800138000", {"to": "13800138001", "variables": {"name": "Li"}}, {"to": "13800138002"}]
    batch = read_batch(BATCH_TYPE, orjson.dumps({**BATCH, "recipients": recipients}))
    assert batch.recipients == recipients


def test_a_batch_message_that_says_only_what_it_must_has_the_contracts_defaults() -> None:
    batch = read_batch(BATCH_TYPE, orjson.dumps(BATCH))
    assert batch == BatchMessage(
        batch_id=BATCH_ID,
        fingerprint="f",
        accepted_at_ms=1,
        recipients=["13800138000"],
        content=None,
        template_id=None,
        variables={},
        lane=Lane.BULK,
        provider="default",
        on_unknown="hold",
    )


def test_members_of_a_later_version_are_ignored() -> None:
    assert read_outbound(OUTBOUND_TYPE, orjson.dumps({**OUTBOUND, "colour": "red"})).row == 7
    assert read_batch(BATCH_TYPE, orjson.dumps({**BATCH, "colour": "red"})).batch_id == BATCH_ID


@pytest.mark.parametrize("message_type", [None, ""])
def test_a_message_pasted_by_hand_needs_no_type(message_type: str | None) -> None:
    assert read_outbound(message_type, orjson.dumps(OUTBOUND)).attempt == 0


def test_a_message_of_another_type_is_refused_with_both_types() -> None:
    with pytest.raises(UnreadableMessage, match=r"^message type is 'sms.batch.v1', expected 'sms.outbound.v1'$"):
        read_outbound(BATCH_TYPE, orjson.dumps(OUTBOUND))


@pytest.mark.parametrize("body", [b"", b"hello", b"{", b"\xff\xfe", b'{"row": 1,}'])
def test_a_body_that_is_not_json_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(UnreadableMessage, match=r"^body is not JSON$"):
        read_outbound(OUTBOUND_TYPE, body)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"'])
def test_a_body_that_is_not_an_object_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableMessage, match=r"^body: "):
        read_batch(BATCH_TYPE, body)


@pytest.mark.parametrize("member", ["batch_id", "row", "attempt"])
def test_a_missing_member_is_named(member: str) -> None:
    body = orjson.dumps({name: value for name, value in OUTBOUND.items() if name != member})
    with pytest.raises(UnreadableMessage, match=f"^{member}: Field required$"):
        read_outbound(OUTBOUND_TYPE, body)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("batch_id", "not an id"),
        ("batch_id", BATCH_ID.upper()),
        ("batch_id", BATCH_ID + "\n"),
        ("batch_id", BATCH_ID.replace("-", "")),
        ("row", -1),
        ("row", "seven"),
        ("row", 1.5),
        ("attempt", -1),
        ("lane", "express"),
        ("not_before_ms", "soon"),
    ],
)
def test_a_member_that_cannot_be_is_named(member: str, value: object) -> None:
    with pytest.raises(UnreadableMessage, match=f"^{member}: "):
        read_outbound(OUTBOUND_TYPE, orjson.dumps({**OUTBOUND, member: value}))


def test_what_is_wrong_in_a_batch_is_told_by_its_place_without_what_stands_there() -> None:
    body = orjson.dumps({**BATCH, "recipients": ["13800138000", {"to": "13900139000", "variables": {"name": ["Li"]}}]})
    with pytest.raises(UnreadableMessage) as refused:
        read_batch(BATCH_TYPE, body)
    assert str(refused.value).startswith("recipients/1/")
    assert "Li" not in str(refused.value)
    assert "139001" not in str(refused.value)


def test_a_row_that_no_ledger_can_have_is_refused() -> None:
    with pytest.raises(UnreadableMessage, match=r"^row: "):
        read_outbound(OUTBOUND_TYPE, orjson.dumps({**OUTBOUND, "row": 2**31}))


def test_a_batch_id_that_no_ledger_can_have_is_refused() -> None:
    with pytest.raises(UnreadableMessage, match=r"^batch_id: "):
        read_batch(BATCH_TYPE, orjson.dumps({**BATCH, "batch_id": "x"}))
