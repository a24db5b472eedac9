"""What reaches past pika's public methods is in one file, and pika still has it."""

import ast
import inspect
from pathlib import Path

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection

from shared.amqp import pika_internals

AMQP = Path(pika_internals.__file__).parent
OF_TUPLES = {"_make", "_replace"}


@pytest.mark.parametrize("name", pika_internals.RELIED_ON)
def test_pikas_connection_has_the_method(name: str) -> None:
    assert inspect.isfunction(getattr(AsyncioConnection, name))


@pytest.mark.parametrize("name", ["_frame_buffer", "frames_received"])
def test_pikas_connection_has_the_attribute(name: str) -> None:
    assert f"self.{name} = " in inspect.getsource(pika.connection.Connection)


def test_no_other_file_reaches_past_public_methods() -> None:
    reached = {file.name: _private_of_others(file) - OF_TUPLES for file in AMQP.glob("*.py")}
    assert {name: found for name, found in reached.items() if found} == {
        "pika_internals.py": {"_output_marshaled_frames"}
    }
    own = {node.attr for node in _attributes(AMQP / "pika_internals.py") if node.attr.startswith("_")} - {"__init__"}
    ours = {"_hand_out_deliveries", "_process_one_frame", "_frame_buffer"}
    assert own - ours <= set(pika_internals.RELIED_ON)


def _private_of_others(file: Path) -> set[str]:
    """The private names that a file looks up on something that is not its own class's."""
    found = (node for node in _attributes(file) if node.attr.startswith("_") and not node.attr.startswith("__"))
    return {node.attr for node in found if not (isinstance(node.value, ast.Name) and node.value.id == "self")}


def _attributes(file: Path) -> list[ast.Attribute]:
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)]
