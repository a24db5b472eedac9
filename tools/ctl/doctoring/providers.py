"""Whether providers are called: a pause that all senders keep, with the reason; who cannot be reached, whom no sender
serves, and a name that there is not."""

import asyncio
from collections.abc import Mapping, Sequence

from shared.domain.routing import ANY_PROVIDER
from shared.domain.times import rfc3339
from shared.ledger.database import Database
from shared.ledger.diagnosing import DiagnosisLedger
from shared.ledger.provider_gates import Cause, Held, ProviderGates, Standing
from shared.ledger.provider_senders import ProviderSenders
from tools.ctl.doctoring.findings import Finding, count, hint
from tools.ctl.doctoring.system import System

_RESUME = "smsctl provider resume"


def look_at_pauses(system: System) -> list[Finding]:
    """The providers that nobody calls for now, and those that are avoided because a sender cannot reach them."""
    standings = asyncio.run(_standings(system))
    return [found for name, standing in standings.items() for found in findings_of(name, standing)]


def look_at_names(system: System) -> list[Finding]:
    """The providers that messages wait for and no sender has."""
    waiting, known = asyncio.run(_waiting(system))
    unsure = "" if system.has_providers else "; this machine has not the file: set it here to be sure"
    return [
        Finding(
            f"{count(number, 'message')} for the provider {name}, which there is not",
            f"they wait: put it into SMS_PROVIDERS_FILE again, or cancel their batches{unsure}",
        )
        for name, number in sorted(waiting.items())
        if name not in (ANY_PROVIDER, *known)
    ]


def look_at_senders(system: System) -> list[Finding]:
    """The providers that no sender serves, while batches run; paused batches need nobody."""
    return [
        Finding(
            f"no sender serves the provider {name}",
            "start a sender; SMS_PROVIDERS says which providers one serves, and its log why it ended",
        )
        for name in asyncio.run(_unserved(system))
    ]


def findings_of(name: str, standing: Standing) -> list[Finding]:
    """What is wrong with how a provider stands; one that is held is not looked at further."""
    if standing.held is not None:
        return [finding_of(standing.held)]
    if not standing.is_stopped:
        return []
    return [
        Finding(
            f"senders cannot reach the provider {name}: {standing.reason or 'no reason known'}",
            "messages go out by another one that takes them, or wait; each sender's log has circuit_opened",
        )
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


async def _waiting(system: System) -> tuple[dict[str, int], Sequence[str]]:
    async with system.ledger() as database:
        return await DiagnosisLedger(database).waiting_by_provider(), await _known(system, database)


async def _unserved(system: System) -> list[str]:
    async with system.ledger() as database:
        if not await DiagnosisLedger(database).has_work():
            return []
        served = await ProviderSenders(database).served()
        return [name for name in await _known(system, database) if name not in served]


async def _known(system: System, database: Database) -> Sequence[str]:
    """The providers of the file, or where it is not here those that senders served within the hour."""
    return system.has_providers or await ProviderSenders(database).names() or (ANY_PROVIDER,)


async def _standings(system: System) -> Mapping[str, Standing]:
    async with system.ledger() as database:
        return await ProviderGates(database).standings()


_WHY = {
    Cause.ACCOUNT: "it does not serve our account",
    Cause.ASKED: "it asked for a pause",
    Cause.DAILY: "as much as its `daily` allows was sent today",
    Cause.PAUSED: "an operator paused it",
    Cause.UNTOLD: "a sender was told so",
}
