"""Tencent Cloud's SMS (2021-01-11): `SendSms`, many numbers in a call that share template and values, a status for
each; pure."""

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from services.sender.providers.gateway import Results, TextMessage, place_of
from services.sender.providers.vendors.reading import ABOUT_ALL, Answered, class_of, read_answer, unexpected
from services.sender.providers.vendors.tc3 import authorization
from services.sender.providers.vendors.templates import Templates, with_values
from services.sender.transports import HttpAnswer, HttpRequest
from services.sender.transports.address import Address
from shared.domain.answers import AnswerClass
from shared.domain.outcome import CallResult, Verdict
from shared.domain.receipts import call_reference
from shared.providers import TemplateMapping

ENDPOINT, REGION = "https://sms.tencentcloudapi.com", "ap-guangzhou"
MOST = 200
_ACTION, _VERSION = "SendSms", "2021-01-11"
_KIND = "application/json"
_OK = "Ok"
_MAINLAND = "+86"
_BARE = re.compile(r"1\d{10}")

_OF_ALL = frozenset(
    {
        "FailedOperation.ContainSensitiveWord",
        "FailedOperation.FailResolvePacket",
        "FailedOperation.JsonParseFail",
        "FailedOperation.MarketingSendTimeConstraint",
        "FailedOperation.SignatureIncorrectOrUnapproved",
        "FailedOperation.TemplateIdNotExist",
        "FailedOperation.TemplateIncorrectOrUnapproved",
        "FailedOperation.TemplateParamSetNotMatchApprovedTemplate",
        "FailedOperation.TemplateUnapprovedOrNotExist",
        "InvalidParameter.DirtyWordFound",
        "InvalidParameterValue.ContentLengthLimit",
        "InvalidParameterValue.ProhibitedUseUrlInTemplateParameter",
        "InvalidParameterValue.TemplateParameterFormatError",
        "InvalidParameterValue.TemplateParameterLengthLimit",
        "MissingParameter",
        "UnauthorizedOperation.IndividualUserMarketingSmsPermissionDeny",
    }
)
"""About what all of a call have in common: template, values, signature, the hour."""

CODES: Mapping[str, AnswerClass] = {
    **dict.fromkeys(
        (
            "InvalidParameterValue.IncorrectPhoneNumber",
            "FailedOperation.PhoneNumberParseFail",
            "FailedOperation.PhoneNumberInBlacklist",
        ),
        AnswerClass.NUMBER,
    ),
    **dict.fromkeys(_OF_ALL, AnswerClass.CONTENT),
    **dict.fromkeys(
        (
            "InvalidParameter",
            "InvalidParameterValue",
            "LimitExceeded.AppCountryOrRegionDailyLimit",
            "LimitExceeded.AppCountryOrRegionInBlacklist",
            "LimitExceeded.PhoneNumberCountLimit",
            "UnsupportedOperation.ChineseMainlandTemplateToGlobalPhone",
            "UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber",
            "UnsupportedOperation.GlobalTemplateToChineseMainlandPhone",
            "UnsupportedOperation.UnsupportedRegion",
        ),
        AnswerClass.CONTENT,
    ),
    **dict.fromkeys(("LimitExceeded.GlobalSmsSendingRateLimit", "RequestLimitExceeded"), AnswerClass.THROTTLED),
    **dict.fromkeys(
        (
            "LimitExceeded.DeliveryFrequencyLimit",
            "LimitExceeded.PhoneNumberDailyLimit",
            "LimitExceeded.PhoneNumberOneHourLimit",
            "LimitExceeded.PhoneNumberSameContentDailyLimit",
            "LimitExceeded.PhoneNumberThirtySecondLimit",
        ),
        AnswerClass.THROTTLED_NUMBER,
    ),
    **dict.fromkeys(
        (
            "AuthFailure",
            "FailedOperation.InsufficientBalanceInSmsPackage",
            "InternalError.RequestTimeException",
            "InvalidParameterValue.SdkAppIdNotExist",
            "LimitExceeded.AppDailyLimit",
            "LimitExceeded.AppGlobalDailyLimit",
            "LimitExceeded.AppMainlandChinaDailyLimit",
            "LimitExceeded.DailyLimit",
            "UnauthorizedOperation",
        ),
        AnswerClass.ACCOUNT,
    ),
    "InternalError": AnswerClass.UNCLEAR,
}
"""https://cloud.tencent.com/document/api/382/59177; one without a dot is a family's name too.

`InternalError.RequestTimeException`: our clock is wrong.
"""


