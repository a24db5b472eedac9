"""What the figures were measured on: date, machine, versions."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks import provider
from benchmarks.parts import Parts

_OURS = ("aiohttp", "aio-pika", "asyncpg", "pika", "sqlalchemy", "uvloop")
_FRAMEWORKS = ("faststream", "taskiq", "taskiq-aio-pika", "dramatiq", "celery", "kombu", "requests")


def about(parts: Parts) -> dict[str, str]:
    """Names and values for people."""
    memory_gib = psutil.virtual_memory().total / 1024**3
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{_processor()}, {psutil.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()}",
        "Python": platform.python_version(),
        "broker": parts.broker.version,
        "database": parts.database.version,
        "provider": f"{provider.version()}, answers at once",
        "libraries": _versions(_OURS),
    }


def frameworks() -> dict[str, str]:
    """The versions of what ours is compared with."""
    return {"frameworks": _versions(_FRAMEWORKS)}


def _versions(packages: Sequence[str]) -> str:
    return ", ".join(f"{package} {version(package)}" for package in packages)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
