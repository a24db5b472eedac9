"""What is said of the transports holds on both event loops."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.support.scripted_provider import Open, open_aiohttp, open_http1

_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The transport for odd cases, on the loop for machines without uvloop: `make test` has either with the other."""
    for item in items:
        parts = getattr(item, "callspec", None) and item.callspec.id.split("-")[:2]  # type: ignore[attr-defined]
        if parts == ["asyncio", "aiohttp"] and _HERE in item.path.parents:
            item.add_marker(pytest.mark.large)


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=[open_http1, open_aiohttp], ids=["http1", "aiohttp"])
def opened(request: pytest.FixtureRequest) -> Open:
    """Each transport, which keep one contract."""
    return request.param  # type: ignore[no-any-return]
