"""How the api shows a provider: open, paused or held, and by what."""

from typing import Any

import pytest

from services.api.providers import provider_shown
from shared.ledger.provider_gates import Cause, Held, Standing
from shared.ledger.provider_senders import Activity, Served
from shared.providers import ProviderSettings

UNTIL_MS = 1_767_225_600_000
ACCOUNT = Held("one", 60.0, UNTIL_MS, Cause.ACCOUNT, "http_401", "Wrong key", 401)
PAUSED = Held("one", 3600.0, None, Cause.PAUSED, None, "An operator paused it", None)


@pytest.mark.parametrize(
    ("standing", "state", "cause", "reason", "until"),
    [
        (None, "open", None, None, None),
        (Standing(ACCOUNT, None, None), "held", "account", "Wrong key", "2026-01-01T00:00:00.000Z"),
        (Standing(PAUSED, None, None), "paused", "paused", "An operator paused it", None),
        (Standing(None, 5.0, "no", UNTIL_MS), "held", "unreachable", "no", "2026-01-01T00:00:00.000Z"),
        (Standing(PAUSED, 5.0, "refused"), "paused", "paused", "An operator paused it", None),
        (Standing(None, -1.0, "refused"), "open", None, None, None),
    ],
    ids=["open", "account", "paused", "unreachable", "paused and unreachable", "on trial"],
)
def test_what_stops_a_provider_is_shown(
    standing: Standing | None, state: str, cause: str | None, reason: str | None, until: str | None
) -> None:
    shown = _shown(standing)
    assert [shown[key] for key in ("state", "cause", "error_reason", "until")] == [state, cause, reason, until]


@pytest.mark.parametrize(("standing", "pace"), [(None, 1.0), (Standing(None, None, None, pace=0.5123), 0.51)])
def test_how_much_of_its_rate_is_used_is_shown(standing: Standing | None, pace: float) -> None:
    shown = _shown(standing)
    assert (shown["state"], shown["pace"]) == ("open", pace)


def test_a_provider_that_no_sender_was_heard_of_does_nothing() -> None:
    counts = ("senders", "in_flight", "sent_last_minute", "failed_last_minute")
    assert [_shown(None)[key] for key in counts] == [0, 0, 0, 0]
    assert [_shown(None, Served(2, Activity(3, 40, 5)))[key] for key in counts] == [2, 3, 40, 5]


def _shown(standing: Standing | None, served: Served | None = None) -> dict[str, Any]:
    return provider_shown("one", ProviderSettings(type="plain"), standing, served)
