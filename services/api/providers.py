"""The handler of `GET /v1/provider`: whether a provider is called, and if not, why."""

from aiohttp import web

from services.api.batches.views import held_shown
from services.api.ledger import Ledger
from services.api.serving.pages import document


class Providers:
    """What all senders know of the providers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def show(self, _request: web.Request) -> web.Response:
        """The pauses that hold now; none where every provider is called."""
        return document({"held": [held_shown(held) for held in await self._ledger.held()]})
