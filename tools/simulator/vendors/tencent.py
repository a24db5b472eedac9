"""Tencent Cloud: a signed call for many numbers that share template and values, with a status for each."""

import re
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tools.simulator.behaviour import Behaviour, Plan
from tools.simulator.provider import Message, Provider, spoilt
from tools.simulator.vendors.reading import E164, TOKEN, answer, bare, pause_s, reference_of

_OF_A_NUMBER: Mapping[Behaviour, tuple[str, str]] = {
    Behaviour.REFUSE: ("FailedOperation.PhoneNumberInBlacklist", "phone number in blacklist"),
    Behaviour.NO_BALANCE: ("FailedOperation.InsufficientBalanceInSmsPackage", "insufficient balance in SMS package"),
}
_ERRORS: Mapping[Behaviour, tuple[str, str]] = {
    Behaviour.THROTTLE: ("RequestLimitExceeded", "You have exceeded the request limit."),
    Behaviour.INTERNAL_ERROR: ("InternalError.OtherError", "Other error."),
    Behaviour.UNAUTHORIZED: ("AuthFailure.SecretIdNotFound", "The SecretId is not found."),
    Behaviour.FORBIDDEN: ("UnauthorizedOperation.RequestIpNotInWhitelist", "The IP is not in the whitelist."),
    Behaviour.SPOIL: ("InvalidParameterValue.IncorrectPhoneNumber", "incorrect phone number"),
}
_BARE: Mapping[Behaviour, int] = {Behaviour.UNAVAILABLE: 503, Behaviour.PROXY_REFUSES: 407}
_ABOUT_ALL = (*_ERRORS, *_BARE)

_VERSION = "2021-01-11"
_MOST = 200
_TOLERANCE_S = 5 * 60
_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 Credential=([^/]*)/([0-9-]{10})/sms/tc3_request, "
    r"SignedHeaders=([^,]*), Signature=([0-9a-f]{64})"
)
_MAINLAND, _BARE_NUMBER = "+86", re.compile(r"(?:0086|86)?(1\d{10})")

_Wrong = tuple[str, str]


class _SendSms(BaseModel):
    model_config = ConfigDict(strict=True)

    numbers: list[str] = Field(alias="PhoneNumberSet", min_length=1)
    app_id: str = Field(alias="SmsSdkAppId")
    template_id: str = Field(alias="TemplateId")
    sign_name: str = Field(alias="SignName", default="")
    values: list[str] = Field(alias="TemplateParamSet", default=[])
    context: str = Field(alias="SessionContext", default="", max_length=512)


