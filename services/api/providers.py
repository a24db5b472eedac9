"""The handlers of `/v1/providers` and `/v1/provider`: who can be called, who is, and if not, why; a word to one."""

from http import HTTPStatus

from aiohttp import web

from services.api.batches.views import Shown, held_shown, time_shown
from services.api.intake.accepting import Intake
from services.api.ledger import Ledger
from services.api.serving.pages import document
from services.api.serving.problems import Flaw, Problem, invalid
from shared.domain.routing import ANY_PROVIDER
from shared.ledger.provider_gates import Cause, Standing
from shared.ledger.provider_senders import Activity, Served
from shared.providers import Providers as Known
from shared.providers import ProviderSettings
from shared.topology import Lane

_UNREACHABLE = "unreachable"


class Providers:
    """The providers of the settings, as senders deal with them; `known` says which there are."""

    def __init__(self, ledger: Ledger, known: Known) -> None:
        self._ledger, self._known = ledger, known

    async def use(self, known: Known) -> None:
        """Show these from now on."""
        self._known = known

    async def held(self, _request: web.Request) -> web.Response:
        """The pauses that hold now; none where every provider is called."""
        return document({"held": [held_shown(held) for held in await self._ledger.held()]})

    async def list_all(self, _request: web.Request) -> web.Response:
        """Each provider with its state, its routes, and what its senders do."""
        standings, served = await self._ledger.standings(), await self._ledger.served()
        shown = [
            provider_shown(name, settings, standings.get(name), served.get(name))
            for name, settings in self._known.by_name.items()
        ]
        return document({"providers": shown})

    async def pause(self, request: web.Request) -> web.Response:
        """Let nobody call a provider until it is resumed."""
        name, _ = self.named(request)
        await self._ledger.pause_provider(name)
        return await self._show(name)

    async def resume(self, request: web.Request) -> web.Response:
        """End every pause of a provider."""
        name, _ = self.named(request)
        await self._ledger.resume_provider(name)
        return await self._show(name)

    @property
    def can_choose(self) -> bool:
        """Whether there is more than one."""
        return len(self._known.names) > 1

    def named(self, request: web.Request) -> tuple[str, ProviderSettings]:
        """The provider in the request's path; Problem where there is none of that name."""
        name = request.match_info["name"]
        if name not in self._known.by_name:
            raise Problem(HTTPStatus.NOT_FOUND, f"There is no such provider; there is {', '.join(self._known.names)}.")
        return name, self._known.by_name[name]

    async def _show(self, name: str) -> web.Response:
        standings, served = await self._ledger.standings(), await self._ledger.served()
        return document(provider_shown(name, self._known.by_name[name], standings.get(name), served.get(name)))


class ProviderTests:
    """The handler of `POST /v1/providers/{name}/test`: a batch of one, accepted as any other."""

    def __init__(self, providers: Providers, intake: Intake) -> None:
        self._providers, self._intake = providers, intake

    async def post(self, request: web.Request) -> web.Response:
        """Send one text by this provider and no other, before all that is in bulk where it takes such."""
        name, settings = self._providers.named(request)
        if name == ANY_PROVIDER and self._providers.can_choose:
            # Another one would take it, and its answer would be held to be this one's.
            raise invalid(Flaw("", f"What names {ANY_PROVIDER} goes out by any provider; give this one another name"))
        lane = Lane.PRIORITY if Lane.PRIORITY in settings.lanes else settings.lanes[0]
        return await self._intake.post_test(request, name, lane)


def provider_shown(name: str, settings: ProviderSettings, standing: Standing | None, served: Served | None) -> Shown:
    """One provider."""
    held = standing and standing.held
    state, cause, code, reason, since_ms, until_ms = "open", None, None, None, None, None
    if held is not None:
        state = "paused" if held.cause is Cause.PAUSED else "held"
        cause, code, reason = held.cause.value, held.code, held.reason
        since_ms, until_ms = held.since_ms, held.until_ms
    elif standing is not None and standing.is_stopped:
        state, cause, reason, until_ms = "held", _UNREACHABLE, standing.reason, standing.avoided_until_ms
    activity = served.activity if served else Activity()
    return {
        "name": name,
        "type": settings.type,
        "state": state,
        "cause": cause,
        "error_code": code,
        "error_reason": reason,
        "since": time_shown(since_ms),
        "until": time_shown(until_ms),
        "rate": settings.rate,
        "rate_per": settings.rate_per,
        "pace": round(standing.pace, 2) if standing else 1.0,
        "daily": settings.daily,
        "weight": settings.weight,
        "lanes": list(settings.lanes),
        "prefixes": list(settings.prefixes),
        "senders": served.senders if served else 0,
        "in_flight": activity.in_flight,
        "sent_last_minute": activity.sent,
        "failed_last_minute": activity.failed,
    }
