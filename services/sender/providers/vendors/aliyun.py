"""Alibaba Cloud's SMS (dysmsapi 2017-05-25): `SendSms` where all of a call are filled alike, else `SendBatchSms`; pure.

One answer, and one id, is for all of a call. A repeat of what is unclear may be a second text: no reference of ours is
looked at (its own words).
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from secrets import token_hex
from urllib.parse import urlencode

import orjson

from services.sender.providers.gateway import Results, TextMessage, place_of
from services.sender.providers.vendors.acs3 import authorization, canonical_query, content_hash
from services.sender.providers.vendors.reading import ABOUT_ALL, class_of, read_answer, unexpected
from services.sender.providers.vendors.templates import Templates, with_values
from services.sender.transports import HttpAnswer, HttpRequest
from services.sender.transports.address import Address
from shared.domain.answers import AnswerClass
from shared.domain.outcome import CallResult, Verdict
from shared.domain.receipts import call_reference
from shared.providers import TemplateMapping

ENDPOINT = "https://dysmsapi.aliyuncs.com"
MOST = 100
"""Of SendBatchSms. SendSms takes a thousand, but so many numbers make a URL that is too long for most proxies."""
_VERSION = "2017-05-25"
_OK = "OK"
_MAINLAND = re.compile(r"\+86(1\d{10})")
_NORTH_AMERICA = "+1"

_OF_OUR_TEMPLATE = frozenset(
    {
        "isv.EXTEND_CODE_ERROR",
        "isv.SIGN_STATE_ILLEGAL",
        "isv.SMS_SIGN_ILLEGAL",
        "isv.SMS_SIGNATURE_ILLEGAL",
        "isv.SMS_SIGNATURE_SCENE_ILLEGAL",
        "isv.SMS_TEMPLATE_ILLEGAL",
    }
)
"""About what all of a call have in common."""

CODES: Mapping[str, AnswerClass] = {
    **dict.fromkeys(("isv.MOBILE_NUMBER_ILLEGAL", "isv.CUSTOMER_REFUSED"), AnswerClass.NUMBER),
    **dict.fromkeys(_OF_OUR_TEMPLATE, AnswerClass.CONTENT),
    **dict.fromkeys(
        (
            "isv.MOBILE_COUNT_OVER_LIMIT",
            "isv.DOMESTIC_NUMBER_NOT_SUPPORTED",
            "isv.TEMPLATE_MISSING_PARAMETERS",
            "isv.TEMPLATE_PARAMS_ILLEGAL",
            "isv.INVALID_JSON_PARAM",
            "isv.INVALID_PARAMETERS",
            "isv.PARAM_LENGTH_LIMIT",
            "isv.PARAM_NOT_SUPPORT_URL",
            "isv.BLACK_KEY_CONTROL_LIMIT",
            "isv.SMS_CONTENT_ILLEGAL",
            "InvalidApi",
        ),
        AnswerClass.CONTENT,
    ),
    "Throttling": AnswerClass.THROTTLED,
    "isv.BUSINESS_LIMIT_CONTROL": AnswerClass.THROTTLED_NUMBER,
    **dict.fromkeys(
        (
            "isv.DAY_LIMIT_CONTROL",
            "isv.MONTH_LIMIT_CONTROL",
            "isv.SMS_OVER_LIMIT",
            "isv.DENY_IP_RANGE",
            "isv.OUT_OF_SERVICE",
            "isv.AMOUNT_NOT_ENOUGH",
            "isv.ACCOUNT_NOT_EXISTS",
            "isv.ACCOUNT_ABNORMAL",
            "isv.PRODUCT_UN_SUBSCRIPT",
            "isv.PRODUCT_UNSUBSCRIBE",
            "isp.RAM_PERMISSION_DENY",
            "SignatureDoesNotMatch",
            "InvalidAccessKeyId",
            "InvalidTimeStamp",
        ),
        AnswerClass.ACCOUNT,
    ),
    **dict.fromkeys(
        ("isp.SYSTEM_ERROR", "isp.GATEWAY_ERROR", "InternalError", "ServiceUnavailable", "SignatureNonceUsed"),
        AnswerClass.UNCLEAR,
    ),
}
"""https://help.aliyun.com/document_detail/101346.html and the gateway's own; one without a dot is a family's name too.

