"""What an audit holds against each other, without a ledger, a broker or a provider."""

from dataclasses import replace

import pytest

from shared.domain.states import BatchState, State
from shared.ledger.auditing import AuditedBatch, AuditedRow, CountedRows
from tools.ctl.auditing.batches import (
    batch_findings,
    missing_rows,
    rows_missing,
    standing_still,
    unwritten_finding,
)
from tools.ctl.auditing.findings import KEPT_ROWS, Finding, RowFindings, ranges
from tools.ctl.auditing.letters import AuditedLetters, batch_letter_findings, missing_letters, stale_letters
from tools.ctl.auditing.provider import ProviderCheck, knows_nothing
from tools.ctl.auditing.queues import beside

BATCH = "01970000-0000-8000-8000-000000000000"
ENDED_MS, DEADLINE_MS = 1000, 5000


def counted(number: int, first: int = 0, *, still: int = 0, newest_ms: int = ENDED_MS) -> CountedRows:
    return CountedRows(number, still, first, first + number - 1, newest_ms)


def batch_of(rows: dict[State, CountedRows], **fields: object) -> AuditedBatch:
    """A batch whose counters say what its rows come to."""
    number = sum(of_state.number for of_state in rows.values())
    counters = {state: rows[state].number if state in rows else 0 for state in State}
    batch = AuditedBatch(
        batch_id=BATCH,
        state=BatchState.FINISHED,
        may_resend=False,
        recipients=number,
        rows_written=number,
        written_at_ms=ENDED_MS,
        send_at_ms=None,
        finished_at_ms=ENDED_MS,
        error_code=None,
        counters=counters,
        rows=rows,
    )
    return replace(batch, **fields)


def whats(batch: AuditedBatch) -> list[str]:
    return [finding.what for finding in batch_findings(batch)]


FITTING = batch_of({State.SENT: counted(7), State.FAILED: counted(3, 7)})


def test_a_batch_that_fits_has_no_findings() -> None:
    assert batch_findings(FITTING) == []
    assert rows_missing(FITTING) == 0
    assert standing_still(FITTING, DEADLINE_MS) == []
    assert unwritten_finding(FITTING, DEADLINE_MS) == []


def test_recipients_without_a_row_count_as_pending() -> None:
    rows = {State.PENDING: counted(4), State.INVALID: counted(1, 4)}
    counters = {**dict.fromkeys(State, 0), State.PENDING: 9, State.INVALID: 1}
    batch = batch_of(rows, recipients=10, counters=counters, state=BatchState.RUNNING, finished_at_ms=None)
    assert whats(batch) == []
    short = replace(batch, counters={**counters, State.PENDING: 8})
    assert whats(short) == [
        "the counter of pending says 8, the rows come to 9",
        "the counters add up to 9, the batch has 10 recipients",
    ]
    assert unwritten_finding(batch, ENDED_MS) == []
    (finding,) = unwritten_finding(batch, DEADLINE_MS)
    assert (finding.numbers, finding.first_rows) == (5, (5, 6, 7, 8, 9))


def test_a_batch_given_up_counts_what_has_no_row_as_failed() -> None:
    counters = {**dict.fromkeys(State, 0), State.SENT: 7, State.FAILED: 3}
    batch = batch_of(
        {State.SENT: counted(7)}, recipients=10, rows_written=10, counters=counters, error_code="not_storable"
    )
    assert whats(batch) == []
    assert rows_missing(batch) == 0
    assert "the counter of failed says 3, the rows come to 0" in whats(replace(batch, error_code=None))
    assert rows_missing(replace(batch, error_code=None)) == 3


@pytest.mark.parametrize(
    ("state", "finished_at_ms", "live", "said"),
    [
        (BatchState.FINISHED, ENDED_MS, True, ["the batch is finished, and 1 numbers are not"]),
        (BatchState.FINISHED, None, False, ["the batch is finished, and does not say since when"]),
        (BatchState.RUNNING, None, False, ["every number is final, and the batch is running"]),
        (BatchState.RUNNING, ENDED_MS, True, ["the batch is running, and says when it finished"]),
        (BatchState.PAUSED, None, False, ["every number is final, and the batch is paused"]),
        (BatchState.RUNNING, None, True, []),
        (BatchState.CANCELLED, None, True, []),
        (BatchState.CANCELLED, ENDED_MS, False, []),
    ],
)
def test_a_batch_is_finished_when_no_number_is_live(
    state: BatchState, finished_at_ms: int | None, *, live: bool, said: list[str]
) -> None:
    rows = {State.QUEUED if live else State.SENT: counted(1)}
    assert whats(batch_of(rows, state=state, finished_at_ms=finished_at_ms)) == said


def test_rows_are_missing_at_either_end_and_between() -> None:
    rows = {State.SENT: CountedRows(5, 0, 2, 8, ENDED_MS)}
    batch = replace(batch_of(rows), rows_written=10, recipients=10)
    assert rows_missing(batch) == 5
    assert missing_rows(batch, [(4, 5)]) == [0, 1, 4, 5, 9]
    assert missing_rows(replace(batch, rows={}), []) == list(range(10))
    assert len(missing_rows(replace(batch, rows={}, rows_written=10**6), [])) == KEPT_ROWS


