"""The table of a message's states: what is final, and that the diagram in the documents is the table's."""

import re
from pathlib import Path

import pytest

from shared.domain.states import LIVE_STATES, TRANSITIONS, State

ARCHITECTURE = Path(__file__).parents[2] / "docs/architecture.md"


def drawn() -> str:
    """The table as a Mermaid diagram."""
    lines = ["stateDiagram-v2", "    direction LR"]
    for (before, after), why in TRANSITIONS.items():
        lines.append(f"    {before.value if before else '[*]'} --> {after.value}: {why}")
    return "\n".join(lines) + "\n"


def test_the_diagram_in_the_documents_is_drawn_from_the_table() -> None:
    (shown,) = re.findall(r"```mermaid\n(stateDiagram-v2\n.*?)```", ARCHITECTURE.read_text(), re.DOTALL)
    assert shown == drawn()


def test_what_is_live_can_end_and_comes_from_somewhere() -> None:
    for state in LIVE_STATES:
        assert any(before is state for before, _after in TRANSITIONS)
        assert any(after is state for _before, after in TRANSITIONS)


@pytest.mark.parametrize("state", [State.DELIVERED, State.UNDELIVERED, State.INVALID, State.DUPLICATE, State.CANCELLED])
def test_nothing_leaves_a_state_that_is_the_end(state: State) -> None:
    assert not any(before is state for before, _after in TRANSITIONS)
