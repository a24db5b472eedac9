"""What this machine offers to the tests, and what happens where something is missing."""

import functools
import os
from typing import NoReturn

import docker
import pytest

IN_CI = bool(os.environ.get("CI"))


class NotHere(Exception):
    """This machine does not have it; the message names the package, or what else would bring it."""


@functools.cache
def has_docker() -> bool:
    """Whether a Docker engine answers."""
    try:
        client = docker.from_env(timeout=5)
        client.ping()
        client.close()
    except docker.errors.DockerException:
        return False
    return True


def missing(what: str) -> NoReturn:
    """Skip with the reason; in CI nothing may be missing, so fail."""
    if IN_CI:
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)
