"""The schemas of the OpenAPI document: the request's from its pydantic models, the answers' written down."""

from typing import Any

from services.api.dead_letters.requests import DiscardRequest, ReplayRequest
from services.api.intake.requests import BatchRequest, ProviderTestRequest, ResendRequest
from services.api.suppressions.requests import AddRequest, RemoveRequest
from shared.domain.options import BatchOptions
from shared.domain.receipts import ReceiptStatus
from shared.domain.states import BatchState, State
from shared.ledger.provider_gates import Cause
from shared.ledger.suppressions import Source
from shared.topology import Lane

Schema = dict[str, Any]

_REF = "#/components/schemas/{model}"
TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
_COUNTS: Schema = {"type": "object", "propertyNames": {"enum": list(State)}, "additionalProperties": _COUNT}


def schemas(max_recipients: int) -> Schema:
    """Every schema that the document refers to, by name."""
    request = BatchRequest.model_json_schema(ref_template=_REF)
    definitions: Schema = request.pop("$defs")
    request["properties"]["recipients"]["maxItems"] = max_recipients
    recipient = {"type": ["string", "integer"]}
    send_sms = {
        "mobiles": {"anyOf": [TEXT, {"type": "array", "items": recipient, "minItems": 1}]},
        "content": _TEXT_OR_NULL,
        "template_id": {"type": ["string", "integer", "null"]},
    }
    return {
        **definitions,
        "BatchRequest": request,
        "ResendRequest": ResendRequest.model_json_schema(ref_template=_REF),
        "ProviderTestRequest": ProviderTestRequest.model_json_schema(ref_template=_REF),
        "SendSms": _object(send_sms, "mobiles") | {"additionalProperties": False},
        "Accepted": _accepted_schema(),
        "Batch": _batch_schema(),
        "BatchList": _list_schema("batches", "Batch"),
        "Message": _message_schema(),
        "MessageList": _list_schema("messages", "Message"),
        "ReplayRequest": ReplayRequest.model_json_schema(ref_template=_REF),
        "DiscardRequest": DiscardRequest.model_json_schema(ref_template=_REF),
        "SuppressRequest": AddRequest.model_json_schema(ref_template=_REF),
        "UnsuppressRequest": RemoveRequest.model_json_schema(ref_template=_REF),
        "Handled": _handled_schema(),
        "DeadLetter": _dead_letter_schema(),
        "DeadLetterList": _list_schema("dead_letters", "DeadLetter"),
        "DeadLetterGroup": _group_schema(),
        "DeadLetterGroups": _object({"groups": _list_of("DeadLetterGroup")}, "groups"),
        "Attempt": _attempt_schema(),
        "AttemptList": _object(
            {"attempts": _list_of("Attempt"), "receipts": _list_of("Receipt")}, "attempts", "receipts"
        ),
        "Receipt": _receipt_schema(),
        "Suppression": _suppression_schema(),
        "SuppressionList": _list_schema("suppressions", "Suppression"),
        "Suppressed": _object({"added": _COUNT, "known": _COUNT}, "added", "known"),
        "Unsuppressed": _object({"removed": _COUNT}, "removed"),
        "Held": _held_schema(),
        "OneProvider": _provider_schema(),
        "ProviderList": _object({"providers": _list_of("OneProvider")}, "providers"),
        "Provider": _object({"held": _list_of("Held")}, "held"),
        "Links": _object({"self": TEXT, "messages": TEXT, "events": TEXT}, "self", "messages", "events"),
        "Problem": _problem_schema(),
    }


def _accepted_schema() -> Schema:
    members = {
        "success": {"const": True},
        "message": TEXT,
        "batch_id": {"type": "string", "format": "uuid"},
        "status": {"const": BatchState.ACCEPTED.value},
        "recipients": _COUNT,
        "links": schema("Links"),
    }
    resend_of = {"type": "string", "format": "uuid", "description": "Of a resend: the batch whose numbers it has"}
    return _object({**members, "resend_of": resend_of}, *members)


