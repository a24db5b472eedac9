"""A batch's row held against the rows of its numbers; pure."""

from collections.abc import Iterable, Iterator, Sequence

from shared.domain.states import LIVE_STATES, BatchState, State
from shared.ledger.auditing import AuditedBatch
from tools.ctl.auditing.findings import KEPT_ROWS, Finding

_UNFINISHED = frozenset({BatchState.SCHEDULED, BatchState.RUNNING, BatchState.PAUSED})


def batch_findings(batch: AuditedBatch) -> list[Finding]:
    """What does not fit in the counters, in how many rows there are, and in the batch's state."""
    return [Finding(batch.batch_id, what, numbers) for what, numbers in _contradictions(batch)]


def missing_rows(batch: AuditedBatch, holes: Sequence[tuple[int, int]]) -> list[int]:
    """The first numbers that no row has, though `rows_written` says so; `holes` lie between rows that there are."""
    first = min((rows.first_row for rows in batch.rows.values()), default=0)
    last = max((rows.last_row for rows in batch.rows.values()), default=-1)
    end = last + 1 if batch.error_code is not None else batch.rows_written
    return list(_first_of([(0, first - 1), *holes, (last + 1, end - 1)]))


def rows_missing(batch: AuditedBatch) -> int:
    """How many numbers have no row, though `rows_written` says that they have."""
    if batch.error_code is not None:
        # A batch that was given up counts what it has no row for as written and failed: only gaps are missing.
        return max((rows.last_row + 1 for rows in batch.rows.values()), default=0) - _rows(batch)
    return max(0, batch.rows_written - _rows(batch))


def standing_still(batch: AuditedBatch, before_ms: int) -> list[State]:
    """The live states in which numbers have stood still since before a deadline, though nothing holds them.

    Pending numbers wait their turn as long as their batch moves at all; those of a paused batch wait by intent.
    """
    states = [state for state in (State.QUEUED, State.SENDING, State.RETRYING) if _still(batch, state)]
    if _still(batch, State.PENDING) and _should_move(batch, before_ms):
        states.append(State.PENDING)
    return states


def unwritten_finding(batch: AuditedBatch, before_ms: int) -> list[Finding]:
    """The recipients that have had no row since before a deadline."""
    unwritten = batch.recipients - batch.rows_written
    if unwritten <= 0 or batch.was_given_up or max(batch.written_at_ms, _newest_update_ms(batch)) >= before_ms:
        return []
    rows = _first_of([(batch.rows_written, batch.recipients - 1)])
    return [Finding(batch.batch_id, "recipients whose row was never written", unwritten, tuple(rows))]


def _contradictions(batch: AuditedBatch) -> Iterator[tuple[str, int]]:
    expected = expected_counters(batch)
    for state in State:
        if (counted := batch.counters[state]) != (there := expected[state]):
            yield f"the counter of {state} says {counted}, the rows come to {there}", abs(counted - there)
    if (total := sum(batch.counters.values())) != batch.recipients:
        yield f"the counters add up to {total}, the batch has {batch.recipients} recipients", 0
    if batch.rows_written > batch.recipients:
        yield f"{batch.rows_written} rows are written, the batch has {batch.recipients} recipients", 0
    if (more := _rows(batch) - batch.rows_written) > 0:
        yield f"{more} more rows than the {batch.rows_written} that are written", 0
    yield from ((what, 0) for what in _wrong_state(batch))


def expected_counters(batch: AuditedBatch) -> dict[State, int]:
    """What the counters should say: each state's rows, and under `pending` those that have no row yet.

    In a batch that was given up these count under `failed`, for they will never have one.
    """
    expected = {state: batch.rows[state].number if state in batch.rows else 0 for state in State}
    unwritten = max(0, batch.recipients - batch.rows_written)
    expected[State.FAILED if batch.was_given_up else State.PENDING] += unwritten
    if batch.error_code is not None:
        expected[State.FAILED] += max(0, batch.rows_written - _rows(batch))
    return expected


def _wrong_state(batch: AuditedBatch) -> Iterator[str]:
    live = sum(batch.counters[state] for state in LIVE_STATES)
    if batch.state is BatchState.FINISHED and live:
        yield f"the batch is finished, and {live} numbers are not"
    if batch.state in _UNFINISHED and not live and batch.recipients:
        yield f"every number is final, and the batch is {batch.state}"
    if batch.state is BatchState.FINISHED and batch.finished_at_ms is None:
        yield "the batch is finished, and does not say since when"
    if batch.state in _UNFINISHED and batch.finished_at_ms is not None:
        yield f"the batch is {batch.state}, and says when it finished"


def _should_move(batch: AuditedBatch, before_ms: int) -> bool:
    if batch.state is BatchState.SCHEDULED:
        return (batch.send_at_ms or 0) < before_ms
    return batch.state is BatchState.CANCELLED or (
        batch.state is BatchState.RUNNING and _newest_update_ms(batch) < before_ms
    )


def _still(batch: AuditedBatch, state: State) -> int:
    return batch.rows[state].still if state in batch.rows else 0


def _rows(batch: AuditedBatch) -> int:
    return sum(rows.number for rows in batch.rows.values())


def _newest_update_ms(batch: AuditedBatch) -> int:
    return max((rows.newest_update_ms for rows in batch.rows.values()), default=0)


def _first_of(found: Iterable[tuple[int, int]]) -> list[int]:
    """The first rows of ascending ranges, both ends included."""
    rows: list[int] = []
    for first, last in found:
        rows += range(first, min(last + 1, first + KEPT_ROWS - len(rows)))
    return rows
