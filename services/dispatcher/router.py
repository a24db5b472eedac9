"""Which provider gets a message, by the routes and by how the providers stand just now."""

import time
from collections.abc import Collection, Mapping, Sequence

from shared.domain.routing import ANY_PROVIDER, Route, Routing, Stream, Turns, why_not
from shared.ledger.feeding import RunningBatch
from shared.ledger.provider_gates import ProviderGates, Standing
from shared.ledger.provider_senders import ProviderSenders
from shared.ledger.waiting import when_ledger_answers

_LOOK_EVERY_S = 0.5
_ON_TRIAL = 20
"""Messages that may wait for a provider of which nobody knows yet whether it works again."""


class Router:
    """Chooses among the providers; where there is only one, all goes there, however it stands: its senders hold it."""

    def __init__(
        self,
        routes: Sequence[Route] = (Route(ANY_PROVIDER),),
        gates: ProviderGates | None = None,
        senders: ProviderSenders | None = None,
    ) -> None:
        self._gates, self._senders = (gates, senders) if len(routes) > 1 else (None, None)
        self._served: Collection[str] = ()
        self._standings: Mapping[str, Standing] = {}
        self._look_due_at_s = 0.0
        self._turns = Turns()
        self.use(routes)

    def use(self, routes: Sequence[Route]) -> None:
        """Choose by these routes from now on."""
        self._routes = routes
        self.providers = tuple(route.provider for route in routes)
        self._weights = {route.provider: route.weight for route in routes}
        self._routing = Routing(routes)

    @property
    def chooses(self) -> bool:
        """Whether there are several, so that how they stand matters."""
        return self._gates is not None

    async def look(self) -> None:
        """Look how the providers stand, twice a second."""
        if self._gates is None or time.monotonic() < self._look_due_at_s:
            return
        self._standings = await when_ledger_answers(self._gates.standings)
        if self._senders is not None:
            self._served = frozenset(await when_ledger_answers(self._senders.served))
        self._look_due_at_s = time.monotonic() + _LOOK_EVERY_S

    def streams(self, batch: RunningBatch) -> tuple[Stream, ...]:
        """A batch's streams; none of one that is pinned to a provider that there is not: it waits."""
        if batch.pin not in (ANY_PROVIDER, *self.providers):
            return ()
        return self._routing.streams(batch.lane, batch.pin, batch.template_id)

    def why_not(self, batch: RunningBatch) -> str:
        """Why no provider takes a number of the batch."""
        return why_not(self._routes, batch.lane, batch.pin, batch.template_id)

    def bound(self, provider: str, bound: int) -> int:
        """How many messages may wait for a provider, `bound` where nothing is known against it."""
        standing = self._standings.get(provider)
        if self._served and provider not in self._served:
            return 0  # its messages would wait for a sender, where another provider could take them
        if standing is None or self._gates is None:
            return bound
        return 0 if standing.is_stopped else min(bound, _ON_TRIAL) if standing.is_on_trial else bound

    def share(self, messages: int, stream: Stream, rooms: Mapping[str, int]) -> Sequence[str]:
        """The providers of the stream's next messages, fewer where there is no room for more."""
        weights = {route.provider: self._weights[route.provider] for route in stream.routes}
        return self._turns.share(messages, weights, rooms)
