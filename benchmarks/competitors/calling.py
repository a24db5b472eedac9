"""How the frameworks' tasks call the provider: one session per process, as their users would."""

import aiohttp
import requests
from requests.adapters import HTTPAdapter

from benchmarks.competitors.settings import PROVIDER_URL

_TIMEOUT_S = 60


class AsyncProvider:
    """aiohttp, for FastStream and TaskIQ; opened in the worker's own event loop."""

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(self, reference: str, to: str, text: str) -> None:
        """Call once; raises for anything but a 2xx, so that the framework tries again."""
        async with self._session.post(PROVIDER_URL, json=_body(reference, to, text)) as answer:
            answer.raise_for_status()
            await answer.read()


class Provider:
    """requests, for Dramatiq and Celery; its connection pool is shared by the process's threads."""

    def __init__(self, connections: int) -> None:
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_maxsize=connections))

    def post(self, reference: str, to: str, text: str) -> None:
        """Call once; raises for anything but a 2xx, so that the framework tries again."""
        self._session.post(PROVIDER_URL, json=_body(reference, to, text), timeout=_TIMEOUT_S).raise_for_status()


def _body(reference: str, to: str, text: str) -> dict[str, str]:
    return {"reference": reference, "to": to, "text": text}
