"""Making connections to a provider: over TCP, and TLS where the URL says https."""

import asyncio
import ssl

from aiohappyeyeballs import start_connection

from services.sender.transports.http1.connection import Connection
from services.sender.transports.http1.resolver import KnownAddresses

_NEXT_ADDRESS_AFTER_S = 0.25


def trusting_the_systems_authorities() -> ssl.SSLContext:
    """Certificates are checked against the system's authorities (or SSL_CERT_FILE's), and for the host's name."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialer:
    """Connects to one host; over TLS where `tls` is given, which then expects the certificate of `host`."""

    def __init__(self, host: str, addresses: KnownAddresses, tls: ssl.SSLContext | None) -> None:
        self._host, self._addresses, self._tls = host, addresses, tls

    async def dial(self, connection: Connection) -> None:
        """Open the connection. Raises OSError, or ValueError for a name that can be none; uvloop also RuntimeError, for
        a descriptor that it takes to be in use."""
        try:
            await self._connect(connection)
        except (OSError, ValueError, RuntimeError):
            self._addresses.forget()
            raise

    def close(self) -> None:
        """End a look-up that is under way."""
        self._addresses.close()

    async def _connect(self, connection: Connection) -> None:
        sock = await start_connection(await self._addresses.in_turn(), happy_eyeballs_delay=_NEXT_ADDRESS_AFTER_S)
        # A certificate's names have no dot at their end.
        name = self._host.rstrip(".") if self._tls else None
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: connection, sock=sock, ssl=self._tls, server_hostname=name)
        except BaseException:
            connection.abort()
            sock.close()
            raise
