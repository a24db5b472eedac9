"""What is installed for one purpose includes what is installed for the one below it, in the same versions."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def pins(lock: str) -> set[str]:
    lines = (REPOSITORY / lock).read_text().splitlines()
    return {line.removesuffix(" \\") for line in lines if "==" in line and not line.startswith((" ", "#"))}


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("requirements.lock", "requirements-dev.lock"), ("requirements-dev.lock", "requirements-bench.lock")],
)
def test_a_lock_includes_the_one_below_it(smaller: str, larger: str) -> None:
    assert pins(smaller)
    assert pins(smaller) <= pins(larger)
