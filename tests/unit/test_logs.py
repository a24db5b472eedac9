"""Logs: one JSON object a line, and no full phone number in any of them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.logs import mask_numbers, shortened

NUMBER = "13800138000"
PREAMBLE = "import logging, structlog\nfrom shared import logs\nlogs.configure('sender', 'INFO')\n"


def logged(code: str) -> list[dict[str, Any]]:
    """What a process logs that configures logs and runs the code; every line has to be a JSON object."""
    ended = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == b""
    return [orjson.loads(line) for line in ended.stderr.splitlines()]


def masked(value: Any, key: str = "reason") -> Any:
    return mask_numbers(None, "info", {key: value})[key]


def test_a_log_line_is_one_json_object_with_service_level_logger_and_time() -> None:
    (line,) = logged("structlog.get_logger('a.b').warning('number_failed', batch_id='b', row=7)")
    timestamp = line.pop("timestamp")
    assert line == {
        "event": "number_failed",
        "batch_id": "b",
        "row": 7,
        "service": "sender",
        "level": "warning",
        "logger": "a.b",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", timestamp)


def test_a_text_with_line_ends_stays_on_one_line() -> None:
    (line,) = logged(r"structlog.get_logger().info('event', reason='one\ntwo\r\n{\"a\": 1}')")
    assert line["reason"] == 'one\ntwo\r\n{"a": 1}'


def test_lines_below_the_level_are_not_written() -> None:
    (line,) = logged("log = structlog.get_logger()\nlog.debug('a')\nlog.info('b')")
    assert line["event"] == "b"


def test_libraries_log_only_warnings_even_at_the_level_debug() -> None:
    lines = logged(
        "logs.configure('sender', 'DEBUG')\nlibrary = logging.getLogger('aiosqlite')\nlibrary.debug('a')\n"
        "library.info('b')\nlibrary.warning('c')\nstructlog.get_logger('services.sender').debug('d')"
    )
    assert [line["event"] for line in lines] == ["c", "d"]


def test_a_number_is_masked_in_the_event_and_in_every_text_field() -> None:
    (line,) = logged(f"structlog.get_logger().info('to {NUMBER}', a='+86{NUMBER}', exception='({NUMBER})')")
    assert line["event"] == "to 138****8000"
    assert (line["a"], line["exception"]) == ("+86138****8000", "(138****8000)")


def test_a_number_is_masked_in_a_traceback() -> None:
    (line,) = logged(
        f"try:\n    raise ValueError('no route to +86{NUMBER}')\n"
        "except ValueError:\n    structlog.get_logger().exception('call_failed')"
    )
    assert "ValueError: no route to +86138****8000" in line["exception"]
    assert NUMBER not in orjson.dumps(line).decode()


def test_a_librarys_own_log_line_is_json_too_and_masked() -> None:
    (line,) = logged(f"logging.getLogger('library').warning('to %s: %s', '+86{NUMBER}', 'refused')")
    assert (line["event"], line["logger"], line["level"]) == ("to +86138****8000: refused", "library", "warning")


def test_a_number_is_masked_in_the_traceback_of_a_library() -> None:
    (line,) = logged(
        f"try:\n    raise KeyError('{NUMBER}')\nexcept KeyError:\n    logging.getLogger('library').exception('failed')"
    )
    assert "KeyError" in line["exception"]
    assert NUMBER not in orjson.dumps(line).decode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"+86{NUMBER}", "+86138****8000"),
        (NUMBER, "138****8000"),
        (f"to={NUMBER}", "to=138****8000"),
        (f"'{NUMBER}'", "'138****8000'"),
        (f"to:{NUMBER},{NUMBER}.", "to:138****8000,138****8000."),
        (f'{{"to":"+86{NUMBER}"}}', '{"to":"+86138****8000"}'),
        ("+16502530000 and 12345678", "+165****0000 and ****5678"),
    ],
)
def test_what_looks_like_a_number_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "HTTP 503 after 10000 ms",
        "1234567",
        "0198c0de-0000-8000-8000-000000000000:7",
        "12345678-1234-8234-8234-123456789012",
        "2026-03-01T12:00:00.000000Z",
        "PostgreSQL at 192.168.100.200:5432: refused",
    ],
)
def test_what_is_no_number_is_left(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("text", ["12.34.56.78", "+12.34.56.78:1", "138.001.38.000:123456", "1.38.00.13.80:00"])
def test_a_number_that_is_grouped_by_dots_is_no_address(text: str) -> None:
    assert masked(text) != text


@pytest.mark.parametrize("key", ["timestamp", "batch_id", "message_id", "client", "key_id"])
def test_ids_and_times_are_left_as_they_are(key: str) -> None:
    assert masked("12345678901", key) == "12345678901"


@pytest.mark.parametrize("key", ["connection", "node", "server"])
def test_names_of_processes_and_servers_are_left_as_they_are(key: str) -> None:
    name = "sender@sender-1380013800/4194304-048213 publishes"
    assert masked(name, key) == name


@pytest.mark.parametrize("value", [7, 1.5, True, None])
def test_what_is_no_text_is_left_as_it_is(value: object) -> None:
    assert masked(value) is value


@settings(deadline=None)
@given(
    number=st.from_regex(r"\+?[1-9][0-9]{7,14}", fullmatch=True),
    before=st.sampled_from(["", " ", "to=", "'", '"', "(", "[", ":", "/", ",", "+", "\n"]),
    after=st.sampled_from(["", " ", ".", "'", '"', ")", "]", ":", "/", ",", ";", "\n"]),
)
def test_a_number_among_punctuation_never_stays_whole(number: str, before: str, after: str) -> None:
    shown = masked(f"{before}{number}{after}")
    assert number.lstrip("+") not in shown
    assert number[-8:-4] + number[-4:] not in shown


@pytest.mark.parametrize(
    "text",
    [
        f"手机号{NUMBER}格式错误",
        f"to=%2B86{NUMBER}",
        f"number_{NUMBER}",
        f"tel-{NUMBER}",
        f"{NUMBER}-1",
        f"+86 {NUMBER[:3]} {NUMBER[3:7]} {NUMBER[7:]}",
    ],
)
def test_a_number_is_masked_whatever_stands_beside_it(text: str) -> None:
    assert masked(text) != text


@pytest.mark.parametrize("value", [[NUMBER], {"to": NUMBER}, (NUMBER,), ValueError(NUMBER), int(NUMBER)])
def test_a_number_inside_a_field_is_masked(value: object) -> None:
    assert NUMBER not in orjson.dumps(masked(value), default=str).decode()


@pytest.mark.parametrize("value", ["'\\udcff'", "2**64", "{1: 2}"])
def test_no_value_is_too_strange_to_be_logged(value: str) -> None:
    (line,) = logged(f"structlog.get_logger().info('event', value={value})")
    assert line["event"] == "event"


@pytest.mark.parametrize("text", ["x" * 100_000, "媒" * 5000, '"\\' * 3000, "\x01" * 2000])
def test_a_line_has_a_kilobyte_at_the_most_and_keeps_what_is_short(text: str) -> None:
    event = {"event": "request", "reason": text, "values": [text], "status": 404, "batch_id": "b" * 36}
    short = shortened(event, 1024)
    assert 512 < len(orjson.dumps(short)) <= 1024
    assert (short["event"], short["status"], short["batch_id"]) == ("request", 404, "b" * 36)
    assert text.startswith(short["reason"].removesuffix("…"))


def test_of_a_long_traceback_the_end_is_kept() -> None:
    short = shortened({"event": "request_failed", "exception": "x" * 20_000 + "ValueError: why"}, 8192)
    assert len(orjson.dumps(short)) <= 8192
    assert short["exception"].endswith("ValueError: why")


def test_a_line_that_is_short_enough_is_left_as_it_is() -> None:
    event = {"event": "e", "reason": "x" * 900, "nested": {"a": [1]}}
    assert shortened(event, 1024) is event


def test_what_a_process_logs_is_bounded() -> None:
    (line,) = logged("structlog.get_logger().info('event', reason='x' * 5000)")
    assert len(orjson.dumps(line)) <= 1024
