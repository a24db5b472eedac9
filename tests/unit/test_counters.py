"""A batch's counters as deltas."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.states import State
from shared.ledger.counters import Changes, by_batch
from shared.ledger.tables import batches, counter

changes = st.dictionaries(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(State)), st.integers(-5, 5))


def test_every_state_has_a_counter_of_its_own_in_the_table() -> None:
    columns = [counter(state) for state in State]
    assert len(set(columns)) == len(State)
    assert set(columns) <= set(batches.c.keys())


def test_a_change_is_a_delta_of_its_own_batch_and_zero_for_every_other_state() -> None:
    moved: Changes = Counter({("a", State.QUEUED): -1, ("a", State.SENDING): 1, ("b", State.SENT): 2})
    zero = {counter(state): 0 for state in State}
    assert by_batch(moved) == {
        "a": {**zero, counter(State.QUEUED): -1, counter(State.SENDING): 1},
        "b": {**zero, counter(State.SENT): 2},
    }


def test_no_change_is_no_delta() -> None:
    assert by_batch(Counter()) == {}


@settings(deadline=None)
@given(found=changes)
def test_no_change_gets_lost_between_batches_and_states(found: dict[tuple[str, State], int]) -> None:
    deltas = by_batch(Counter(found))
    assert deltas.keys() == {batch_id for batch_id, _state in found}
    for (batch_id, state), change in found.items():
        assert deltas[batch_id][counter(state)] == change
    assert sum(sum(delta.values()) for delta in deltas.values()) == sum(found.values())
