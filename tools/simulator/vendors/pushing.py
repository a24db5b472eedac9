"""How each vendor pushes receipts, signed as theirs are where they sign; pure."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

import orjson

from shared.signatures import TwilioSigning, VonageSigning
from tools.simulator.receipts import PushForm, Receipt, Text
from tools.simulator.vendors.reading import TOKEN

_FORM, _JSON = {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "application/json"}
_CHINA = timezone(timedelta(hours=8))
_MANY = 100


class _Array:
    """A JSON array of objects."""

    most = _MANY

    def request(self, url: str, receipts: Sequence[Receipt]) -> tuple[str, Mapping[str, str], bytes]:
        """As `PushForm.request`."""
        return url, _JSON, orjson.dumps([self.entry(receipt) for receipt in receipts])

    def text(self, given: Text) -> tuple[str, Mapping[str, str], bytes]:
        """As `PushForm.text`."""
        return given.url, _JSON, orjson.dumps(self.said(given))

    def entry(self, receipt: Receipt) -> Mapping[str, Any]:
        """One receipt."""
        raise NotImplementedError

    def said(self, given: Text) -> object:
        """What is posted of a text from a handset."""
        raise NotImplementedError


class PlainPush(_Array):
    """The plain format's."""

    def entry(self, receipt: Receipt) -> Mapping[str, Any]:
        """As `_Array.entry`."""
        told = receipt.told
        at = datetime.fromtimestamp(receipt.at_s, UTC).isoformat(timespec="seconds")
        status = "delivered" if receipt.arrived else "undelivered"
        failed = {} if receipt.arrived else {"code": "absent", "message": "The handset was off for too long"}
        return {"reference": told.word, "message_id": told.message_id, "status": status, "at": at, **failed}

    def said(self, given: Text) -> object:
        """As `_Array.said`."""
        return {"from": given.sender, "to": given.to, "text": given.text, "message_id": given.message_id}


class AliyunPush(_Array):
    """Alibaba Cloud's SmsReport."""

    def entry(self, receipt: Receipt) -> Mapping[str, Any]:
        """As `_Array.entry`."""
        told, arrived = receipt.told, receipt.arrived
        return {
            "phone_number": told.to.removeprefix("+86").removeprefix("+"),
            "send_time": _spaced(receipt.at_s),
            "report_time": _spaced(receipt.at_s),
            "success": arrived,
            "err_code": "DELIVERED" if arrived else "MK:0001",
            "err_msg": "用户接收成功" if arrived else "空号",
            "sms_size": "1",
            "biz_id": told.message_id,
            "out_id": told.word,
        }

    def said(self, given: Text) -> object:
        """As `_Array.said`."""
        number = given.sender.removeprefix("+86").removeprefix("+")
        told = {"phone_number": number, "content": given.text, "dest_code": given.to}
        return [{**told, "send_time": _spaced(time.time()), "sign_name": "某公司", "sequence_id": 1234567890}]


class TencentPush(_Array):
    """Tencent Cloud's; `ext` is there for accounts that have it enabled."""

    def entry(self, receipt: Receipt) -> Mapping[str, Any]:
        """As `_Array.entry`."""
        told, arrived = receipt.told, receipt.arrived
        return {
            "user_receive_time": _spaced(receipt.at_s),
            "nationcode": "86",
            "mobile": told.to.removeprefix("+86"),
            "report_status": "SUCCESS" if arrived else "FAIL",
            "errmsg": "DELIVRD" if arrived else "UNDELIV",
            "description": "用户短信接收成功" if arrived else "用户短信接收失败",
            "sid": told.message_id,
        }

    def said(self, given: Text) -> object:
        """As `_Array.said`."""
        number = given.sender.removeprefix("+86")
        told = {"mobile": number, "nationcode": "86", "text": given.text, "extend": given.to, "sign": "某公司"}
        return {**told, "time": int(time.time())}


