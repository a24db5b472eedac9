"""Where a server is, as logs may show it."""

from urllib.parse import urlsplit


def place(url: str, default_port: int) -> str:
    """Host and port of a URL (of a socket's its path), without user and password."""
    parts = urlsplit(url)
    if not parts.netloc and parts.path:
        return parts.path
    host = parts.hostname or "localhost"
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or default_port}"
