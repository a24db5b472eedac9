"""Providers: each type's format, and what makes a gateway of the settings. A new type is a line in `TYPES`."""

from collections.abc import Callable, Mapping
from typing import Any

from services.sender.providers.config import HttpAccount, InfobipAccount, TwilioAccount, VonageAccount, read_account
from services.sender.providers.gateway import Format, HttpGateway
from services.sender.providers.plain.classify import CodeTable
from services.sender.providers.plain.format import PlainFormat
from services.sender.providers.vendors.configured import ConfiguredFormat, Heard, Sent
from services.sender.providers.vendors.infobip import InfobipFormat
from services.sender.providers.vendors.twilio import TwilioFormat
from services.sender.providers.vendors.vonage import VonageFormat
from services.sender.settings import SenderSettings
from services.sender.transports.http1.transport import Http1Transport
from services.sender.transports.with_aiohttp import AiohttpTransport
from shared.errors import SettingsError

_NAME = "default"


def _twilio(account: TwilioAccount) -> Format:
    sender = account.sender or account.messaging_service_sid or ""
    user = account.api_key_sid or account.account_sid
    return TwilioFormat(account.account_sid, user, account.auth_token.get_secret_value(), sender, account.endpoint)


def _vonage(account: VonageAccount) -> Format:
    return VonageFormat(account.api_key, account.api_secret.get_secret_value(), account.sender, account.endpoint)


def _infobip(account: InfobipAccount) -> Format:
    return InfobipFormat(account.api_key.get_secret_value(), account.sender, account.endpoint)


def _http(account: HttpAccount) -> Format:
    secrets = {name: secret.get_secret_value() for name, secret in account.secrets.items()}
    sent = Sent(account.endpoint, account.method, account.body, account.headers, account.fields, secrets)
    places = account.answer
    heard = Heard(places.id, places.code, places.message, frozenset(places.accepted), account.classes)
    try:
        return ConfiguredFormat(sent, heard)
    except ValueError as error:
        raise SettingsError(" ".join(f"SMS_PROVIDERS_FILE: providers.{_NAME}: {error}".split())) from None


TYPES: Mapping[str, tuple[Callable[[Any], Format], int]] = {
    "twilio": (_twilio, 1),
    "vonage": (_vonage, 1),
    "infobip": (_infobip, 100),
    "http": (_http, 1),
}
"""By type: what makes the format of an account, and how many messages a call takes at the most."""


def gateway_of(settings: SenderSettings) -> HttpGateway:
    """The gateway that the settings say: a vendor's account, or else the plain format over the fast transport.

    SettingsError is one line that names what is wrong with SMS_PROVIDERS_FILE.
    """
    if settings.providers_file is None:
        return _plain(settings)
    account = read_account(settings.providers_file)
    if settings.provider_deduplicates and account.type != "http":
        raise SettingsError(f"SMS_PROVIDER_DEDUPLICATES: {account.type} sends a text again that it is given again")
    make, most = TYPES[account.type]
    transport = AiohttpTransport(settings.provider_timeout_s)
    most = min(most, settings.provider_max_recipients)
    return HttpGateway(_NAME, make(account), transport, most, settings.provider_longest_pause_s)


def _plain(settings: SenderSettings) -> HttpGateway:
    codes = CodeTable(settings.provider_temporary_codes, settings.provider_permanent_codes)
    most = settings.provider_max_recipients
    format_ = PlainFormat(settings.plain_url, codes, is_list=most > 1)
    transport = Http1Transport(settings.provider_timeout_s)
    return HttpGateway(_NAME, format_, transport, most, settings.provider_longest_pause_s)
