"""What the provider gets."""

import json

import pytest
from aiohttp import BasicAuth, web
from aiohttp.test_utils import TestServer

from services.sender.classify import CodeTable
from services.sender.gateways import TextMessage
from services.sender.gateways.plain_http import PlainHttpGateway
from services.sender.gateways.posting import Answer
from shared.domain.outcome import Verdict
from tests.support.scripted_provider import ACCEPTED, Peer, Request, opened, scripted


async def _received(url_suffix: str, body: bytes, host: str = "127.0.0.1") -> tuple[Request, str]:
    requests: list[Request] = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.send(ACCEPTED)

    async with scripted(script, host=host) as provider:
        url = provider.url.removesuffix("/messages") + url_suffix
        async with opened(url) as poster:
            assert isinstance(await poster.post(body), Answer)
    return requests[0], provider.url.split("/")[2]


async def test_a_request_says_what_it_must_and_no_more() -> None:
    request, netloc = await _received("/messages", b'{"text":"hello"}')
    assert request.line == "POST /messages HTTP/1.1"
    assert request.headers == {
        "Host": netloc,
        "User-Agent": "sms-batch",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Content-Length": "16",
    }
    assert request.body == b'{"text":"hello"}'


@pytest.mark.parametrize("length", [0, 1, 100, 65_536, 700_000])
async def test_bodies_of_any_length_arrive_whole(length: int) -> None:
    body = (b"0123456789" * (length // 10 + 1))[:length]
    assert (await _received("/", body))[0].body == body


async def test_a_query_is_kept_and_a_fragment_is_not_sent() -> None:
    request, _ = await _received("/v1/sms?key=a%20b&to=1#part", b"{}")
    assert request.line == "POST /v1/sms?key=a%20b&to=1 HTTP/1.1"


async def test_an_ipv6_address_is_reached_and_named_in_brackets() -> None:
    try:
        request, netloc = await _received("/messages", b"{}", host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert request.headers["Host"] == netloc
    assert netloc.startswith("[::1]:")


async def test_a_real_server_understands_it() -> None:
    """The contract with a server that is not ours: aiohttp's."""
    seen: list[tuple[str | None, str, object]] = []

    async def receive(request: web.Request) -> web.Response:
        authorization = BasicAuth.decode(request.headers["Authorization"])
        seen.append((authorization.login, request.query_string, json.loads(await request.read())))
        return web.json_response({"message_id": f"m{len(seen)}"})

    app = web.Application()
    app.router.add_post("/messages", receive)
    async with TestServer(app) as server:
        url = f"http://us%40er:pass%3Aword@127.0.0.1:{server.port}/messages?a=b"
        async with opened(url) as poster:
            gateway = PlainHttpGateway(poster, CodeTable(), 1)
            results = [await gateway.send([TextMessage(f"b:{n}", "+8613800138000", "你好")]) for n in range(3)]
    assert [(result.verdict, result.provider_message_id) for result in results] == [
        (Verdict.ACCEPTED, f"m{n}") for n in (1, 2, 3)
    ]
    assert seen[2] == ("us@er", "a=b", {"reference": "b:2", "to": "+8613800138000", "text": "你好"})