class Tencent:
    """SMS 2021-01-11, signed with TC3-HMAC-SHA256. Every key is known whose id begins as theirs do, AKID, and every
    application whose id does: 14."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """A status for each number, or an error about the call; a 200 in any case."""
        body = await request.read()
        if (wrong := _not_let_in(request, body) or _not_asked_rightly(request)) is not None:
            return _error(*wrong)
        try:
            given = _SendSms.model_validate_json(body)
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            is_missing, name = first["type"] == "missing", first["loc"][0] if first["loc"] else "body"
            return _error("MissingParameter" if is_missing else "InvalidParameter", f"The parameter `{name}` is wrong.")
        numbers = [_known(number) for number in given.numbers]
        if (wrong := _wrong(given, numbers)) is not None:
            return _error(*wrong)
        return await self._send(request, given, numbers)

    async def _send(self, request: web.Request, given: _SendSms, numbers: Sequence[str]) -> web.StreamResponse:
        text = f"{given.template_id} {','.join(given.values)}"
        messages = [
            Message(reference=reference_of(given.context, "tencent", to), to=to, text=text) for to in numbers if to
        ]
        words = [given.context] * len(messages)
        taking = self._provider.take(messages, _ABOUT_ALL, kind="tencent", words=words) if messages else None
        plans, message_ids = ((), ()) if taking is None else await taking
        if (spoilt_all := spoilt(request, plans)) is not None:
            return spoilt_all
        if plans and (whole := plans[0].behaviour) in _ABOUT_ALL:
            return bare(_BARE[whole], pause_s(plans)) if whole in _BARE else _error(*_ERRORS[whole])
        taken = iter(zip(plans, message_ids, strict=True))
        statuses = [
            _status(number, given, *_taken(*next(taken))) if to else _status(number, given, *_NO_NUMBER)
            for number, to in zip(given.numbers, numbers, strict=True)
        ]
        return _answer({"SendStatusSet": statuses})


def _not_let_in(request: web.Request, body: bytes) -> _Wrong | None:
    found = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    timestamp = request.headers.get("X-TC-Timestamp", "")
    if found is None or not timestamp.isdigit():
        return "AuthFailure.SignatureFailure", "The provided credentials could not be validated."
    secret_id, date, names, signature = found.groups()
    if not secret_id.startswith("AKID"):
        return _ERRORS[Behaviour.UNAUTHORIZED]
    if abs(time.time() - int(timestamp)) > _TOLERANCE_S:
        return "AuthFailure.SignatureExpire", "The signature has expired."
    signed = names.split(";")
    is_ours = (
        {"content-type", "host"} <= set(signed) <= {name.lower() for name in request.headers}
        and date == time.strftime("%Y-%m-%d", time.gmtime(int(timestamp)))
        and compare_digest(_signature(request, body, signed, timestamp), signature)
    )
    return None if is_ours else ("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")


def _signature(request: web.Request, body: bytes, signed: Sequence[str], timestamp: str) -> str:
    values = {name: request.headers[name].strip() for name in signed}
    headers = "".join(
        f"{name}:{value if name == 'content-type' else value.lower()}\n" for name, value in sorted(values.items())
    )
    canonical = f"{request.method}\n/\n\n{headers}\n{';'.join(sorted(signed))}\n{sha256(body).hexdigest()}"
    date = time.strftime("%Y-%m-%d", time.gmtime(int(timestamp)))
    text = f"TC3-HMAC-SHA256\n{timestamp}\n{date}/sms/tc3_request\n{sha256(canonical.encode()).hexdigest()}"
    key = digest(f"TC3{TOKEN}".encode(), date.encode(), sha256)
    key = digest(digest(key, b"sms", sha256), b"tc3_request", sha256)
    return digest(key, text.encode(), sha256).hex()


def _not_asked_rightly(request: web.Request) -> _Wrong | None:
    if request.headers["X-TC-Action"] != "SendSms" or request.headers.get("X-TC-Version") != _VERSION:
        return "InvalidAction", "The request's action or version is not valid."
    if not request.headers.get("X-TC-Region"):
        return "MissingParameter", "The request is missing the parameter `X-TC-Region`."
    return None


def _wrong(given: _SendSms, numbers: Sequence[str]) -> _Wrong | None:
    if len(numbers) > _MOST:
        return "LimitExceeded.PhoneNumberCountLimit", "the number of phone numbers exceeds the limit"
    sides = {number.startswith(_MAINLAND) for number in numbers if number}
    if len(sides) > 1:
        code = "UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber"
        return code, "domestic and international phone numbers in one request"
    if not given.app_id.startswith("14"):
        return "InvalidParameterValue.SdkAppIdNotExist", "the SdkAppId does not exist"
    if given.template_id.lower().startswith(("unknown", "sms_unknown")):
        return "FailedOperation.TemplateIncorrectOrUnapproved", "template is not approved or request content is wrong"
    if True in sides and not given.sign_name:
        return "FailedOperation.SignatureIncorrectOrUnapproved", "signature is not approved or wrong"
    return None


def _known(number: str) -> str:
    """The number with its plus; empty for what is none."""
    if (mainland := _BARE_NUMBER.fullmatch(number)) is not None:
        return f"{_MAINLAND}{mainland[1]}"
    return number if E164.fullmatch(number) else ""


_NO_NUMBER = (None, ("InvalidParameterValue.IncorrectPhoneNumber", "incorrect phone number"))


def _taken(plan: Plan, message_id: str | None) -> tuple[str | None, tuple[str, str]]:
    return message_id, ("Ok", "send success") if message_id is not None else _OF_A_NUMBER[plan.behaviour]


def _status(number: str, given: _SendSms, message_id: str | None, said: tuple[str, str]) -> dict[str, Any]:
    code, words = said
    shown = _known(number) or number
    return {
        "SerialNo": message_id or "",
        "PhoneNumber": shown,
        "Fee": 0 if message_id is None else 1,
        "SessionContext": given.context,
        "Code": code,
        "Message": words,
        "IsoCode": "CN" if shown.startswith(_MAINLAND) else "",
    }


def _error(code: str, words: str) -> web.Response:
    return _answer({"Error": {"Code": code, "Message": words}})


def _answer(response: Mapping[str, Any]) -> web.Response:
    return answer({"Response": {**response, "RequestId": "00000000-0000-4000-8000-000000000001"}})
