"""What the sample batch is made of."""

from collections import Counter

import pytest

from shared.domain.phone import InvalidNumber, normalise
from tools.ctl.batches import sample
from tools.ctl.batches.sample import composition, sample_recipients
from tools.simulator.behaviour import ENDINGS, Behaviour

SIZES = [sample.FEWEST, 100, 2000, sample.MOST]
FOREVER = {ending for ending, mode in ENDINGS.items() if mode in (Behaviour.UNAVAILABLE, Behaviour.THROTTLE)}


@pytest.mark.parametrize("size", SIZES)
def test_the_groups_add_up_and_each_has_someone(size: int) -> None:
    sizes = composition(size)
    assert sum(sizes.values()) == size == len(sample_recipients(size))
    assert min(sizes.values()) >= 1


@pytest.mark.parametrize("size", SIZES)
def test_the_numbers_are_what_the_groups_say(size: int) -> None:
    read = [normalise(number, "CN") for number in sample_recipients(size)]
    valid = [number for number in read if isinstance(number, str)]
    endings = Counter(number[-4:] for number in set(valid) if number[-4:] in ENDINGS)
    sizes = {group.name: size for group, size in composition(size).items()}
    expected = {group.ending: sizes[group.name] for group in sample.GROUPS if group.ending}
    assert endings == expected
    assert len(valid) - len(set(valid)) == sizes["repeated"]
    assert sum(isinstance(number, InvalidNumber) for number in read) == sizes["short"] + sizes["letters"]


def test_nobody_in_the_sample_is_retried_for_an_hour() -> None:
    assert not FOREVER & {group.ending for group in sample.GROUPS}


def test_the_sample_is_the_same_every_time_and_mixed() -> None:
    numbers = sample_recipients(2000)
    assert numbers == sample_recipients(2000)
    refused = [index for index, number in enumerate(numbers) if number.endswith("9005")]
    assert refused[0] < 500
    assert refused[-1] > 1500


def test_no_number_of_the_sample_is_anybodys() -> None:
    read = {normalise(number, "CN") for number in sample_recipients(2000)}
    assert {number[:6] for number in read if isinstance(number, str)} == {"+86154"}
