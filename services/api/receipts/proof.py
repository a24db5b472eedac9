"""Whether a call is a vendor's own; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Self

from services.api.receipts.push import Push
from services.api.receipts.vendors import vonage_fields
from shared.providers import ProviderSettings
from shared.secret_references import read_secret
from shared.signatures import TwilioSigning, VonageSigning, names_body

_OLDEST_S = 5 * 60


class Doubt(StrEnum):
    """Why a call is refused."""

    ADDRESS = "address"
    PATH = "path"
    SIGNATURE = "signature"
    TOO_OLD = "too_old"


@dataclass(frozen=True)
class Proof:
    """What a provider's calls have to show; made of the settings, with the secrets that those refer to."""

    segment: str | None
    signing: TwilioSigning | VonageSigning | None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, settings: ProviderSettings) -> Self | None:
        """None where the provider is to send no receipts; ValueError where a secret cannot be read."""
        receipts = settings.receipts
        if receipts is None:
            return None
        signing: TwilioSigning | VonageSigning | None = None
        if receipts.signature_key is not None:
            key = read_secret(receipts.signature_key)
            twilio = settings.type == "twilio"
            signing = TwilioSigning(key) if twilio else VonageSigning(key, receipts.signature_method)
        return cls(receipts.path_segment(), signing, receipts.addresses)

    def doubt_of_place(self, segment: str | None, address: str) -> Doubt | None:
        """What speaks against a call before any of its body is read; `segment` is the secret in its path."""
        if self.networks and not any(_in(address, network) for network in self.networks):
            return Doubt.ADDRESS
        if not compare_digest((self.segment or "").encode(), (segment or "").encode("utf-8", "surrogateescape")):
            return Doubt.PATH
        return None

    def doubt(self, push: Push, now_s: float) -> Doubt | None:
        """What speaks against a call whose place is right; None where nothing does."""
        if isinstance(self.signing, TwilioSigning):
            return _doubt_of_twilio(self.signing, push)
        if isinstance(self.signing, VonageSigning):
            return _doubt_of_vonage(self.signing, push, now_s)
        return None


def _doubt_of_twilio(signing: TwilioSigning, push: Push) -> Doubt | None:
    """It signs no time: what is told again says nothing new."""
    headers: Mapping[str, str] = push.headers
    settings = headers.get("x-twilio-webhooks-signature-settings", "")
    if push.body and not push.is_form and not names_body(push.url):
        return Doubt.SIGNATURE  # nothing that is signed says what is in it
    try:
        fields = push.form if push.is_form else ()
        signed = signing.has_signed(headers.get("x-twilio-signature", ""), push.url, fields, push.body, settings)
    except ValueError:  # no form, a host or port that is none, bytes that are no text: nobody has signed that
        return Doubt.SIGNATURE
    return None if signed else Doubt.SIGNATURE


def _doubt_of_vonage(signing: VonageSigning, push: Push, now_s: float) -> Doubt | None:
    try:
        fields = vonage_fields(push)
        signed = signing.has_signed(fields)
    except ValueError:  # as above
        return Doubt.SIGNATURE
    if not signed:
        return Doubt.SIGNATURE
    timestamp = fields.get("timestamp", "")
    is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12
    return None if is_number and abs(now_s - int(timestamp)) <= _OLDEST_S else Doubt.TOO_OLD


def _in(address: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed) in network
