"""Providers: each type's format, and what makes a gateway of the settings. A new type is a line in `TYPES`."""

from collections.abc import Callable, Mapping
from typing import Any

from services.sender.providers.accounts import (
    Account,
    AliyunAccount,
    HttpAccount,
    InfobipAccount,
    TencentAccount,
    TwilioAccount,
    VonageAccount,
)
from services.sender.providers.config import read_accounts
from services.sender.providers.gateway import Format, HttpGateway
from services.sender.providers.plain.classify import CodeTable
from services.sender.providers.plain.format import PlainFormat
from services.sender.providers.vendors import aliyun, tencent
from services.sender.providers.vendors.aliyun import AliyunFormat
from services.sender.providers.vendors.configured import ConfiguredFormat, Heard, Sent
from services.sender.providers.vendors.infobip import InfobipFormat
from services.sender.providers.vendors.tencent import TencentFormat
from services.sender.providers.vendors.twilio import TwilioFormat
from services.sender.providers.vendors.vonage import VonageFormat
from services.sender.settings import SenderSettings
from services.sender.transports.http1.transport import Http1Transport
from services.sender.transports.with_aiohttp import AiohttpTransport
from shared.domain.routing import ANY_PROVIDER
from shared.errors import SettingsError
from shared.providers import TemplateMapping, wrong_providers
from shared.signatures import VonageSigning

_MAY_DEDUPLICATE = frozenset({"plain", "http"})

Templates = Mapping[int, TemplateMapping]


def _twilio(account: TwilioAccount, _templates: Templates, callback: str | None) -> Format:
    sender = account.sender or account.messaging_service_sid or ""
    user = account.api_key_sid or account.account_sid
    token = account.auth_token.get_secret_value()
    return TwilioFormat(account.account_sid, user, token, sender, account.endpoint, callback)


def _vonage(account: VonageAccount, _templates: Templates, callback: str | None) -> Format:
    if account.signature_secret is not None:
        secret: str | VonageSigning = VonageSigning(
            account.signature_secret.get_secret_value(), account.signature_method
        )
    else:
        secret = account.api_secret.get_secret_value() if account.api_secret is not None else ""
    return VonageFormat(account.api_key, secret, account.sender, account.endpoint, callback)


def _infobip(account: InfobipAccount, _templates: Templates, callback: str | None) -> Format:
    return InfobipFormat(account.api_key.get_secret_value(), account.sender, account.endpoint, callback)


def _aliyun(account: AliyunAccount, templates: Templates, _callback: str | None) -> Format:
    key = account.access_key_id, account.access_key_secret.get_secret_value()
    return AliyunFormat(key, account.sign_name, templates, account.endpoint)


def _tencent(account: TencentAccount, templates: Templates, _callback: str | None) -> Format:
    key, app = (account.secret_id, account.secret_key.get_secret_value()), (account.sdk_app_id, account.sign_name)
    return TencentFormat(key, app, templates, account.region, account.endpoint)


def _http(account: HttpAccount, templates: Templates, _callback: str | None) -> Format:
    secrets = {name: secret.get_secret_value() for name, secret in account.secrets.items()}
    sent = Sent(account.endpoint, account.method, account.body, account.headers, account.fields, secrets)
    places = account.answer
    heard = Heard(places.id, places.code, places.message, frozenset(places.accepted), account.classes)
    return ConfiguredFormat(sent, heard, templates)


TYPES: Mapping[str, tuple[Callable[[Any, Templates, str | None], Format], int]] = {
    "twilio": (_twilio, 1),
    "vonage": (_vonage, 1),
    "infobip": (_infobip, 100),
    "aliyun": (_aliyun, aliyun.MOST),
    "tencent": (_tencent, tencent.MOST),
    "http": (_http, 1),
}
"""By type: what makes the format of an account, our templates there, and where its receipts are taken; how many
messages a call takes at the most."""


_PLAIN_MOST = 100


def gateways_of(settings: SenderSettings) -> Mapping[str, HttpGateway]:
    """New gateways for all providers that this sender serves, by name: those of the file, or of SMS_PROVIDER_URL alone.

    SettingsError is one line that names what is wrong with SMS_PROVIDERS_FILE.
    """
    if settings.providers_file is None:
        return {ANY_PROVIDER: _plain(settings, ANY_PROVIDER, settings.plain_url)}
    accounts = read_accounts(settings.providers_file, frozenset(settings.served))
    if settings.provider_deduplicates:
        for name, account in accounts.items():
            if account.type not in _MAY_DEDUPLICATE:
                raise SettingsError(
                    f"SMS_PROVIDER_DEDUPLICATES: {account.type} ({name}) sends a text again that it is given again"
                )
    return {name: _gateway(settings, name, account) for name, account in accounts.items()}


def _gateway(settings: SenderSettings, name: str, account: Account) -> HttpGateway:
    if account.type == "plain":
        return _plain(settings, name, account.endpoint)
    make, most = TYPES[account.type]
    try:
        format_ = make(account, settings.all_providers.by_name[name].templates, settings.callback_of(name))
    except ValueError as error:
        raise wrong_providers(f"providers.{name}: {error}") from None
    transport = AiohttpTransport(settings.call_timeout_s(name))
    most = min(most, settings.numbers_per_call(name))
    return HttpGateway(name, format_, transport, most, settings.provider_longest_pause_s)


def _plain(settings: SenderSettings, name: str, url: str) -> HttpGateway:
    """The plain format over the fast transport."""
    codes = CodeTable(settings.provider_temporary_codes, settings.provider_permanent_codes)
    most = min(_PLAIN_MOST, settings.numbers_per_call(name))
    transport = Http1Transport(settings.call_timeout_s(name))
    return HttpGateway(
        name, PlainFormat(url, codes, is_list=most > 1), transport, most, settings.provider_longest_pause_s
    )
