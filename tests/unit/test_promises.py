"""What the documents and the fault suite's self-check refer to is there."""

import ast
import re
from pathlib import Path

import pytest

from tests.faults.breakages import BREAKAGES, Breakage

ROOT = Path(__file__).parents[2]
GUARANTEES = ROOT / "docs/guarantees.md"
_TEST_NAME = re.compile(r"`(test_\w+)(?P<file>\.py)?(?P<more>…)?`")


def functions() -> set[str]:
    """The names of all tests."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_test_that_the_guarantees_name_is_there() -> None:
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    known = functions()
    named = list(_TEST_NAME.finditer(GUARANTEES.read_text()))
    assert len(named) > 50
    for match in named:
        name = match[1]
        if match["file"]:
            assert f"{name}.py" in files
        elif match["more"]:
            assert any(function.startswith(name) for function in known), name
        else:
            assert name in known


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.mistake)
def test_every_breakage_still_finds_the_code_that_it_breaks(breakage: Breakage) -> None:
    for edit in breakage.edits:
        assert (ROOT / edit.file).read_text().count(edit.old) == 1, edit.file
        assert edit.new != edit.old


def test_every_scenario_is_broken_by_something() -> None:
    assert {number for breakage in BREAKAGES for number in breakage.scenarios} == set(range(1, 46)) - {33}
