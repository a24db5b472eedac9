"""Each vendor's receipts; pure. Their documentation is named at each, and what ours makes of it in docs/receipts.md."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from services.api.receipts.push import (
    CHINA,
    Heard,
    NoChecks,
    NotReceipts,
    Push,
    ReceiptFormat,
    code_shown,
    entries_of,
    id_of,
    iso_ms,
    readable,
    time_ms,
    words_shown,
)
from shared.domain.receipts import ReceiptStatus, Reference, digest_of
from shared.messages import WireReceipt

SPACED = "%Y-%m-%d %H:%M:%S"
_NUMBER, _MAINLAND_MOBILE = re.compile(r"(\+|00|)([1-9][0-9]{3,17})"), re.compile(r"1[3-9][0-9]{9}")
_CHINA_CODE = "86"
_DELIVERED, _UNDELIVERED, _UNDER_WAY = ReceiptStatus.DELIVERED, ReceiptStatus.UNDELIVERED, ReceiptStatus.UNDER_WAY


class AliyunReceipts:
    """`SmsReport` pushes: a JSON array, one entry for each number, with the `OutId` of the call that it was in
    (https://help.aliyun.com/zh/sms/developer-reference/configure-delivery-receipts-1)."""

    heard = Heard(200, '{"code":0,"msg":"成功"}'.encode())

    def check(self, push: Push) -> Heard | None:
        """The console calls the URL with GET, and wants an answer within 700 ms."""
        return self.heard if push.method == "GET" else None

    def read(self, push: Push) -> list[WireReceipt]:
        """As `ReceiptFormat.read`."""
        return readable(entries_of(push.json()), self._entry)

    @staticmethod
    def _entry(entry: Mapping[str, Any]) -> WireReceipt:
        success = entry.get("success")
        if not isinstance(success, bool):
            raise NotReceipts("success: true or false")
        reference = Reference.read(entry.get("out_id"))
        number = e164(entry.get("phone_number"))
        return WireReceipt(
            status=_DELIVERED if success else _UNDELIVERED,
            reference=entry["out_id"] if reference is not None else None,
            recipient=_digest(reference, number),
            message_id=id_of(entry.get("biz_id")),
            code=None if success else code_shown(entry.get("err_code")),
            reason=None if success else words_shown(entry.get("err_msg")),
            at_ms=time_ms(entry.get("report_time"), SPACED, CHINA),
        )


class TencentReceipts(NoChecks):
    """A JSON array of up to a hundred (https://cloud.tencent.com/document/product/382/59178). `ext` is our
    `SessionContext`, for accounts that have it enabled; `sid` is every account's."""

    heard = Heard(200, b'{"result":0,"errmsg":"OK"}')
    _STATUSES: ClassVar = {"SUCCESS": _DELIVERED, "FAIL": _UNDELIVERED}

    def read(self, push: Push) -> list[WireReceipt]:
        """As `ReceiptFormat.read`."""
        return readable(entries_of(push.json()), self._entry)

    def _entry(self, entry: Mapping[str, Any]) -> WireReceipt:
        status = self._STATUSES.get(str(entry.get("report_status")))
        if status is None:
            raise NotReceipts("report_status: SUCCESS or FAIL")
        failed = status is _UNDELIVERED
        reference = Reference.read(entry.get("ext"))
        number = e164(entry.get("mobile"), str(entry.get("nationcode") or _CHINA_CODE))
        return WireReceipt(
            status=status,
            reference=entry["ext"] if reference is not None else None,
            recipient=_digest(reference, number),
            message_id=id_of(entry.get("sid")),
            code=code_shown(entry.get("errmsg")) if failed else None,
            reason=words_shown(entry.get("description")) if failed else None,
            at_ms=time_ms(entry.get("user_receive_time"), SPACED, CHINA),
        )


class TwilioReceipts(NoChecks):
    """A form (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status); our reference is in the
    query of the URL that we gave with the message."""

    heard = Heard()
    _STATUSES: ClassVar = {
        "delivered": _DELIVERED,
        "undelivered": _UNDELIVERED,
        "failed": _UNDELIVERED,
        "canceled": _UNDELIVERED,
        "read": _DELIVERED,
    }

    def read(self, push: Push) -> list[WireReceipt]:
        """As `ReceiptFormat.read`: any other status is one on the way."""
        fields: Mapping[str, Any] = dict(push.form) if push.is_form else object_in(push.json())
        status = self._STATUSES.get(str(fields.get("MessageStatus") or fields.get("SmsStatus")), _UNDER_WAY)
        failed = status is _UNDELIVERED
        return [
            WireReceipt(
                status=status,
                reference=_reference(dict(push.query).get("reference")),
                message_id=id_of(fields.get("MessageSid")),
                code=code_shown(fields.get("ErrorCode")) if failed else None,
                reason=words_shown(fields.get("ErrorMessage")) if failed else None,
            )
        ]


class VonageReceipts(NoChecks):
    """The query of a GET, a form or JSON, as the account has it, one for each part of a text
    (https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts)."""

    heard = Heard(200, b"{}")
    _STATUSES: ClassVar = {
        "delivered": _DELIVERED,
        "expired": _UNDELIVERED,
        "failed": _UNDELIVERED,
        "rejected": _UNDELIVERED,
    }

    def read(self, push: Push) -> list[WireReceipt]:
        """As `ReceiptFormat.read`: `unknown` is not the last word."""
        fields = vonage_fields(push)
        if "status" not in fields:
            raise NotReceipts("there is no status")
        status = self._STATUSES.get(fields["status"].lower(), _UNDER_WAY)
        failed = status is _UNDELIVERED
        return [
            WireReceipt(
                status=status,
                reference=_reference(fields.get("client-ref")),
                message_id=id_of(fields.get("messageId")),
                code=code_shown(fields.get("err-code")) if failed else None,
                reason=words_shown(fields["status"]) if failed else None,
                at_ms=time_ms(fields.get("message-timestamp"), SPACED),
                is_of_a_part=True,
            )
        ]


class InfobipReceipts(NoChecks):
    """JSON with `results` (https://www.infobip.com/docs/api/channels/sms). `DELIVERED_TO_OPERATOR` is not the handset
    yet, though its group is DELIVERED."""

    heard = Heard()
    _TO_OPERATOR = 2
    _GROUPS: ClassVar = {2: _UNDELIVERED, 3: _DELIVERED, 4: _UNDELIVERED, 5: _UNDELIVERED}
    _EXPIRED_UNKNOWN = 29

    def read(self, push: Push) -> list[WireReceipt]:
        """As `ReceiptFormat.read`."""
        return readable(entries_of(object_in(push.json()).get("results")), self._entry)

    def _entry(self, entry: Mapping[str, Any]) -> WireReceipt:
        told, error = object_in(entry.get("status")), entry.get("error")
        group, number = told.get("groupId"), told.get("id")
        status = self._GROUPS.get(group, _UNDER_WAY) if isinstance(group, int) else _UNDER_WAY
        if number in (self._TO_OPERATOR, self._EXPIRED_UNKNOWN):
            status = _UNDER_WAY
        failed = status is _UNDELIVERED
        cause = error if isinstance(error, dict) and error.get("id") else told
        return WireReceipt(
            status=status,
            reference=_reference(entry.get("messageId")),
            message_id=id_of(entry.get("messageId")),
            code=code_shown(cause.get("name") or cause.get("id")) if failed else None,
            reason=words_shown(cause.get("description")) if failed else None,
            at_ms=iso_ms(entry.get("doneAt")),
        )


class PlainReceipts(NoChecks):
    """Of a provider that speaks the plain format, and for a gateway of type `http` behind an adapter: one object or an
    array, `{"reference" or "message_id", "status": "delivered" | "undelivered" | …, "code", "message", "at"}`."""

    heard = Heard(200, b'{"success":true}')
    _STATUSES: ClassVar = {"delivered": _DELIVERED, "undelivered": _UNDELIVERED}

    def read(self, push: Push) -> list[WireReceipt]:
        """As `ReceiptFormat.read`."""
        content = push.json()
        return readable(entries_of(content if isinstance(content, list) else [content]), self._entry)

    def _entry(self, entry: Mapping[str, Any]) -> WireReceipt:
        told, reference, message_id = entry.get("status"), entry.get("reference"), id_of(entry.get("message_id"))
        if not isinstance(told, str):
            raise NotReceipts("status: delivered, undelivered, or one on the way")
        if _reference(reference) is None and message_id is None:
            raise NotReceipts("a receipt needs the message's reference, or the message_id that was answered")
        status = self._STATUSES.get(told.lower(), _UNDER_WAY)
        failed = status is _UNDELIVERED
        return WireReceipt(
            status=status,
            reference=_reference(reference),
            message_id=message_id,
            code=code_shown(entry.get("code")) if failed else None,
            reason=words_shown(entry.get("message")) if failed else None,
            at_ms=iso_ms(entry.get("at")),
        )


def vonage_fields(push: Push) -> dict[str, str]:
    """The parameters of a call by Vonage, wherever they are; NotReceipts for what has none."""
    if push.method == "GET":
        return dict(push.query)
    if push.is_form:
        return dict(push.form)
    return {name: str(value) for name, value in object_in(push.json()).items() if isinstance(value, str | int | float)}


def object_in(content: object) -> Mapping[str, Any]:
    """A JSON object; NotReceipts for anything else."""
    if not isinstance(content, dict):
        raise NotReceipts("there is no object where one belongs")
    return content


def _reference(text: object) -> str | None:
    return text if isinstance(text, str) and Reference.read(text) is not None else None


def e164(number: object, country: str | None = None) -> str | None:
    """As ours are. `country` is the code of a number that comes without it; where that is not told, only a mobile
    number of mainland China does. None for what is no number."""
    found = _NUMBER.fullmatch(str(number).strip())
    if found is None:
        return None
    prefix, digits = found.groups()
    if not prefix and _MAINLAND_MOBILE.fullmatch(digits):
        country = country or _CHINA_CODE
    is_whole = prefix or country is None or (country == _CHINA_CODE and digits.startswith(_CHINA_CODE))
    return f"+{digits}" if is_whole else f"+{country}{digits}"


def _digest(reference: Reference | None, number: str | None) -> str | None:
    return None if reference is None or number is None else digest_of(reference.batch_id, number)


FORMATS: Mapping[str, ReceiptFormat] = {
    "aliyun": AliyunReceipts(),
    "tencent": TencentReceipts(),
    "twilio": TwilioReceipts(),
    "vonage": VonageReceipts(),
    "infobip": InfobipReceipts(),
    "plain": PlainReceipts(),
    "http": PlainReceipts(),
}
"""By a provider's type."""
