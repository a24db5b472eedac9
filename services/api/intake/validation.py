"""From a request's bytes to the batch message's: pure, and for large bodies run outside the event loop."""

import codecs
import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import ValidationError

from services.api.intake.forms import members_of_form, members_of_json, members_of_multipart
from services.api.intake.requests import (
    MAX_FLAWS,
    BatchRequest,
    ProviderTestRequest,
    epoch_ms,
    flaws,
    flaws_of_batch,
    unknown_members,
)
from services.api.serving.problems import Flaw, Problem, invalid, malformed
from shared.domain.routing import ANY_PROVIDER
from shared.topology import Lane

MAX_MESSAGE_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""RabbitMQ 4 refuses a message of more than 16 MiB; a little of it is left for what this process does not count."""
_CHANGING_NUMBER = re.compile(rb"[\[:,]\s*-?[0-9]+(?:[.eE]|(?<=[0-9]{16}))")
_LONGEST_INTEGER = 18
_VALUES_PER_RECIPIENT, _VALUES_AT_LEAST = 16, 10_000
_TEST_REFERENCE = "provider test"


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of body: how the members of a BatchRequest are read from it, and what it calls the recipients."""

    read: Callable[[bytes, int], Any]
    recipients: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid batch, ready to be published under any id."""

    fingerprint: str
    recipients: int
    send_at_ms: int | None
    expires_at_ms: int | None
    meaning: bytes

    def message(self, batch_id: str, accepted_at_ms: int) -> bytes:
        """The body of its `sms.batch.v1` message."""
        head = {"batch_id": batch_id, "fingerprint": self.fingerprint, "accepted_at_ms": accepted_at_ms}
        # Two objects joined to one: the large one is serialised once, for the digest and for the message.
        return orjson.dumps(head)[:-1] + b"," + self.meaning[1:]


def prepare(body: bytes, source: Source, max_recipients: int, providers: Collection[str] = (ANY_PROVIDER,)) -> Prepared:
    """Check a body's shape; Problem where something in it is wrong. `providers` are those that it may name."""
    members = source.read(body, max_recipients)
    if isinstance(members, dict) and _too_many(members.get("recipients"), max_recipients):
        raise invalid(Flaw(f"/{source.recipients}", f"More than {max_recipients} recipients"))
    unknown = unknown_members(members) if isinstance(members, dict) else []
    known = {name: members[name] for name in BatchRequest.model_fields if name in members} if unknown else members
    try:
        request = BatchRequest.model_validate(known)
    except ValidationError as error:
        raise invalid(*[*unknown, *flaws_of_batch(error, known, source.recipients)][:MAX_FLAWS]) from None
    if unknown:
        raise invalid(*unknown)
    if request.provider not in (ANY_PROVIDER, *providers):
        raise invalid(Flaw("/provider", f"There is no such provider; there is {', '.join(providers)}"))
    meaning = orjson.dumps(_meaning(request), option=orjson.OPT_SORT_KEYS)
    if len(meaning) > MAX_MESSAGE_BYTES:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The batch takes more than {MAX_MESSAGE_BYTES} bytes")
    schedule = epoch_ms(request.send_at), epoch_ms(request.expires_at)
    return Prepared(fingerprint_of(meaning), len(request.recipients), *schedule, meaning)


def fingerprint_of(meaning: bytes) -> str:
    """A digest of what a request means, by which a repeated one is told from another one."""
    return hashlib.blake2b(meaning, digest_size=16).hexdigest()


def read_json(body: bytes) -> Any:
    """What a body says in JSON; Problem where it is not any. A BOM before it is passed over.

    A number with a fraction, an exponent or more digits than 15 is read as it is written: 19.90 is a price, and another
    parser would make 19.9 of it.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        members = orjson.loads(body)
        if _CHANGING_NUMBER.search(body):
            return json.loads(body, parse_float=str, parse_int=_integer)
        return members
    except (orjson.JSONDecodeError, RecursionError):
        raise malformed("The body is not JSON in UTF-8, or is nested too deeply") from None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def _json(body: bytes, max_recipients: int) -> Any:
    # Small values take many times their bytes once they are read: a megabyte of "[]," is twenty of lists.
    most = _VALUES_AT_LEAST + _VALUES_PER_RECIPIENT * max_recipients
    if body.count(b"[") + body.count(b"{") > most:
        raise malformed("The body holds more arrays and objects than a batch has")
    if body.count(b",") > most:
        raise invalid(Flaw("/recipients", f"More values than {max_recipients} recipients take"))
    return read_json(body)


def _json_like_form(body: bytes, max_recipients: int) -> Any:
    return members_of_json(_json(body, max_recipients), max_recipients)


JSON = Source(_json, "recipients")
JSON_LIKE_FORM = Source(_json_like_form, "mobiles")


def urlencoded_form(charset: str | None) -> Source:
    """A form as browsers and jQuery send it, in the charset of its Content-Type where that names one."""
    return Source(partial(members_of_form, charset=charset), "mobiles")


def multipart_form(boundary: bytes, charset: str | None) -> Source:
    """A form as `fetch` sends a FormData, or a browser one with a file field."""
    return Source(partial(members_of_multipart, boundary=boundary, charset=charset), "mobiles")


def provider_test(provider: str, lane: Lane) -> Source:
    """One text that goes by this provider, in JSON."""
    return Source(partial(_members_of_test, provider=provider, lane=lane), "to")


def _members_of_test(body: bytes, max_recipients: int, provider: str, lane: Lane) -> dict[str, Any]:
    try:
        test = ProviderTestRequest.model_validate(_json(body, max_recipients))
    except ValidationError as error:
        raise invalid(*flaws(error, "recipients")) from None
    text = test.model_dump(exclude={"to"})
    return {"recipients": [test.to], **text, "provider": provider, "lane": lane, "reference": _TEST_REFERENCE}


def _too_many(recipients: Any, max_recipients: int) -> bool:
    return isinstance(recipients, list) and len(recipients) > max_recipients


def _meaning(request: BatchRequest) -> dict[str, Any]:
    """What the batch message says beside its id and its time, with what is not given left out."""
    meaning = {
        "recipients": [_wire_recipient(recipient) for recipient in request.recipients],
        "content": request.content,
        "template_id": request.template_id,
        "variables": request.variables or None,
        **request.options,
        "send_at_ms": epoch_ms(request.send_at),
        "expires_at_ms": epoch_ms(request.expires_at),
    }
    return {name: value for name, value in meaning.items() if value is not None and value != []}


def _wire_recipient(recipient: Any) -> Any:
    if isinstance(recipient, str):
        return recipient
    return recipient if "variables" in recipient else recipient["to"]