def _batch_schema() -> Schema:
    declared: Schema = BatchOptions.model_json_schema(ref_template=_REF)["properties"]
    # Of an answer: what is not told has no default.
    options = {name: {key: value for key, value in each.items() if key != "default"} for name, each in declared.items()}
    members = {
        "batch_id": {"type": "string", "format": "uuid"},
        "status": {"type": "string", "enum": list(BatchState)},
        "recipients": {"type": ["integer", "null"], "minimum": 0},
        "counts": _COUNTS,
        "receipts": {
            **_object({"expected": _COUNT, "received": _COUNT}, "expected", "received"),
            "description": "Of how many texts a provider may tell what became of them, and of how many it has",
        },
        **options,
        "template_id": {"type": ["integer", "null"]},
        "created_at": _TIME_OR_NULL,
        "send_at": _TIME_OR_NULL,
        "expires_at": _TIME_OR_NULL,
        "finished_at": _TIME_OR_NULL,
        "error_code": _TEXT_OR_NULL,
        "error_reason": _TEXT_OR_NULL,
        "as_of": {
            "type": "string",
            "format": "date-time",
            "description": "Of a batch that is asked for by id: when it stood so",
        },
        "resend_of": {
            **_TEXT_OR_NULL,
            "description": "The batch whose failed, expired or undelivered numbers these are",
        },
        "paused_by": {
            "type": ["string", "null"],
            "enum": ["operator", "fuse", None],
            "description": "`fuse`: it paused itself, since its messages were refused one after another",
        },
        "paused_reason": _TEXT_OR_NULL,
        "links": schema("Links"),
    }
    return _object(members, "batch_id", "status", "recipients", "counts", "created_at", "finished_at", "links")


def _message_schema() -> Schema:
    members = {
        "row": _COUNT,
        "recipient": {"type": "string", "description": "Masked: +86138****8000"},
        "state": {"type": "string", "enum": list(State)},
        "attempts": _COUNT,
        "segments": {"type": ["integer", "null"]},
        "error_code": _TEXT_OR_NULL,
        "error_reason": _TEXT_OR_NULL,
        "provider": {"type": "string", "description": "At which it was tried last, or else the batch's"},
        "provider_message_id": _TEXT_OR_NULL,
        "resent_in": {**_TEXT_OR_NULL, "description": "The batch in which it is sent again; in this one it never is"},
        "receipt_at": {**_TIME_OR_NULL, "description": "When it was delivered or not, as its receipt has it"},
        "updated_at": {"type": "string", "format": "date-time"},
    }
    return _object(members, *members)


def _receipt_schema() -> Schema:
    members = {
        "status": {"type": "string", "enum": list(ReceiptStatus)},
        "provider": TEXT,
        "provider_message_id": {**_TEXT_OR_NULL, "description": "Each part of a long text has its own"},
        "error_code": _TEXT_OR_NULL,
        "error_reason": _TEXT_OR_NULL,
        "at": _TIME_OR_NULL,
        "received_at": {"type": "string", "format": "date-time"},
    }
    return _object(members, *members)


def _suppression_schema() -> Schema:
    members = {
        "recipient": {"type": "string", "description": "Masked: +86138****8000"},
        "sender_name": {"type": "string", "description": "Of whose texts; empty: of all"},
        "source": {"type": "string", "enum": list(Source)},
        "reason": _TEXT_OR_NULL,
        "added_at": {"type": "string", "format": "date-time"},
    }
    return _object(members, *members)


def _handled_schema() -> Schema:
    by_reason: Schema = {"type": "object", "additionalProperties": _COUNT}
    members = {
        "dry_run": {"type": "boolean"},
        "done": {**_COUNT, "description": "Sent again or thrown away; with dry_run, how many would be"},
        "removed": {**by_reason, "description": "Stale letters that were taken out, by reason"},
        "left": {**by_reason, "description": "Letters that cannot be sent again, by reason"},
        "more": {"type": "boolean", "description": "The limit was reached: there may be more"},
    }
    return _object(members, *members)


