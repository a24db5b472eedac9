"""The simulator is what the vendor's own SDK takes it for; and so is our gateway, which it answers alike."""

import asyncio

import pytest
import requests
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from services.sender.providers.gateway import HttpGateway, TextMessage
from services.sender.providers.vendors.twilio import TwilioFormat
from services.sender.transports.with_aiohttp import AiohttpTransport
from shared.domain.outcome import CallResult, Verdict
from tests.support.processes import ServiceProcess
from tools.simulator.vendors import TOKEN

ACCOUNT = f"AC{'0' * 32}"
FROM = "+15005550006"
TEXT = "Grüße & 您好"


def by_sdk(simulator: ServiceProcess, to: str, text: str = TEXT, token: str = TOKEN) -> tuple[int, object]:
    """The HTTP status that the SDK saw, and the sid or Twilio's code."""
    client = Client(ACCOUNT, token)
    client.api.base_url = simulator.url
    try:
        return 201, client.messages.create(to=to, from_=FROM, body=text).sid
    except TwilioRestException as error:
        return error.status, error.code


async def by_us(simulator: ServiceProcess, to: str, text: str = TEXT, token: str = TOKEN) -> CallResult:
    gateway = HttpGateway("p", TwilioFormat(ACCOUNT, ACCOUNT, token, FROM, simulator.url), AiohttpTransport(10))
    await gateway.open()
    try:
        found = await gateway.send([TextMessage("b:0", to, text)])
    finally:
        await gateway.close()
    assert isinstance(found, CallResult)
    return found


async def test_twilios_sdk_and_our_gateway_send_the_same(simulator: ServiceProcess) -> None:
    status, sid = await asyncio.to_thread(by_sdk, simulator, "+8613800138000")
    ours = await by_us(simulator, "+8613800138000")
    assert (status, ours.verdict, ours.status) == (201, Verdict.ACCEPTED, 201)
    assert str(sid).startswith("SM")
    calls = (await asyncio.to_thread(requests.get, f"{simulator.url}/calls", timeout=30)).json()["calls"]
    assert [(call["to"], call["text"]) for call in calls] == [("+8613800138000", TEXT)] * 2


@pytest.mark.parametrize(
    ("to", "text", "token", "verdict"),
    [
        ("+86138", TEXT, TOKEN, Verdict.REFUSED),
        ("+8613800139005", TEXT, TOKEN, Verdict.REFUSED),
        ("+8613800139010", TEXT, TOKEN, Verdict.NOT_SENT),
        ("+8613800139004", TEXT, TOKEN, Verdict.NOT_SENT),
        ("+8613800139006", TEXT, TOKEN, Verdict.UNCLEAR),
        ("+8613800138000", "x" * 1601, TOKEN, Verdict.REFUSED),
        ("+8613800138000", TEXT, "revoked", Verdict.ACCOUNT),
    ],
)
async def test_twilios_sdk_and_our_gateway_read_the_same_refusal(
    simulator: ServiceProcess, to: str, text: str, token: str, verdict: Verdict
) -> None:
    status, code = await asyncio.to_thread(by_sdk, simulator, to, text, token)
    ours = await by_us(simulator, to, text, token)
    assert (ours.status, ours.code, ours.verdict) == (status, str(code), verdict)
