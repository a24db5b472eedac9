import contextlib
import gzip
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.sender.providers.plain.classify import CodeTable, classify
from services.sender.transports import HttpAnswer
from services.sender.transports.http1.answer import AnswerReader, Fields, MalformedAnswer
from shared.domain.outcome import Verdict

BODY = b'{"message_id":"1"}'
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\nRetry-After: 3\r\n\r\n" + BODY,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nRetry-After: 9\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nRetry-After: 3\r\nContent-Length: 18\r\n\r\n" + BODY,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nretry-after: 3\r\n\r\n"
    b"1\r\n{\r\n11;a=b\r\n" + BODY[1:] + b"\r\n0\r\nRetry-After: 8\r\n\r\n",
]  # fmt: skip


def pieces_of(octets: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % len(octets) for cut in cuts}), len(octets)]
    return [octets[start:end] for start, end in pairwise(edges) if start < end]


@given(octets=st.sampled_from(ANSWERS), cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_an_answer_is_the_same_however_it_is_cut_into_pieces(octets: bytes, cuts: list[int]) -> None:
    reader = AnswerReader()
    *early, last = [reader.feed(piece) for piece in pieces_of(octets, cuts)]
    assert early == [None] * len(early)
    assert last is not None
    assert (last.status, last.headers["Retry-After"], last.body) == (200, "3", BODY)
    assert reader.another_may_follow


@given(octets=st.lists(st.sampled_from(ANSWERS), min_size=2, max_size=4))
def test_answers_that_follow_one_another_keep_nothing_of_the_one_before(octets: list[bytes]) -> None:
    reader = AnswerReader()
    for each in octets:
        answer = reader.feed(each)
        assert answer is not None
        assert (answer.body, len([name for name in answer.headers if name == "retry-after"])) == (BODY, 1)


@given(length=st.integers(0, len(ANSWERS[0]) - 1), index=st.integers(0, 2))
def test_a_part_of_an_answer_is_none_even_when_the_connection_ends(length: int, index: int) -> None:
    reader = AnswerReader()
    part = ANSWERS[index][: min(length, len(ANSWERS[index]) - 1)]
    assert (reader.feed(part) if part else None) is None
    assert reader.end() is None


@given(garbage=st.binary(min_size=1, max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
@example(garbage=b"HTTP/1.1 200 OK\n\n", cuts=[])
def test_garbage_is_never_taken_for_accepted(garbage: bytes, cuts: list[int]) -> None:
    _assert_nothing_accepted(pieces_of(garbage, cuts))


@given(
    octets=st.sampled_from(ANSWERS),
    at=st.integers(0, 200),
    garbage=st.binary(min_size=1, max_size=20),
    cuts=st.lists(st.integers(0, 300), max_size=5),
)
def test_an_answer_with_garbage_in_it_raises_nothing_else(
    octets: bytes, at: int, garbage: bytes, cuts: list[int]
) -> None:
    at %= len(octets)
    reader = AnswerReader()
    with contextlib.suppress(MalformedAnswer):
        for piece in pieces_of(octets[:at] + garbage + octets[at:], cuts):
            if (answer := reader.feed(piece)) is not None:
                assert isinstance(answer, HttpAnswer)
                break
        else:
            reader.end()


@given(surplus=st.binary(min_size=1, max_size=50).filter(lambda octets: octets.strip(b"\r\n") != b""))
def test_whatever_comes_behind_an_answer_leaves_it_whole_and_ends_the_connection(surplus: bytes) -> None:
    reader = AnswerReader()
    answer = reader.feed(ANSWERS[0] + surplus)
    assert answer is not None
    assert answer.body == BODY
    assert not reader.another_may_follow


def test_a_trailer_is_no_header() -> None:
    octets = b"HTTP/1.1 429 Slow down\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nRetry-After: 8\r\n\r\n"
    answer = AnswerReader().feed(octets)
    assert answer is not None
    assert list(answer.headers) == ["transfer-encoding"]


def test_an_answer_without_a_length_is_whole_when_the_connection_ends() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:5]) is None
    assert reader.feed(BODY[5:]) is None
    answer = reader.end()
    assert answer is not None
    assert answer.body == BODY


@pytest.mark.parametrize("length", [524_287, 524_288, 524_289, 2_000_000])
def test_512_kib_of_an_errors_body_are_kept(length: int) -> None:
    reader = AnswerReader()
    answer = reader.feed(b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length)
    assert answer is not None
    assert len(answer.body) == min(length, 524_288)
    assert reader.another_may_follow == (length <= 524_288)


def test_a_2xx_is_believed_up_to_512_kib_and_not_where_its_body_goes_on_behind_a_good_object() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    answer = AnswerReader().feed(head % 524_288 + BODY.ljust(524_288))
    assert answer is not None
    assert classify(200, {}, answer.body, CodeTable(), datetime.now(UTC)).verdict is Verdict.ACCEPTED
    with pytest.raises(MalformedAnswer):
        AnswerReader().feed(head % 524_289 + BODY.ljust(524_289))


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\r\nServer: a\0b\r\nContent-Length: 18\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\nRetry-After: \0\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nSer\0ver: a\r\nContent-Length: 18\r\n\r\n" + BODY,
        b"HTTP/1.1 100 Continue\r\nA: \0\r\n\r\n" + ANSWERS[0],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n" + BODY + b"\r\n0\r\nA: \0\r\n\r\n",
    ],
    ids=["in a value", "as a value", "in a name", "in an interim answer", "in a trailer"],
)
def test_an_answer_with_a_nul_in_its_headers_is_none(octets: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        AnswerReader().feed(octets)


def test_an_answer_compressed_against_our_wish_is_not_understood() -> None:
    packed = gzip.compress(BODY)
    octets = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    _assert_nothing_accepted([octets])


def test_header_fields_are_found_without_regard_to_case_and_the_first_counts() -> None:
    fields = Fields([(b"RETRY-after", b"1"), (b"Retry-After", b"2"), (b"X-Odd", b"caf\xe9")])
    assert fields.get("Retry-After") == "1"
    assert fields["x-odd"] == "café"
    assert fields.get("Content-Type") is None
    assert fields.get("空") is None
    assert (list(fields), len(fields)) == (["retry-after", "x-odd"], 2)


def _assert_nothing_accepted(pieces: list[bytes]) -> None:
    reader = AnswerReader()
    answers: list[HttpAnswer | None] = []
    with contextlib.suppress(MalformedAnswer):
        for piece in pieces:
            answers.append(reader.feed(piece))
            if answers[-1] is not None:
                break
        else:
            answers.append(reader.end())
    for answer in filter(None, answers):
        result = classify(answer.status, answer.headers, answer.body, CodeTable(), datetime.now(UTC))
        assert result.verdict is not Verdict.ACCEPTED
