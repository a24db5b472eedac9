"""Aliyun: a signed call for many numbers, with one answer for all of them."""

import re
import time
from calendar import timegm
from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest, new
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import orjson
from aiohttp import web

from tools.simulator.behaviour import Behaviour, Plan
from tools.simulator.provider import Message, Provider, spoilt
from tools.simulator.vendors.reading import E164, TOKEN, answer, bare, form, pause_s, reference_of

_ERRORS: Mapping[Behaviour, tuple[int, str, str]] = {
    Behaviour.THROTTLE: (400, "Throttling.User", "Request was denied due to user flow control."),
    Behaviour.INTERNAL_ERROR: (500, "InternalError", "The request processing has failed due to some unknown error."),
    Behaviour.UNAUTHORIZED: (404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."),
    Behaviour.NO_BALANCE: (200, "isv.AMOUNT_NOT_ENOUGH", "账户余额不足"),
    Behaviour.FORBIDDEN: (200, "isp.RAM_PERMISSION_DENY", "RAM权限DENY"),
    Behaviour.REFUSE: (200, "isv.MOBILE_NUMBER_ILLEGAL", "非法手机号"),
    Behaviour.SPOIL: (200, "isv.INVALID_PARAMETERS", "参数异常"),
}
_BARE: Mapping[Behaviour, int] = {Behaviour.UNAVAILABLE: 503, Behaviour.PROXY_REFUSES: 407}
_ABOUT_ALL = (*_ERRORS, *_BARE)

_VERSION = "2017-05-25"
_MOST: Mapping[str, int] = {"SendSms": 1000, "SendBatchSms": 100}
_NEEDED: Mapping[str, Sequence[str]] = {
    "SendSms": ("PhoneNumbers", "SignName", "TemplateCode"),
    "SendBatchSms": ("PhoneNumberJson", "SignNameJson", "TemplateCode"),
}
_TOLERANCE_S = 15 * 60
_SIGNED = frozenset(
    {"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}
)
_AUTHORIZATION = re.compile(r"ACS3-HMAC-SHA256 Credential=([^,]*), ?SignedHeaders=([^,]*), ?Signature=([0-9a-f]{64})")
_MAINLAND = re.compile(r"(?:(?:\+|00)?86)?(1\d{10})")

_Wrong = tuple[int, str, str]


class Aliyun:
    """dysmsapi 2017-05-25, signed with ACS3-HMAC-SHA256.

    Every AccessKey is known whose id begins as theirs do, LTAI.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._nonces: dict[str, float] = {}

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """One BizId for the call, or one code."""
        body = await request.read()
        given = {**dict(parse_qsl(urlsplit(request.raw_path).query, keep_blank_values=True)), **form(body)}
        wrong = _not_let_in(request, body) or self._seen(request) or _not_asked_rightly(request, given)
        if wrong is not None:
            return _answer(*wrong)
        read = _read(request.headers["x-acs-action"], given)
        if not isinstance(read, list):
            return _answer(200, *read)
        plans, message_ids = await self._provider.take(
            read, _ABOUT_ALL, kind="aliyun", words=[given.get("OutId", "")] * len(read), id_of=lambda id_: f"{id_}^0"
        )
        spoilt_all = spoilt(request, plans)
        return _outcome(plans, message_ids) if spoilt_all is None else spoilt_all

    def _seen(self, request: web.Request) -> _Wrong | None:
        nonce, now_s = request.headers["x-acs-signature-nonce"], time.time()
        if nonce in self._nonces:
            return 400, "SignatureNonceUsed", "Specified signature nonce was used already."
        while self._nonces and next(iter(self._nonces.values())) < now_s - 2 * _TOLERANCE_S:
            del self._nonces[next(iter(self._nonces))]
        self._nonces[nonce] = now_s
        return None


def _not_let_in(request: web.Request, body: bytes) -> _Wrong | None:
    found = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if found is None:
        return 400, "MissingAuthorization", "Authorization is mandatory for this action."
    key_id, names, signature = found.groups()
    if not key_id.startswith("LTAI"):
        return _ERRORS[Behaviour.UNAUTHORIZED]
    try:
        at_s = timegm(time.strptime(request.headers.get("x-acs-date", ""), "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return 400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."
    if abs(time.time() - at_s) > _TOLERANCE_S:
        return 400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."
    signed = names.split(";")
    needed = _SIGNED | ({"content-type"} if "Content-Type" in request.headers else set())
    is_ours = (
        needed <= set(signed) <= {name.lower() for name in request.headers}
        and request.headers["x-acs-content-sha256"] == sha256(body).hexdigest()
        and compare_digest(_signature(request, signed), signature)
    )
    return None if is_ours else (400, "SignatureDoesNotMatch", "Specified signature does not match our calculation.")


def _signature(request: web.Request, signed: Sequence[str]) -> str:
    pairs = sorted(parse_qsl(urlsplit(request.raw_path).query, keep_blank_values=True))
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in sorted(signed))
    payload = request.headers["x-acs-content-sha256"]
    canonical = f"{request.method}\n/\n{query}\n{headers}\n{';'.join(sorted(signed))}\n{payload}"
    text = f"ACS3-HMAC-SHA256\n{sha256(canonical.encode()).hexdigest()}"
    return new(TOKEN.encode(), text.encode(), sha256).hexdigest()


def _not_asked_rightly(request: web.Request, given: Mapping[str, str]) -> _Wrong | None:
    action = request.headers["x-acs-action"]
    if request.headers["x-acs-version"] != _VERSION or action not in _NEEDED:
        return 404, "InvalidApi.NotFound", "Specified api is not found, please check your url and method."
    missing = next((name for name in _NEEDED[action] if not given.get(name)), None)
    return None if missing is None else (400, f"Missing{missing}", f"{missing} is mandatory for this action.")


def _read(action: str, given: Mapping[str, str]) -> list[Message] | tuple[str, str]:
    """The messages, or the code for why there are none."""
    code = given["TemplateCode"]
    if code.upper().startswith(("SMS_UNKNOWN", "UNKNOWN")):
        return "isv.SMS_TEMPLATE_ILLEGAL", "该账号下找不到对应模板"
    try:
        numbers, values = _to_all(given) if action == "SendSms" else _to_each(given)
    except orjson.JSONDecodeError:
        return "isv.INVALID_JSON_PARAM", "JSON参数不合法，只接受字符串值"
    except (ValueError, TypeError):
        return "isv.INVALID_PARAMETERS", "参数异常"
    if len(numbers) > _MOST[action]:
        return "isv.MOBILE_COUNT_OVER_LIMIT", "手机号码数量超过限制"
    if not all(_are_texts(each) for each in values):
        return "isv.INVALID_JSON_PARAM", "JSON参数不合法，只接受字符串值"
    known = [_known(number) for number in numbers]
    if not all(known):
        return "isv.MOBILE_NUMBER_ILLEGAL", "非法手机号"
    return [
        Message(reference=reference_of(given.get("OutId"), "aliyun", to), to=to, text=_text(code, each))
        for to, each in zip(known, values, strict=True)
    ]


def _to_all(given: Mapping[str, str]) -> tuple[list[str], list[Any]]:
    numbers = given["PhoneNumbers"].split(",")
    return numbers, [orjson.loads(given.get("TemplateParam") or "{}")] * len(numbers)


def _to_each(given: Mapping[str, str]) -> tuple[list[str], list[Any]]:
    numbers, names = orjson.loads(given["PhoneNumberJson"]), orjson.loads(given["SignNameJson"])
    values = orjson.loads(given["TemplateParamJson"]) if "TemplateParamJson" in given else [{} for _ in numbers]
    if not all(isinstance(each, list) and len(each) == len(numbers) for each in (numbers, names, values)):
        raise ValueError("lists of one length")
    return [str(number) for number in numbers], values


def _are_texts(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(value, str) for value in values.values())


def _known(number: str) -> str:
    """The number with its plus; empty for what is none."""
    if (mainland := _MAINLAND.fullmatch(number)) is not None:
        return f"+86{mainland[1]}"
    return f"+{number}" if E164.fullmatch(f"+{number}") else ""


def _text(code: str, values: Mapping[str, str]) -> str:
    """What the record has for a text."""
    return f"{code} {orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()}"


def _outcome(plans: Sequence[Plan], message_ids: Sequence[str | None]) -> web.Response:
    behaviour = plans[0].behaviour
    if behaviour in _BARE:
        return bare(_BARE[behaviour], pause_s(plans))
    if behaviour in _ERRORS:
        return _answer(*_ERRORS[behaviour])
    return _answer(200, "OK", "OK", BizId=f"{message_ids[0]}^0")


def _answer(status: int, code: str, words: str, **members: str) -> web.Response:
    return answer(
        {"Message": words, "RequestId": "00000000-0000-4000-8000-000000000001", "Code": code, **members}, status
    )
