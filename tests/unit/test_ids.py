"""Batch ids: they sort, they repeat for a key, and a misprint is found."""

import uuid

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.domain.ids import is_ours, keyed_batch_id, known_spelling
from shared.ids import new_batch_id

HEX = "0123456789abcdef"
OURS = keyed_batch_id("principal", "key")
times_ms = st.integers(0, 2**48 - 1)
ours = times_ms.map(new_batch_id) | st.builds(keyed_batch_id, st.text(max_size=20), st.text(max_size=40))


@settings(deadline=None)
@given(batch_id=ours)
def test_every_id_that_we_give_out_is_known_as_ours(batch_id: str) -> None:
    assert is_ours(batch_id)


@settings(deadline=None)
@given(batch_id=ours)
def test_every_id_is_a_uuid_of_version_8_in_its_usual_spelling(batch_id: str) -> None:
    parsed = uuid.UUID(batch_id)
    assert (parsed.version, parsed.variant, str(parsed)) == (8, uuid.RFC_4122, batch_id)


@settings(deadline=None, max_examples=300)
@given(batch_id=ours, place=st.integers(0, 35), digit=st.sampled_from(HEX))
def test_any_one_wrong_digit_is_found(batch_id: str, place: int, digit: str) -> None:
    assume(batch_id[place] not in ("-", digit))
    assert not is_ours(batch_id[:place] + digit + batch_id[place + 1 :])


@settings(deadline=None)
@given(earlier_ms=times_ms, later_ms=times_ms)
def test_fresh_ids_sort_by_their_time(earlier_ms: int, later_ms: int) -> None:
    assume(earlier_ms < later_ms)
    assert new_batch_id(earlier_ms) < new_batch_id(later_ms)


def test_fresh_ids_of_one_millisecond_differ() -> None:
    assert len({new_batch_id(1_700_000_000_000) for _ in range(1000)}) == 1000


def test_the_id_of_a_key_never_changes_between_versions_of_this_project() -> None:
    assert keyed_batch_id("principal", "key") == "04a6774f-0451-8444-9998-775d62ab35cf"


@pytest.mark.parametrize(
    ("principal", "key"), [("somebody else", "key"), ("principal", "another key"), ("principalk", "ey")]
)
def test_another_client_or_another_key_has_another_id(principal: str, key: str) -> None:
    assert keyed_batch_id(principal, key) != keyed_batch_id("principal", "key")


@pytest.mark.parametrize(
    "other",
    [
        "",
        "x",
        "12",
        str(uuid.UUID(int=0)),
        "6f1b3c9e-7b0e-4f6e-9d43-0f5b8f0f2f11",
        OURS.replace("-", ""),
        "{" + OURS + "}",
        "urn:uuid:" + OURS,
        OURS + "\n",
        " " + OURS,
        "0198C0DE" + OURS[8:],
    ],
)
def test_anything_else_is_not_ours(other: str) -> None:
    assert not is_ours(other)


def test_our_own_id_in_capitals_is_not_ours() -> None:
    assert OURS.upper() != OURS
    assert not is_ours(OURS.upper())


@settings(deadline=None)
@given(batch_id=ours)
def test_an_id_is_known_in_capitals_and_without_its_dashes(batch_id: str) -> None:
    bare = batch_id.replace("-", "")
    assert {known_spelling(text) for text in (batch_id, batch_id.upper(), bare, bare.upper())} == {batch_id}


@pytest.mark.parametrize(
    "text", [f"{{{OURS}}}", f"urn:uuid:{OURS}", OURS.replace("-", "", 1), f"{OURS}\n", f" {OURS}", OURS[:-1] + "0", ""]
)
def test_what_is_only_like_an_id_is_not_known(text: str) -> None:
    assert known_spelling(text) is None