@pytest.mark.parametrize(
    ("batch_state", "newest_ms", "send_at_ms", "still"),
    [
        (BatchState.RUNNING, ENDED_MS, None, True),
        (BatchState.RUNNING, DEADLINE_MS + 1, None, False),
        (BatchState.PAUSED, ENDED_MS, None, False),
        (BatchState.CANCELLED, ENDED_MS, None, True),
        (BatchState.SCHEDULED, ENDED_MS, DEADLINE_MS + 1, False),
        (BatchState.SCHEDULED, ENDED_MS, ENDED_MS, True),
    ],
)
def test_pending_numbers_stand_still_with_their_batch(
    batch_state: BatchState, newest_ms: int, send_at_ms: int | None, *, still: bool
) -> None:
    rows = {State.PENDING: counted(3, still=3), State.SENT: counted(2, 3, newest_ms=newest_ms)}
    batch = batch_of(rows, state=batch_state, send_at_ms=send_at_ms, finished_at_ms=None)
    assert standing_still(batch, DEADLINE_MS) == ([State.PENDING] if still else [])


@pytest.mark.parametrize("state", [State.QUEUED, State.SENDING, State.RETRYING])
def test_other_live_numbers_stand_still_alone(state: State) -> None:
    rows = {state: counted(3, still=1), State.SENT: counted(2, 3, newest_ms=DEADLINE_MS + 1)}
    assert standing_still(batch_of(rows, state=BatchState.PAUSED), DEADLINE_MS) == [state]


def row(state: State, attempt: int = 1, *, was_unclear: bool = False, decision: str | None = None) -> AuditedRow:
    return AuditedRow(0, state, attempt, was_unclear, decision)


def against_calls(audited: AuditedRow, calls: int, accepted: int, *, may_resend: bool = False) -> list[str]:
    found = RowFindings(BATCH)
    at_provider = {0: calls} if calls else {}
    check = ProviderCheck(found, at_provider, {0: accepted} if accepted else {}, may_resend=may_resend)
    check.look([audited])
    check.strangers()
    return [finding.what for finding in found.all()]


@pytest.mark.parametrize(
    ("audited", "calls", "accepted"),
    [
        (row(State.SENT), 1, 1),
        (row(State.SENT, 3), 2, 1),
        (row(State.SENT, decision="sent"), 1, 0),
        (row(State.FAILED), 1, 0),
        (row(State.FAILED, decision="failed"), 1, 1),
        (row(State.UNKNOWN), 1, 1),
        (row(State.UNKNOWN), 0, 0),
        (row(State.SENDING), 1, 1),
        (row(State.CANCELLED, 0), 0, 0),
        (row(State.CANCELLED, 1), 1, 0),
        (row(State.PENDING, 1), 1, 0),
        (row(State.SENT, 2, was_unclear=True), 2, 2),
        (row(State.SENT, 2, decision="resend"), 2, 2),
    ],
)
def test_calls_that_fit(audited: AuditedRow, calls: int, accepted: int) -> None:
    assert against_calls(audited, calls, accepted) == []


@pytest.mark.parametrize(
    ("audited", "calls", "accepted", "said"),
    [
        (row(State.SENT), 0, 0, "sent, and the provider accepted no call"),
        (row(State.SENT), 1, 0, "sent, and the provider accepted no call"),
        (row(State.SENT, 1), 2, 1, "the provider was called more often than the ledger has attempts"),
        (row(State.SENT, 2), 2, 2, "the provider accepted it more than once, and the ledger does not say why"),
        (row(State.UNKNOWN, 2), 2, 2, "the provider accepted it more than once, and the ledger does not say why"),
        (row(State.FAILED), 1, 1, "failed, and the provider accepted it"),
        (row(State.EXPIRED), 1, 1, "expired, and the provider accepted it"),
        (row(State.CANCELLED), 1, 1, "cancelled, and the provider accepted it"),
        *(
            (row(state, 0), 1, 0, f"{state}, which never comes to a call, and the provider was called")
            for state in (State.INVALID, State.DUPLICATE, State.SUPPRESSED, State.PENDING, State.QUEUED)
        ),
        (row(State.CANCELLED, 0), 1, 0, "cancelled, which never comes to a call, and the provider was called"),
    ],
)
def test_calls_that_do_not_fit(audited: AuditedRow, calls: int, accepted: int, said: str) -> None:
    assert against_calls(audited, calls, accepted) == [said]


def test_a_batch_that_allows_it_may_be_accepted_twice_but_not_unrecorded() -> None:
    assert against_calls(row(State.SENT, 2), 2, 2, may_resend=True) == []
    assert against_calls(row(State.SENT, 1), 2, 2, may_resend=True) == [
        "the provider was called more often than the ledger has attempts"
    ]


