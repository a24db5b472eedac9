"""The plain format: JSON over HTTP, which a small service of one's own can speak before any provider."""

from services.sender.providers.plain.classify import CodeTable
from services.sender.providers.plain.gateway import PlainHttpGateway
from services.sender.settings import SenderSettings
from services.sender.transports.http1.transport import Http1Transport


def plain_gateway(settings: SenderSettings) -> PlainHttpGateway:
    """The gateway that the settings say; its transport is the fast one."""
    codes = CodeTable(
        settings.provider_temporary_codes, settings.provider_permanent_codes, settings.provider_longest_pause_s
    )
    url = settings.provider_url.get_secret_value()
    return PlainHttpGateway(Http1Transport(settings.provider_timeout_s), url, codes, settings.provider_max_recipients)
