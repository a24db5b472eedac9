"""Whether providers are called: a pause that all senders keep, with the reason; and a name that no sender has."""

import asyncio
from collections.abc import Mapping, Sequence

from shared.domain.routing import ANY_PROVIDER
from shared.domain.times import rfc3339
from shared.ledger.diagnosing import DiagnosisLedger
from shared.ledger.provider_gates import Cause, Held, ProviderGates
from shared.ledger.provider_senders import ProviderSenders, Served
from tools.ctl.doctoring.findings import Finding, count, hint
from tools.ctl.doctoring.system import System

_RESUME = "smsctl provider resume"


def look_at_pauses(system: System) -> list[Finding]:
    """The providers that nobody calls for now."""
    return [finding_of(held) for held in asyncio.run(_held(system))]


def look_at_names(system: System) -> list[Finding]:
    """The providers that messages wait for and no sender has."""
    waiting = asyncio.run(_waiting(system))
    return [
        Finding(
            f"{count(number, 'message')} for the provider {name}, which there is not",
            "they wait: put it into SMS_PROVIDERS_FILE again, or cancel their batches",
        )
        for name, number in sorted(waiting.items())
        if name not in (ANY_PROVIDER, *system.providers)
    ]


def look_at_senders(system: System) -> list[Finding]:
    """The providers that no sender serves, while batches run; paused ones need nobody."""
    served = asyncio.run(_served_while_batches_run(system))
    if served is None:
        return []
    return [
        Finding(
            f"no sender serves the provider {name}",
            "start a sender; SMS_PROVIDERS says which providers one serves, and its log why it ended",
        )
        for name in system.providers
        if name not in served
    ]


def finding_of(held: Held) -> Finding:
    """A refused account waits for somebody to mend it; any other pause ends by itself."""
    command = _RESUME if held.provider == ANY_PROVIDER else f"{_RESUME} {held.provider}"
    status = f", HTTP {held.status}" if held.status else ""
    words = f" ({held.code}{status}: {held.reason})" if held.code else ""
    if held.until_ms is None:
        return Finding(f"the provider {held.provider} is paused: {_WHY[held.cause]}", f"to go on: {command}")
    what = f"the provider {held.provider} is held until {rfc3339(held.until_ms)}: {_WHY[held.cause]}{words}"
    if held.cause is Cause.ACCOUNT:
        return Finding(what, f"mend key, balance or permission there, then {command}; nobody fails meanwhile")
    return hint(what, f"it ends by itself; to end it now: {command}")


async def _waiting(system: System) -> dict[str, int]:
    async with system.ledger() as database:
        return await DiagnosisLedger(database).waiting_by_provider()


async def _served_while_batches_run(system: System) -> Mapping[str, Served] | None:
    async with system.ledger() as database:
        return await ProviderSenders(database).served() if await DiagnosisLedger(database).has_work() else None


async def _held(system: System) -> Sequence[Held]:
    async with system.ledger() as database:
        return await ProviderGates(database).held()


_WHY = {
    Cause.ACCOUNT: "it does not serve our account",
    Cause.ASKED: "it asked for a pause",
    Cause.DAILY: "as much as its `daily` allows was sent today",
    Cause.PAUSED: "an operator paused it",
    Cause.UNTOLD: "a sender was told so",
}