`SignatureNonceUsed`: something on the way sent the request twice, and the first came.
"""


def _nonce() -> str:
    return token_hex(16)


class AliyunFormat:
    """`key` is an AccessKey's id and secret, `sign_name` an approved one; ValueError for templates without names."""

    may_need_a_call_each = can_send_any = False

    def __init__(
        self,
        key: tuple[str, str],
        sign_name: str,
        templates: Mapping[int, TemplateMapping],
        endpoint: str = ENDPOINT,
        nonce: Callable[[], str] = _nonce,
    ) -> None:
        self._url, self._host = f"{endpoint.rstrip('/')}/", Address.of(endpoint).url.host_port_subcomponent or ""
        self._key, self._sign_name, self._nonce = key, sign_name, nonce
        self._templates = Templates(templates, dict)

    def share_key(self, message: TextMessage) -> Hashable:
        """As `Format.share_key`: a call has one template, and numbers near each other in one batch, which its receipts
        name."""
        return None if self.unsendable(message) is not None else (self._templates.code(message), place_of(message))

    def unsendable(self, message: TextMessage) -> CallResult | None:
        """As `Format.unsendable`."""
        if message.to.startswith(_NORTH_AMERICA):
            # Numbers go without their plus: this one would be somebody's in mainland China.
            reason = "Aliyun takes a number of +1 for one of mainland China"
            return CallResult(Verdict.REFUSED, "number_not_supported", reason)
        return self._templates.unsendable(message)

    def request(self, messages: Sequence[TextMessage], now: datetime) -> HttpRequest:
        """As `Format.request`."""
        (code,) = {self._templates.code(message) for message in messages}
        common = {"TemplateCode": code or "", "OutId": call_reference([message.reference for message in messages])}
        values = [self._templates.by_name(message) for message in messages]
        numbers = [_number(message) for message in messages]
        if all(each == values[0] for each in values):
            filled = {"TemplateParam": _json(values[0])} if values[0] else {}
            one = {"PhoneNumbers": ",".join(numbers), "SignName": self._sign_name}
            return self._signed("SendSms", {**common, **one, **filled}, b"", now)
        each = {
            "PhoneNumberJson": _json(numbers),
            "SignNameJson": _json([self._sign_name] * len(messages)),
            "TemplateParamJson": _json(values),
        }
        return self._signed("SendBatchSms", common, urlencode(each).encode(), now)

    def results(self, answer: HttpAnswer, messages: Sequence[TextMessage], now: datetime) -> Results:
        """As `Format.results`: one for all."""
        answered = read_answer(answer, messages, now, self._key[1:])
        code, biz_id = answered.content.get("Code"), answered.content.get("BizId")
        if code == _OK and 200 <= answer.status < 300:
            return answered.accepted(biz_id) or unexpected(answer.status, "without a BizId")
        if code == _OK or biz_id:
            return unexpected(answer.status, "that says yes and no")
        answered = replace(answered, messages=with_values(messages))
        return answered.refused(class_of(code, CODES), code, answered.content.get("Message"))

    def may_be_of_one(self, whole: CallResult) -> bool:
        """As `Format.may_be_of_one`: so may a cap of one number put off all."""
        if whole.verdict not in (Verdict.REFUSED, Verdict.PUT_OFF):
            return False
        return whole.status not in ABOUT_ALL and whole.code not in _OF_OUR_TEMPLATE

    def _signed(self, action: str, parameters: Mapping[str, str], body: bytes, now: datetime) -> HttpRequest:
        query = canonical_query(parameters)
        headers = {
            # Of an empty body too: else the transport says one, and what is said has to be signed.
            "content-type": "application/x-www-form-urlencoded",
            "x-acs-action": action,
            "x-acs-content-sha256": content_hash(body),
            "x-acs-date": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "x-acs-signature-nonce": self._nonce(),
            "x-acs-version": _VERSION,
        }
        signature = authorization(*self._key, query, {**headers, "host": self._host}, body)
        shown = {"Accept": "application/json", **headers, "Authorization": signature}
        return HttpRequest("POST", f"{self._url}?{query}", tuple(shown.items()), body)


def _number(message: TextMessage) -> str:
    """Without its plus, and a mobile one of mainland China without its country."""
    mainland = _MAINLAND.fullmatch(message.to)
    return message.to.removeprefix("+") if mainland is None else mainland[1]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
