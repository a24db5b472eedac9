"""Each vendor's texts from handsets; pure."""

from collections.abc import Mapping
from typing import Any

from services.api.receipts.push import (
    CHINA,
    Heard,
    InboundFormat,
    NoChecks,
    NotReceipts,
    Push,
    entries_of,
    id_of,
    iso_ms,
    readable,
    time_ms,
)
from services.api.receipts.vendors import SPACED, AliyunReceipts, TencentReceipts, e164, object_in, vonage_fields
from shared.messages import InboundText

_LONGEST_TEXT = 10_000


class AliyunInbound:
    """`SmsUp` pushes: a JSON array (https://help.aliyun.com/zh/sms/developer-reference/smsup-2)."""

    heard = AliyunReceipts.heard

    def check(self, push: Push) -> Heard | None:
        """As `AliyunReceipts.check`."""
        return self.heard if push.method == "GET" else None

    def read(self, push: Push) -> list[InboundText]:
        """As `InboundFormat.read`."""
        return readable(entries_of(push.json()), self._entry)

    @staticmethod
    def _entry(entry: Mapping[str, Any]) -> InboundText:
        return InboundText(
            sender=_number(e164(entry.get("phone_number"))),
            text=_text(entry.get("content")),
            message_id=id_of(entry.get("sequence_id")),
            at_ms=time_ms(entry.get("send_time"), SPACED, CHINA),
        )


class TencentInbound(NoChecks):
    """One JSON object (https://cloud.tencent.com/document/product/382/43548)."""

    heard = TencentReceipts.heard

    def read(self, push: Push) -> list[InboundText]:
        """As `InboundFormat.read`."""
        entry, at_s = object_in(push.json()), None
        if isinstance(told := entry.get("time"), int | str) and str(told).isascii() and str(told).isdigit():
            at_s = int(str(told)[:10])
        return [
            InboundText(
                sender=_number(e164(entry.get("mobile"), str(entry.get("nationcode") or "86"))),
                text=_text(entry.get("text")),
                at_ms=None if at_s is None else 1000 * at_s,
            )
        ]


class TwilioInbound(NoChecks):
    """A form (https://www.twilio.com/docs/messaging/guides/webhook-request), answered with empty TwiML."""

    heard = Heard(200, b'<?xml version="1.0" encoding="UTF-8"?><Response/>', "text/xml")

    def read(self, push: Push) -> list[InboundText]:
        """As `InboundFormat.read`."""
        fields: Mapping[str, Any] = dict(push.form) if push.is_form else object_in(push.json())
        return [
            InboundText(
                sender=_number(fields.get("From")),
                text=_text(fields.get("Body")),
                message_id=id_of(fields.get("MessageSid")),
            )
        ]


class VonageInbound(NoChecks):
    """The query of a GET, a form or JSON (https://developer.vonage.com/en/messaging/sms/guides/inbound-sms)."""

    heard = Heard(200, b"{}")

    def read(self, push: Push) -> list[InboundText]:
        """As `InboundFormat.read`."""
        fields = vonage_fields(push)
        return [
            InboundText(
                sender=_number(fields.get("msisdn")),
                text=_text(fields.get("text")),
                message_id=id_of(fields.get("messageId")),
                at_ms=time_ms(fields.get("message-timestamp"), SPACED),
            )
        ]


class InfobipInbound(NoChecks):
    """JSON with `results` (https://www.infobip.com/docs/api/channels/sms/inbound)."""

    heard = Heard()

    def read(self, push: Push) -> list[InboundText]:
        """As `InboundFormat.read`."""
        return readable(entries_of(object_in(push.json()).get("results")), self._entry)

    @staticmethod
    def _entry(entry: Mapping[str, Any]) -> InboundText:
        return InboundText(
            sender=_number(entry.get("from")),
            text=_text(entry.get("text")),
            message_id=id_of(entry.get("messageId")),
            at_ms=iso_ms(entry.get("receivedAt")),
        )


class PlainInbound(NoChecks):
    """One object or an array: `{"from", "text", "message_id", "at"}`."""

    heard = Heard(200, b'{"success":true}')

    def read(self, push: Push) -> list[InboundText]:
        """As `InboundFormat.read`."""
        content = push.json()
        return readable(entries_of(content if isinstance(content, list) else [content]), self._entry)

    @staticmethod
    def _entry(entry: Mapping[str, Any]) -> InboundText:
        return InboundText(
            sender=_number(entry.get("from")),
            text=_text(entry.get("text")),
            message_id=id_of(entry.get("message_id")),
            at_ms=iso_ms(entry.get("at")),
        )


def _number(value: object) -> str:
    digits = value.removeprefix("+") if isinstance(value, str) else ""
    if not (digits.isascii() and digits.isdigit() and 7 <= len(digits) <= 15):
        raise NotReceipts("a text without the number that it came from")
    return f"+{digits}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NotReceipts("a text without its words")
    return value.replace("\0", "")[:_LONGEST_TEXT]


INBOUND_FORMATS: Mapping[str, InboundFormat] = {
    "aliyun": AliyunInbound(),
    "tencent": TencentInbound(),
    "twilio": TwilioInbound(),
    "vonage": VonageInbound(),
    "infobip": InfobipInbound(),
    "plain": PlainInbound(),
    "http": PlainInbound(),
}
"""By a provider's type."""
