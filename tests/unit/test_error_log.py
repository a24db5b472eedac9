"""A line for each message that ended badly, and never so many that the log is all that a service does."""

import asyncio

import pytest
from structlog.testing import capture_logs

from shared.domain.message import EndedMessage
from shared.domain.outcome import Outcome
from shared.domain.states import State
from shared.error_log import ErrorLog

MESSAGE = EndedMessage("b", 7, "+8613800138000", "default", 2)


@pytest.mark.parametrize("state", [State.FAILED, State.UNKNOWN, State.EXPIRED])
async def test_a_message_that_ended_badly_is_one_line_without_its_number(state: State) -> None:
    with capture_logs() as lines:
        ErrorLog().note(MESSAGE, Outcome(state, "number_unreachable", "There is no such number"))
    assert lines == [
        {
            "event": "message_failed",
            "log_level": "warning",
            "batch_id": "b",
            "row": 7,
            "recipient": "+86138****8000",
            "provider": "default",
            "attempt": 2,
            "state": state.value,
            "code": "number_unreachable",
            "reason": "There is no such number",
        }
    ]


@pytest.mark.parametrize("state", sorted(set(State) - {State.FAILED, State.UNKNOWN, State.EXPIRED}))
async def test_whatever_else_becomes_of_a_message_is_no_line(state: State) -> None:
    with capture_logs() as lines:
        ErrorLog().note(MESSAGE, Outcome(state))
    assert lines == []


async def test_of_one_code_a_hundred_lines_a_second_are_written_and_the_others_are_counted() -> None:
    errors = ErrorLog()
    with capture_logs() as lines:
        for code, times in (("a", 250), ("b", 3)):
            for _ in range(times):
                errors.note(MESSAGE, Outcome(State.FAILED, code, "why"))
        errors.flush()
        errors.note(MESSAGE, Outcome(State.FAILED, "a", "why"))
    events = [(line["event"], line["code"]) for line in lines]
    assert events.count(("message_failed", "a")) == 101
    assert events.count(("message_failed", "b")) == 3
    assert [line["more"] for line in lines if line["event"] == "message_failed_more"] == [150]


async def test_what_was_left_out_is_said_without_another_failure() -> None:
    errors = ErrorLog()
    with capture_logs() as lines:
        for _ in range(101):
            errors.note(MESSAGE, Outcome(State.FAILED, "a", "why"))
        async with asyncio.timeout(10):
            while lines[-1]["event"] != "message_failed_more":
                await asyncio.sleep(0.05)
    assert lines[-1]["more"] == 1
