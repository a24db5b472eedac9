"""Times as people and clients read them."""

from datetime import UTC, datetime


def rfc3339(time_ms: int) -> str:
    """A time as the HTTP contract writes it, in UTC with milliseconds."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
