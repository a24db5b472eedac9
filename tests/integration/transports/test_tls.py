"""Over TLS, the provider's certificate must be one that the system trusts, and be the host's."""

import socket
import ssl
from functools import partial
from pathlib import Path

import pytest
from aiohappyeyeballs import AddrInfoType

from services.sender.transports import HttpAnswer
from services.sender.transports.http1.connection import Connection
from services.sender.transports.http1.dialing import Dialer, trusting_the_systems_authorities
from services.sender.transports.http1.resolver import KnownAddresses
from services.sender.transports.with_aiohttp import AiohttpTransport
from shared.domain.outcome import CallResult, Verdict
from tests.support.certificates import self_signed
from tests.support.scripted_provider import ACCEPTED, Open, Peer, always, opened_by, port_of, scripted


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, and its key in one file."""
    return self_signed(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1", "DNS:provider.example")


@pytest.fixture
def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.mark.usefixtures("trusted")
async def test_a_provider_with_a_trusted_certificate_is_called_and_its_connection_kept(
    opened: Open,
    server_side: ssl.SSLContext,
) -> None:
    async with scripted(always(ACCEPTED), tls=server_side) as provider, opened(provider.url) as caller:
        for body in (b"{}", b"x" * 700_000, b"{}"):
            assert isinstance(await caller.post(body), HttpAnswer)
        assert len(provider.peers) == 1


@pytest.mark.usefixtures("trusted")
async def test_the_server_is_told_which_host_is_meant(server_side: ssl.SSLContext) -> None:
    names: list[str | None] = []
    server_side.sni_callback = lambda _socket, name, _context: names.append(name)
    async with scripted(always(ACCEPTED), tls=server_side) as provider:
        addresses = KnownAddresses("provider.example.", port_of(provider), _at_127_0_0_1)
        connection = Connection(lambda _: None)
        await Dialer("provider.example.", addresses, trusting_the_systems_authorities()).dial(connection)
        assert connection.is_open
        connection.abort()
    assert names == ["provider.example"]


async def test_an_unknown_authority_is_certainly_not_sent(opened: Open, server_side: ssl.SSLContext) -> None:
    async with scripted(always(ACCEPTED), tls=server_side) as provider, opened(provider.url) as caller:
        _assert_not_trusted(await caller.post(b"{}"))


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_of_another_host_is_certainly_not_sent(opened: Open, server_side: ssl.SSLContext) -> None:
    async with (
        scripted(always(ACCEPTED), tls=server_side) as provider,
        opened(provider.url.replace("127.0.0.1", "localhost")) as caller,
    ):
        _assert_not_trusted(await caller.post(b"{}"))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("octets", [b"", ACCEPTED[:-1]], ids=["no answer", "half an answer"])
async def test_a_loss_after_the_handshake_is_unclear(opened: Open, server_side: ssl.SSLContext, octets: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(octets)

    async with scripted(script, tls=server_side) as provider, opened(provider.url) as caller:
        result = await caller.post(b"{}")
    assert isinstance(result, CallResult)
    assert (result.verdict, result.code) == (Verdict.UNCLEAR, "connection_lost")


async def test_aiohttps_client_shows_a_certificate_of_ours(server_side: ssl.SSLContext, certificate: Path) -> None:
    server_side.verify_mode = ssl.CERT_REQUIRED
    server_side.load_verify_locations(certificate)
    ours = ssl.create_default_context(cafile=str(certificate))
    async with scripted(always(ACCEPTED), tls=server_side) as provider:
        async with opened_by(AiohttpTransport, provider.url) as caller:
            assert isinstance(await caller.post(b"{}"), CallResult)
        ours.load_cert_chain(certificate)
        async with opened_by(partial(AiohttpTransport, tls=ours), provider.url) as caller:
            assert isinstance(await caller.post(b"{}"), HttpAnswer)


async def _at_127_0_0_1(_: str, port: int) -> list[AddrInfoType]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


def _assert_not_trusted(result: HttpAnswer | CallResult) -> None:
    assert isinstance(result, CallResult)
    assert (result.verdict, result.code) == (Verdict.NOT_SENT, "connect_failed")
    assert "SSLCertVerificationError" in (result.reason or "")
