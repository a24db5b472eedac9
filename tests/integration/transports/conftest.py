"""What is said of the transports holds on both event loops."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.support.scripted_provider import Open, open_aiohttp, open_http1


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=[open_http1, open_aiohttp], ids=["http1", "aiohttp"])
def opened(request: pytest.FixtureRequest) -> Open:
    """Each transport, which keep one contract."""
    return request.param  # type: ignore[no-any-return]