class TwilioPush:
    """Twilio's status callback."""

    most = 1

    def request(self, url: str, receipts: Sequence[Receipt]) -> tuple[str, Mapping[str, str], bytes]:
        """As `PushForm.request`."""
        (receipt,) = receipts
        status = "delivered" if receipt.arrived else "undelivered"
        fields = {
            "MessageSid": receipt.told.message_id,
            "SmsSid": receipt.told.message_id,
            "MessageStatus": status,
            "SmsStatus": status,
            "To": receipt.told.to,
            "ApiVersion": "2010-04-01",
            **({} if receipt.arrived else {"ErrorCode": "30003"}),
        }
        signature = TwilioSigning(TOKEN).of(url, fields.items())
        return url, {**_FORM, "X-Twilio-Signature": signature}, urlencode(fields).encode()

    def text(self, given: Text) -> tuple[str, Mapping[str, str], bytes]:
        """As `PushForm.text`."""
        fields = {"MessageSid": given.message_id, "From": given.sender, "To": given.to, "Body": given.text}
        signature = TwilioSigning(TOKEN).of(given.url, fields.items())
        return given.url, {**_FORM, "X-Twilio-Signature": signature}, urlencode(fields).encode()


class VonagePush:
    """Vonage's delivery receipt, signed."""

    most = 1

    def request(self, url: str, receipts: Sequence[Receipt]) -> tuple[str, Mapping[str, str], bytes]:
        """As `PushForm.request`."""
        (receipt,) = receipts
        fields = {
            "msisdn": receipt.told.to.removeprefix("+"),
            "to": "Acme",
            "messageId": receipt.told.message_id,
            "status": "delivered" if receipt.arrived else "failed",
            "err-code": "0" if receipt.arrived else "3",
            "message-timestamp": datetime.fromtimestamp(receipt.at_s, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "client-ref": receipt.told.word,
            "timestamp": str(int(time.time())),
            "nonce": receipt.told.message_id,
        }
        fields["sig"] = VonageSigning(TOKEN, "sha256").of(fields)
        return url, _FORM, urlencode(fields).encode()

    def text(self, given: Text) -> tuple[str, Mapping[str, str], bytes]:
        """As `PushForm.text`."""
        fields = {
            "msisdn": given.sender.removeprefix("+"),
            "to": given.to,
            "messageId": given.message_id,
            "text": given.text,
            "type": "text",
            "timestamp": str(int(time.time())),
        }
        fields["sig"] = VonageSigning(TOKEN, "sha256").of(fields)
        return given.url, _FORM, urlencode(fields).encode()


class InfobipPush:
    """Infobip's delivery report."""

    most = _MANY

    def request(self, url: str, receipts: Sequence[Receipt]) -> tuple[str, Mapping[str, str], bytes]:
        """As `PushForm.request`."""
        return url, _JSON, orjson.dumps({"results": [self._entry(receipt) for receipt in receipts]})

    def text(self, given: Text) -> tuple[str, Mapping[str, str], bytes]:
        """As `PushForm.text`."""
        told = {"from": given.sender.removeprefix("+"), "to": given.to, "text": given.text}
        content = {"results": [{**told, "messageId": given.message_id}], "messageCount": 1}
        return given.url, _JSON, orjson.dumps(content)

    @staticmethod
    def _entry(receipt: Receipt) -> Mapping[str, Any]:
        delivered = {"groupId": 3, "groupName": "DELIVERED", "id": 5, "name": "DELIVERED_TO_HANDSET"}
        failed = {"groupId": 2, "groupName": "UNDELIVERABLE", "id": 9, "name": "UNDELIVERABLE_NOT_DELIVERED"}
        at = datetime.fromtimestamp(receipt.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        return {
            "messageId": receipt.told.word,
            "to": receipt.told.to.removeprefix("+"),
            "doneAt": at,
            "status": delivered if receipt.arrived else failed,
        }


PUSHES: Mapping[str, PushForm] = {
    "plain": PlainPush(),
    "aliyun": AliyunPush(),
    "tencent": TencentPush(),
    "twilio": TwilioPush(),
    "vonage": VonagePush(),
    "infobip": InfobipPush(),
}


def _spaced(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, _CHINA).strftime("%Y-%m-%d %H:%M:%S")
