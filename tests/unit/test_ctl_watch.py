"""Watching a batch: events, lost streams, plain lines."""

from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from tools.ctl.batches.display import PlainLines
from tools.ctl.batches.sending import follow_all
from tools.ctl.batches.snapshots import Snapshot, in_order, total
from tools.ctl.batches.sse import event_data
from tools.ctl.batches.watch import watch
from tools.ctl.errors import Interrupted, Refused, Unreachable

RUNNING = Snapshot(status="running", recipients=3, counts={"queued": 2, "sent": 1})
FINISHED = Snapshot(status="finished", recipients=3, counts={"sent": 3})
GONE = Unreachable("gone")


class ScriptedApi:
    """Answers with what it was given, in order; the last answer stays."""

    def __init__(self, streams: list[list[Snapshot | BaseException]], answers: list[Snapshot | BaseException]) -> None:
        self._streams, self._answers = streams, answers

    def events(self, batch_id: str) -> Iterator[Snapshot]:
        for item in self._streams.pop(0) if self._streams else []:
            yield _given(item)

    def batch(self, batch_id: str) -> Snapshot:
        return _given(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


def _given(item: Snapshot | BaseException) -> Snapshot:
    if isinstance(item, BaseException):
        raise item
    return item


def _watched(api: ScriptedApi, patience_s: float = 60) -> list[Snapshot]:
    return list(watch(api, "b", pause_s=0, patience_s=patience_s))


def test_events_are_shown_to_the_end_of_the_batch() -> None:
    assert _watched(ScriptedApi([[RUNNING, FINISHED, RUNNING]], [RUNNING])) == [RUNNING, FINISHED]


def test_a_lost_stream_is_opened_again() -> None:
    api = ScriptedApi([[RUNNING, GONE], [RUNNING, FINISHED]], [GONE])
    assert _watched(api) == [RUNNING, RUNNING, FINISHED]


def test_without_events_the_batch_is_asked_for() -> None:
    refused = Refused("not there", 404)
    api = ScriptedApi([[refused], [refused], [refused]], [RUNNING, Refused("busy", 503), FINISHED])
    assert _watched(api) == [RUNNING, FINISHED]


def test_an_unknown_batch_is_not_asked_for_again() -> None:
    with pytest.raises(Refused):
        _watched(ScriptedApi([], [Refused("unknown", 404)]))


def test_an_api_that_stays_away_is_given_up() -> None:
    with pytest.raises(Unreachable):
        _watched(ScriptedApi([[GONE]], [GONE]), patience_s=0)


def test_who_stops_watching_is_told_how_to_go_on() -> None:
    api = ScriptedApi([[RUNNING, KeyboardInterrupt()]], [RUNNING])
    with pytest.raises(Interrupted, match="smsctl status b --follow") as caught:
        follow_all(api, ["b"], Console())
    assert caught.value.exit_status == 130


def test_a_cancelled_batch_has_ended_when_no_number_is_under_way() -> None:
    assert not Snapshot(status="cancelled", counts={"sending": 1, "cancelled": 2}).has_ended
    assert Snapshot(status="cancelled", counts={"sending": 0, "cancelled": 3}).has_ended


def test_only_final_states_count_as_done() -> None:
    counts = {"pending": 1, "queued": 1, "sending": 1, "retrying": 1, "sent": 5, "failed": 2, "invalid": 1}
    assert Snapshot(status="running", recipients=12, counts=counts).done == 8


def test_counts_are_in_the_order_of_a_numbers_way_and_without_zeros() -> None:
    assert in_order({"failed": 1, "sent": 2, "queued": 3, "expired": 0, "new": 4}) == [
        ("queued", 3),
        ("sent", 2),
        ("failed", 1),
        ("new", 4),
    ]


def test_the_counts_of_several_batches_are_added() -> None:
    assert total([{"sent": 2, "failed": 1}, {"sent": 3}]) == {"sent": 5, "failed": 1}


@pytest.mark.parametrize(
    ("lines", "data"),
    [
        (["id: 1", "data: {}", ""], ["{}"]),
        ([": ping", "", "data:a", "", "data: b", ""], ["a", "b"]),
        (["event: counts", "data: a", "data: b", "", ""], ["a\nb"]),
        (["data: cut off"], []),
        (["retry: 1000", ""], []),
    ],
)
def test_events_are_read_as_the_standard_says(lines: list[str], data: list[str]) -> None:
    assert list(event_data(lines)) == data


def _lines_of(snapshots: list[Snapshot], pause_s: float) -> list[str]:
    lines: list[str] = []
    show: Callable[[Snapshot], None] = PlainLines(lines.append, pause_s)
    for snapshot in snapshots:
        show(snapshot)
    return lines


def test_plain_lines_are_held_back_but_for_the_last() -> None:
    later = Snapshot(status="running", recipients=3, counts={"queued": 1, "sent": 2})
    assert _lines_of([RUNNING, later, FINISHED], pause_s=3600) == [
        "1/3 running  queued 2, sent 1",
        "3/3 finished  sent 3",
    ]


def test_plain_lines_are_not_repeated() -> None:
    assert _lines_of([RUNNING, RUNNING, FINISHED], pause_s=0) == [
        "1/3 running  queued 2, sent 1",
        "3/3 finished  sent 3",
    ]


def test_a_batch_whose_size_is_not_known_yet_has_a_line() -> None:
    assert _lines_of([Snapshot(status="accepted")], pause_s=0) == ["0/? accepted"]