def test_calls_without_a_row_are_strangers() -> None:
    found = RowFindings(BATCH)
    check = ProviderCheck(found, {0: 1, 7: 1}, {0: 1}, may_resend=False)
    check.look([row(State.SENT)])
    check.strangers()
    assert found.all() == [Finding(BATCH, "the provider was called, and there is no such row", 1, (7,))]


def test_a_provider_that_has_forgotten_is_told_from_one_that_was_not_called() -> None:
    assert knows_nothing({}, 3)
    assert not knows_nothing({}, 0)
    assert not knows_nothing({0: 1}, 3)


def letters_of(*message_ids: str | None, is_complete: bool = True) -> AuditedLetters:
    letters = AuditedLetters("sms.dead-letter", is_complete)
    for message_id in message_ids:
        letters.add(message_id)
    return letters


def test_letters_are_kept_by_what_they_name() -> None:
    letters = letters_of(f"{BATCH}:3", f"{BATCH}:12", BATCH, None, "", "x:1", f"{BATCH}:x", f"{BATCH}:1:2")
    assert letters.rows == {BATCH: {3, 12, 0}}
    assert letters.unnamed == 5


def test_a_missing_letter_is_a_note_and_nothing_where_not_all_were_looked_at() -> None:
    found = RowFindings(BATCH)
    missing_letters(found, State.FAILED, [1, 2, 3], letters_of(f"{BATCH}:2"))
    what = "failed, and its letter is not in sms.dead-letter"
    assert found.all() == [Finding(BATCH, what, 2, (1, 3), is_note=True)]
    found = RowFindings(BATCH)
    missing_letters(found, State.FAILED, [1], letters_of(is_complete=False))
    assert found.all() == []


def test_a_stale_letter_is_of_a_row_that_is_final_otherwise_or_gone() -> None:
    rows = [replace(row(state), row=n) for n, state in enumerate([State.FAILED, State.SENT, State.RETRYING])]
    found = RowFindings(BATCH)
    stale_letters(found, State.FAILED, [0, 1, 2, 3], rows)
    assert [(finding.what, finding.first_rows, finding.is_note) for finding in found.all()] == [
        ("a letter in sms.dead-letter, and the number is sent", (1,), True),
        ("a letter in sms.dead-letter, and there is no such row", (3,), True),
    ]


@pytest.mark.parametrize(
    ("error_code", "lettered", "ended", "notes"),
    [
        (None, False, range(2000), 0),
        (None, True, range(2000), 1),
        ("no_content", True, range(2000), 0),
        ("no_content", False, range(2000), 1),
        ("no_content", False, range(1500, 2000), 0),
        ("batch_message_lost", False, range(2000), 0),
    ],
)
def test_a_batch_that_could_not_be_sent_has_a_letter(
    error_code: str | None, ended: range, notes: int, *, lettered: bool
) -> None:
    letters = letters_of(BATCH) if lettered else letters_of()
    found = batch_letter_findings(replace(FITTING, error_code=error_code), letters, ended)
    assert [finding.is_note for finding in found] == [True] * notes


def test_row_numbers_are_shown_as_ranges_and_cut_off() -> None:
    assert ranges([3, 4, 5, 6, 7, 12], 6) == "rows 3-7, 12"
    assert ranges([5], 1) == "row 5"
    assert ranges([1, 2], 500) == "rows 1-2, …"
    assert ranges(range(0, 40, 2), 20) == "rows 0, 2, 4, 6, 8, 10, 12, 14, …"


def test_a_finding_is_a_line() -> None:
    assert Finding(BATCH, "does not fit").line == f"{BATCH}: does not fit"
    assert Finding(BATCH, "wrong", 1, (4,)).line == f"{BATCH}: wrong: 1 number (row 4)"
    assert Finding(BATCH, "wrong", 2).line == f"{BATCH}: wrong: 2 numbers"


def test_gathered_rows_are_bounded() -> None:
    found = RowFindings(BATCH)
    for row_no in range(1000):
        found.add("wrong", row_no)
    (finding,) = found.all()
    assert (finding.numbers, finding.first_rows) == (1000, tuple(range(KEPT_ROWS)))


def test_queues_stand_beside_the_state_that_their_messages_are_in() -> None:
    depths = {
        "sms.batches": 1,
        "sms.outbound.priority": 2,
        "sms.outbound.bulk": 3,
        "sms.retry.5s": None,
        "sms.dead-letter": 5,
        "sms.dead-letter.batches": 6,
        "sms.unknown": 7,
    }
    totals = {state: number for number, state in enumerate(State)}
    seen = {line.queue: (line.state, line.numbers) for line in beside(depths, totals)}
    assert seen == {
        "sms.batches": (None, None),
        "sms.outbound.priority": (State.QUEUED, totals[State.QUEUED]),
        "sms.outbound.bulk": (State.QUEUED, None),
        "sms.retry.5s": (State.RETRYING, totals[State.RETRYING]),
        "sms.dead-letter": (State.FAILED, totals[State.FAILED]),
        "sms.dead-letter.batches": (None, None),
        "sms.unknown": (State.UNKNOWN, totals[State.UNKNOWN]),
    }