def _dead_letter_schema() -> Schema:
    members = {
        "message_id": {"type": "string", "description": "`<batch_id>:<row>`, as the letter has it"},
        "batch_id": {"type": "string", "format": "uuid"},
        "row": _COUNT,
        "recipient": {"type": "string", "description": "Masked: +86138****8000"},
        "error_code": _TEXT_OR_NULL,
        "error_reason": _TEXT_OR_NULL,
        "provider": TEXT,
        "provider_status": {"type": ["integer", "null"]},
        "attempts": _COUNT,
        "first_at": _TIME_OR_NULL,
        "failed_at": {"type": "string", "format": "date-time"},
    }
    return _object(members, *members)


def _group_schema() -> Schema:
    time: Schema = {"type": "string", "format": "date-time"}
    members = {
        "error_code": _TEXT_OR_NULL,
        "provider": TEXT,
        "numbers": _COUNT,
        "batches": _COUNT,
        "oldest": time,
        "newest": time,
    }
    return _object(members, *members)


def _attempt_schema() -> Schema:
    members = {
        "attempt": _COUNT,
        "begun_at": _TIME_OR_NULL,
        "ended_at": _TIME_OR_NULL,
        "provider": TEXT,
        "sender": _TEXT_OR_NULL,
        "state": {"type": "string", "enum": list(State), "description": "The number's after it"},
        "error_code": _TEXT_OR_NULL,
        "error_reason": _TEXT_OR_NULL,
        "provider_status": {"type": ["integer", "null"]},
    }
    return _object(members, *members)


def _held_schema() -> Schema:
    causes = (
        "`account`: it does not serve our account; `asked`: it asked for a pause; `daily`: its limit of the day is "
        "used up; `paused`: by an operator; "
        "`untold`: of an earlier version"
    )
    members = {
        "provider": TEXT,
        "cause": {"type": "string", "enum": list(Cause), "description": causes},
        "until": {**_TIME_OR_NULL, "description": "When it is called again, to see; null for no end"},
        "error_code": _TEXT_OR_NULL,
        "error_reason": _TEXT_OR_NULL,
        "provider_status": {"type": ["integer", "null"]},
    }
    return _object(members, *members)


def _provider_schema() -> Schema:
    causes = [*(cause.value for cause in Cause), "unreachable", None]
    members = {
        "name": TEXT,
        "type": TEXT,
        "state": {"type": "string", "enum": ["open", "paused", "held"]},
        "cause": {"type": ["string", "null"], "enum": causes},
        "error_code": _TEXT_OR_NULL,
        "error_reason": _TEXT_OR_NULL,
        "since": {**_TIME_OR_NULL, "description": "When an operator paused it"},
        "until": {**_TIME_OR_NULL, "description": "When it is called again, to see; null for no end"},
        "rate": {"type": ["number", "null"], "description": "Per second; null where the file has none"},
        "rate_per": {"type": "string", "enum": ["calls", "messages", "segments"]},
        "pace": {"type": "number", "description": "The share of its rate used now: less for a while after 429s"},
        "daily": {"type": ["integer", "null"], "description": "Messages or segments in a day"},
        "weight": _COUNT,
        "lanes": {"type": "array", "items": {"type": "string", "enum": list(Lane)}},
        "prefixes": {"type": "array", "items": TEXT},
        "senders": {**_COUNT, "description": "That serve it, as heard of in the last 15 seconds"},
        "in_flight": {**_COUNT, "description": "Calls under way"},
        "sent_last_minute": _COUNT,
        "failed_last_minute": _COUNT,
    }
    return _object(members, *members)


def _problem_schema() -> Schema:
    flaw = _object({"pointer": TEXT, "detail": TEXT}, "pointer", "detail")
    members = {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "errors": {"type": "array", "items": flaw},
    }
    return _object(members, *members)


def _list_schema(name: str, item: str) -> Schema:
    members = {name: _list_of(item), "next_cursor": _TEXT_OR_NULL}
    return _object(members, *members)


def _list_of(item: str) -> Schema:
    return {"type": "array", "items": schema(item)}


def _object(members: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": members, "required": list(required)}


def schema(model: str) -> Schema:
    """A reference to the schema of that name."""
    return {"$ref": _REF.format(model=model)}
