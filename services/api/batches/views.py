"""Batches and numbers as the HTTP contract shows them."""

from collections.abc import Mapping
from typing import Any

from services.api.intake.idempotency import Acceptance
from shared import statuses
from shared.domain.message import message_id
from shared.domain.phone import mask
from shared.domain.states import BatchState, State
from shared.domain.times import rfc3339
from shared.ledger.attempts import Attempt
from shared.ledger.dead_letters import FailedGroup, FailedNumber
from shared.ledger.provider_gates import Held
from shared.ledger.reading import BatchView, MessageView
from shared.ledger.receipts import KeptReceipt

Shown = dict[str, Any]
"""A JSON object to be answered."""


def batch_shown(view: BatchView) -> Shown:
    """A batch that is in the ledger."""
    return {
        "batch_id": view.batch_id,
        "status": view.status,
        "recipients": view.recipients,
        "counts": view.counts,
        "receipts": receipts_counted(view.counts),
        **view.options,
        "template_id": view.template_id,
        "created_at": rfc3339(view.accepted_at_ms),
        "send_at": time_shown(view.send_at_ms),
        "expires_at": time_shown(view.expires_at_ms),
        "finished_at": time_shown(view.finished_at_ms),
        "error_code": view.error_code,
        "error_reason": view.error_reason,
        "resend_of": view.resend_of,
        "paused_by": view.paused_by,
        "paused_reason": view.paused_reason,
        "links": links(view.batch_id),
    }


def dated(shown: Shown, as_of_ms: int) -> Shown:
    """A batch, with the time at which it stood so."""
    return {**shown, "as_of": rfc3339(as_of_ms)}


def accepted_shown(batch_id: str, acceptance: Acceptance | None) -> Shown:
    """A batch whose 202 was given, or may have been, and that is not in the ledger yet."""
    recipients = None if acceptance is None else acceptance.recipients
    return {
        "batch_id": batch_id,
        "status": BatchState.ACCEPTED.value,
        "recipients": recipients,
        "counts": {} if recipients is None else {"pending": recipients},
        "created_at": None if acceptance is None else rfc3339(acceptance.accepted_at_ms),
        "finished_at": None,
        "links": links(batch_id),
    }


def message_shown(view: MessageView) -> Shown:
    """A number, masked."""
    return {
        "row": view.row,
        "recipient": mask(view.recipient),
        "state": view.state,
        "attempts": view.attempts,
        "segments": view.segments,
        "error_code": view.error_code,
        "error_reason": view.error_reason,
        "provider": view.provider,
        "provider_message_id": view.provider_message_id,
        "resent_in": view.resent_in,
        "receipt_at": time_shown(view.receipt_at_ms),
        "updated_at": rfc3339(view.updated_at_ms),
    }


def failed_shown(number: FailedNumber) -> Shown:
    """A failed number, masked."""
    return {
        "message_id": message_id(number.batch_id, number.row),
        "batch_id": number.batch_id,
        "row": number.row,
        "recipient": mask(number.recipient),
        "error_code": number.error_code,
        "error_reason": number.error_reason,
        "provider": number.provider,
        "provider_status": number.provider_status,
        "attempts": number.attempts,
        "first_at": time_shown(number.first_at_ms),
        "failed_at": rfc3339(number.failed_at_ms),
    }


def failed_group_shown(group: FailedGroup) -> Shown:
    """The failed numbers with one code from one provider."""
    return {
        "error_code": group.error_code,
        "provider": group.provider,
        "numbers": group.numbers,
        "batches": group.batches,
        "oldest": rfc3339(group.oldest_at_ms),
        "newest": rfc3339(group.newest_at_ms),
    }


def attempt_shown(attempt: Attempt) -> Shown:
    """One attempt of a number."""
    return {
        "attempt": attempt.attempt,
        "begun_at": time_shown(attempt.begun_at_ms),
        "ended_at": time_shown(attempt.ended_at_ms),
        "provider": attempt.provider,
        "sender": attempt.sender,
        "state": attempt.state,
        "error_code": attempt.error_code,
        "error_reason": attempt.error_reason,
        "provider_status": attempt.provider_status,
    }


def receipts_counted(counts: Mapping[str, int]) -> dict[str, int]:
    """Of how many texts a provider may tell what became of them, and of how many it has."""
    told = counts.get(State.DELIVERED, 0) + counts.get(State.UNDELIVERED, 0)
    return {"expected": counts.get(State.SENT, 0) + told, "received": told}


def receipt_shown(receipt: KeptReceipt) -> Shown:
    """A receipt of a number's history."""
    return {
        "status": receipt.status,
        "provider": receipt.provider,
        "provider_message_id": receipt.message_id or None,
        "error_code": receipt.error_code,
        "error_reason": receipt.error_reason,
        "at": time_shown(receipt.at_ms),
        "received_at": rfc3339(receipt.received_at_ms),
    }


def held_shown(held: Held) -> Shown:
    """A provider that nobody calls for now."""
    return {
        "provider": held.provider,
        "cause": held.cause,
        "until": time_shown(held.until_ms),
        "error_code": held.code,
        "error_reason": held.reason,
        "provider_status": held.status,
    }


def is_final(batch: Shown) -> bool:
    """Whether a batch's counts change no more by themselves."""
    return statuses.is_final(batch["status"], batch["counts"])


def links(batch_id: str) -> dict[str, str]:
    """Where a batch, its numbers and its events are."""
    place = f"/v1/batches/{batch_id}"
    return {"self": place, "messages": f"{place}/messages", "events": f"{place}/events"}


def time_shown(time_ms: int | None) -> str | None:
    """A time, where there is one."""
    return None if time_ms is None else rfc3339(time_ms)