class TencentFormat:
    """`sign_name` is the approved signature, without its brackets; ValueError for templates without an order."""

    may_need_a_call_each, can_send_any = True, False
    """A call has one set of values, for all of its numbers."""

    def __init__(
        self,
        key: tuple[str, str],
        app: tuple[str, str],
        templates: Mapping[int, TemplateMapping],
        region: str = REGION,
        endpoint: str = ENDPOINT,
    ) -> None:
        """`key` is a SecretId and its SecretKey, `app` the id of an application and the name it signs with."""
        self._url, self._host = f"{endpoint.rstrip('/')}/", Address.of(endpoint).url.host_port_subcomponent or ""
        self._key, self._app, self._region = key, app, region
        self._templates = Templates(templates, list)

    def share_key(self, message: TextMessage) -> Hashable:
        """As `Format.share_key`: a call has one template, one set of values, is for one side of China's border, and of
        one batch, which its receipts name."""
        if self.unsendable(message) is not None:
            return None
        is_mainland = message.to.startswith(_MAINLAND)
        return self._templates.code(message), self._templates.in_order(message), is_mainland, place_of(message)

    def unsendable(self, message: TextMessage) -> CallResult | None:
        """As `Format.unsendable`."""
        return self._templates.unsendable(message)

    def request(self, messages: Sequence[TextMessage], now: datetime) -> HttpRequest:
        """As `Format.request`."""
        app_id, sign_name = self._app
        # One set of values goes to all: with another's among them, somebody would get what is not for him.
        ((code, values),) = {(self._templates.code(message), self._templates.in_order(message)) for message in messages}
        content = {
            "PhoneNumberSet": [message.to for message in messages],
            "SmsSdkAppId": app_id,
            "SignName": sign_name,
            "TemplateId": code,
            "TemplateParamSet": values,
            "SessionContext": call_reference([message.reference for message in messages]),
        }
        body, timestamp = orjson.dumps(content), int(now.timestamp())
        signed = {"content-type": _KIND, "host": self._host}
        headers = (
            ("Accept", _KIND),
            ("Authorization", authorization(*self._key, signed, body, timestamp)),
            ("Content-Type", _KIND),
            ("X-TC-Action", _ACTION),
            ("X-TC-Region", self._region),
            ("X-TC-Timestamp", str(timestamp)),
            ("X-TC-Version", _VERSION),
        )
        return HttpRequest("POST", self._url, headers, body)

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """As `Format.results`: each message by its number."""
        answered = read_answer(answer, messages, now, self._key[1:])
        response = answered.content.get("Response")
        response = response if isinstance(response, dict) else {}
        error, entries = response.get("Error"), _entries(response)
        if not 200 <= answer.status < 300 or error is not None:
            if any(_says_taken(entry) for entry in entries):
                return unexpected(answer.status, "with accepted messages in it")
            return _refused(answered, error if isinstance(error, dict) else {})
        if not entries:
            return unexpected(answer.status, "without a status for any message")
        return _each(answered, entries)

    def may_be_of_one(self, whole: CallResult) -> bool:
        """As `Format.may_be_of_one`: so may a cap of one number put off all."""
        if whole.verdict not in (Verdict.REFUSED, Verdict.PUT_OFF):
            return False
        return whole.status not in ABOUT_ALL and whole.code not in _OF_ALL


def _entries(response: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    entries = response.get("SendStatusSet")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _says_taken(entry: Mapping[str, Any]) -> bool:
    return entry.get("Code") == _OK or bool(entry.get("SerialNo"))


def _each(answered: Answered, entries: Sequence[Mapping[str, Any]]) -> Results:
    """A result for each message. A number may be there twice: its texts are the same, and which entry is whose does not
    matter where there are as many."""
    asked = Counter(message.to for message in answered.messages)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        found.setdefault(_number(entry.get("PhoneNumber")), []).append(entry)
    own = {number: iter(those) for number, those in found.items() if len(those) == asked[number]}
    return [
        _result(replace(answered, messages=[message]), next(own[message.to]) if message.to in own else {})
        for message in answered.messages
    ]


def _number(value: object) -> str:
    """As ours are; one of mainland China may come without its country."""
    if not isinstance(value, str) or value.startswith("+"):
        return str(value)
    return f"{_MAINLAND}{value}" if _BARE.fullmatch(value) else f"+{value}"


def _result(answered: Answered, entry: Mapping[str, Any]) -> CallResult:
    code, serial = entry.get("Code"), entry.get("SerialNo")
    if code == _OK:
        return answered.accepted(serial) or unexpected(answered.status, "without a SerialNo")
    if serial or not isinstance(code, str):
        return unexpected(answered.status, "without one clear status for this message")
    return _refused(answered, entry)


def _refused(answered: Answered, said: Mapping[str, Any]) -> CallResult:
    code, words = said.get("Code"), said.get("Message")
    answered = replace(answered, messages=with_values(answered.messages))
    return answered.refused(class_of(code, CODES), code, words)
