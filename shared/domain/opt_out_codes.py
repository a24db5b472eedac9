"""Vendors' codes that say that a recipient has opted out: in an answer to a call, or in a receipt. Pure."""

from collections.abc import Mapping

IN_ANSWERS: Mapping[str, frozenset[str]] = {
    "aliyun": frozenset({"isv.CUSTOMER_REFUSED"}),
    "tencent": frozenset({"FailedOperation.PhoneNumberInBlacklist"}),
    "twilio": frozenset({"21610"}),
    "infobip": frozenset({"10"}),
}
IN_RECEIPTS: Mapping[str, frozenset[str]] = {
    "twilio": frozenset({"21610"}),
    "vonage": frozenset({"9"}),
    "infobip": frozenset({"10", "REJECTED_DND"}),
}
"""Both by the provider's type."""
