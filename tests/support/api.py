"""Posting to the api in tests."""

from collections.abc import Sequence
from typing import Any

import requests

from tests.support.processes import ServiceProcess

TIMEOUT_S = 60


def post(api: ServiceProcess, recipients: Sequence[Any] = ("+8613800138000",), **headers: str) -> requests.Response:
    """Post a batch as JSON; `Idempotency_Key` and the like become headers."""
    body = {"recipients": list(recipients), "content": "hello"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(f"{api.url}/v1/batches", json=body, headers=named, timeout=TIMEOUT_S)


def get(api: ServiceProcess, path: str, **options: Any) -> requests.Response:
    """Get a path of the api."""
    return requests.get(f"{api.url}{path}", timeout=TIMEOUT_S, **options)


def is_alive(api: ServiceProcess) -> bool:
    """Whether it answers at all, ready or not."""
    try:
        return requests.get(f"{api.url}/healthz", timeout=2).ok
    except requests.RequestException:
        return False
