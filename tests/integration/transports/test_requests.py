"""What the provider gets."""

import json
from functools import partial
from typing import Literal

import pytest
from aiohttp import BasicAuth, web
from aiohttp.test_utils import TestServer

from services.sender.providers.gateway import HttpGateway, TextMessage
from services.sender.providers.plain.classify import CodeTable
from services.sender.providers.plain.format import PlainFormat
from services.sender.transports import HttpAnswer, HttpRequest
from services.sender.transports.with_aiohttp import AiohttpTransport
from shared.domain.outcome import CallResult, Verdict
from tests.support.scripted_provider import ACCEPTED, Open, Peer, Request, open_http1, opened_by, scripted


async def _received(opened: Open, url_suffix: str, body: bytes, host: str = "127.0.0.1") -> tuple[Request, str]:
    requests: list[Request] = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.send(ACCEPTED)

    async with scripted(script, host=host) as provider:
        url = provider.url.removesuffix("/messages") + url_suffix
        async with opened(url) as caller:
            assert isinstance(await caller.post(body), HttpAnswer)
    return requests[0], provider.url.split("/")[2]


async def test_a_request_says_what_it_must_and_no_more(opened: Open) -> None:
    request, netloc = await _received(opened, "/messages", b'{"text":"hello"}')
    assert request.line == "POST /messages HTTP/1.1"
    encodings = request.headers.pop("Accept-Encoding")
    assert encodings == ("identity" if opened is open_http1 else "gzip, deflate")
    assert request.headers == {
        "Host": netloc,
        "User-Agent": "sms-batch",
        "Accept": "*/*",
        "Content-Type": "application/json",
        "Content-Length": "16",
    }
    assert request.body == b'{"text":"hello"}'


@pytest.mark.parametrize("length", [0, 1, 100, 65_536, 700_000])
async def test_bodies_of_any_length_arrive_whole(opened: Open, length: int) -> None:
    body = (b"0123456789" * (length // 10 + 1))[:length]
    assert (await _received(opened, "/", body))[0].body == body


async def test_a_query_is_kept_and_a_fragment_is_not_sent(opened: Open) -> None:
    request, _ = await _received(opened, "/v1/sms?key=a%20b&to=1#part", b"{}")
    assert request.line == "POST /v1/sms?key=a%20b&to=1 HTTP/1.1"


async def test_an_ipv6_address_is_reached_and_named_in_brackets(opened: Open) -> None:
    try:
        request, netloc = await _received(opened, "/messages", b"{}", host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert request.headers["Host"] == netloc
    assert netloc.startswith("[::1]:")


async def test_a_real_server_understands_it(opened: Open) -> None:
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
        async with opened(url) as caller:
            gateway = HttpGateway("p", PlainFormat(caller.url, CodeTable(), is_list=False), caller.transport)
            results = [await gateway.send([TextMessage(f"b:{n}", "+8613800138000", "你好")]) for n in range(3)]
    assert [(result.verdict, result.provider_message_id) for result in results] == [
        (Verdict.ACCEPTED, f"m{n}") for n in (1, 2, 3)
    ]
    assert seen[2] == ("us@er", "a=b", {"reference": "b:2", "to": "+8613800138000", "text": "你好"})


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_a_call_whose_answer_is_lost_is_not_made_again(
    opened: Open, method: Literal["GET", "POST", "PUT"]
) -> None:
    asked = []

    async def script(peer: Peer) -> None:
        asked.append((await peer.request()).line)

    async with scripted(script) as provider, opened(provider.url) as caller:
        result = await caller.post(b"", method)
    assert isinstance(result, CallResult)
    assert result.verdict is Verdict.UNCLEAR
    assert asked == [f"{method} /messages HTTP/1.1"]


async def test_each_request_says_where_it_goes_and_what_it_says(opened: Open) -> None:
    seen: list[Request] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(ACCEPTED)

    async with scripted(script) as one, scripted(script) as other, opened(one.url) as caller:
        for number, provider in enumerate((one, other, one, other)):
            headers = (("X-Number", "more"), ("X-Number", str(number)), ("accept", "text/plain"))
            url = f"{provider.url}?n={number}".replace("://", f"://u:p{number}@")
            answer = await caller.transport.send(HttpRequest("POST", url, headers, b"%d" % number))
            assert isinstance(answer, HttpAnswer)
        assert (len(one.peers), len(other.peers)) == (1, 1)
    assert [request.line for request in seen] == [f"POST /messages?n={number} HTTP/1.1" for number in range(4)]
    assert [request.headers["X-Number"] for request in seen] == ["0", "1", "2", "3"]
    assert [request.body for request in seen] == [b"0", b"1", b"2", b"3"]
    assert [BasicAuth.decode(request.headers["Authorization"]).password for request in seen] == ["p0", "p1", "p2", "p3"]
    assert {request.headers.get("accept") for request in seen} == {"text/plain"}
    assert not any("Accept" in request.headers for request in seen)


@pytest.mark.parametrize("header", [("X", "a\r\nY: b"), ("X\n", "a"), ("X: y", "a"), ("X", "\0"), ("X", "ä")])
async def test_what_could_end_a_headers_line_is_refused(opened: Open, header: tuple[str, str]) -> None:
    async with opened("http://127.0.0.1:1/") as caller:
        with pytest.raises(ValueError, match="not a header"):
            await caller.transport.send(HttpRequest("POST", caller.url, (header,), b""))


async def test_aiohttps_client_goes_through_a_proxy() -> None:
    seen: list[Request] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(ACCEPTED)

    url = "http://provider.example/messages"
    async with scripted(script) as proxy, opened_by(partial(AiohttpTransport, proxy=proxy.url), url) as caller:
        assert isinstance(await caller.post(b"{}"), HttpAnswer)
    assert [request.line for request in seen] == ["POST http://provider.example/messages HTTP/1.1"]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b"", b"no HTTP"])
async def test_a_proxy_that_makes_no_connection_is_certainly_not_sent(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with scripted(script) as proxy:
        make = partial(AiohttpTransport, proxy=proxy.url)
        async with opened_by(make, "https://user:secret@provider.example/messages") as caller:
            result = await caller.post(b"{}")
    assert isinstance(result, CallResult)
    assert (result.verdict, result.code) == (Verdict.NOT_SENT, "connect_failed")
    assert "secret" not in (result.reason or "")
