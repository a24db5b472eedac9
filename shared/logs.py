"""JSON logs, one object a line of bounded length, in which no full phone number appears."""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import orjson
import structlog

from shared.domain.phone import mask_numbers_in

_SHORTEST_NUMBER = 10**10
_NUMBERS_BY_NATURE = frozenset(
    {"timestamp", "batch_id", "message_id", "connection", "node", "server", "client", "key_id"}
)
"""What is no phone number whatever it looks like: a process's name has the host's (a container's id may be all digits)
and the process's id."""
_LONGEST_LINE, _LONGEST_WITH_TRACEBACK = 1024, 8192
"""In bytes: a line may tell what somebody else wrote, of any length; a traceback is ours."""
_TRACEBACK = "exception"
_SHORTEST_CUT = 16

Event = MutableMapping[str, Any]


def configure(service: str, level: str) -> None:
    """Send this process's logs, the libraries' too, to stderr as JSON with `service`, `level` and `timestamp`."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        lambda _logger, _method, event: {"service": service, **event},
        mask_numbers,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_json),
            ],
        )
    )
    # Libraries log only warnings: at DEBUG the database drivers would write out numbers and texts.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for ours in ("services", "shared", "tools", "__main__"):
        logging.getLogger(ours).setLevel(level)
    logging.getLogger("aiohttp.server").addFilter(_tell_no_request)
    # pika reports each failure again at every layer; our own layer logs each once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=True,
    )


def _tell_no_request(record: logging.LogRecord) -> bool:
    """What aiohttp says of a request that it cannot parse quotes it, keys and texts: only the kind of error is kept."""
    kind = record.exc_info[0] if record.exc_info else None
    record.msg, record.args = f"request not answered: {kind.__name__ if kind else 'error'}", ()
    record.exc_info = record.exc_text = None
    return True


def mask_numbers(_logger: object, _method: str, event: Event) -> Mapping[str, Any]:
    """Mask whatever may be a phone number, anywhere in the event, also in a library's own messages."""
    return {key: value if key in _NUMBERS_BY_NATURE else _masked(value) for key, value in event.items()}


def _masked(value: Any) -> Any:
    match value:
        case None | bool() | float():
            return value
        case int():
            return value if abs(value) < _SHORTEST_NUMBER else mask_numbers_in(str(value))
        case dict():
            return {_masked(key): _masked(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked(item) for item in value]
    return mask_numbers_in(str(value))


def _json(event: Any, **_options: Any) -> str:
    most = _LONGEST_WITH_TRACEBACK if _TRACEBACK in event else _LONGEST_LINE
    return _octets(shortened(event, most)).decode()


def shortened(event: Mapping[str, Any], most: int) -> Mapping[str, Any]:
    """The event so that its line has at most that many bytes: the longest texts are cut, a traceback at its begin."""
    while (excess := len(_octets(event)) - most) > 0:
        name = max(event, key=lambda name: len(str(event[name])))
        text = str(event[name])
        if len(text) <= _SHORTEST_CUT:
            break
        kept = max(len(text) - excess - len("…".encode()), len(text) // 2)
        event = {**event, name: f"…{text[-kept:]}" if name == _TRACEBACK else f"{text[:kept]}…"}
    return event


def _octets(event: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # Lone surrogates, which orjson refuses: no line is lost for them.
        return json.dumps(event, default=str, ensure_ascii=False).encode("utf-8", "replace")
