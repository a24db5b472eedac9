"""Which provider takes which message: by lane, pin, template and the number's prefix, then by weight; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.topology import DEFAULT_PROVIDER, Lane

ANY_PROVIDER = DEFAULT_PROVIDER
"""What a batch names that is pinned to no provider."""
ANY_NUMBER = "+"
"""The prefix that every number has (E.164)."""


@dataclass(frozen=True, slots=True)
class Route:
    """What one provider takes. `prefixes` are of numbers in E.164; `templates` are our ids of those that it has one of
    its own for, None where it takes any text."""

    provider: str
    lanes: frozenset[Lane] = frozenset(Lane)
    prefixes: frozenset[str] = frozenset({ANY_NUMBER})
    weight: int = 1
    templates: frozenset[int] | None = None

    def takes(self, lane: str, pin: str, template_id: int | None) -> bool:
        """Whether messages of a batch may go there, whatever their numbers."""
        return (
            lane in self.lanes
            and pin in (ANY_PROVIDER, self.provider)
            and (self.templates is None or template_id in self.templates)
        )


class Stream(NamedTuple):
    """The messages of a batch whose longest known prefix is this one, and the providers that take them."""

    prefix: str
    longer: tuple[str, ...]
    """Prefixes that begin with this one: their numbers are another stream's."""
    routes: tuple[Route, ...]
    """None where no provider serves these numbers."""

    def has(self, number: str) -> bool:
        """Whether a number (E.164) is of this stream."""
        return number.startswith(self.prefix) and not number.startswith(self.longer)


EVERY_NUMBER = Stream(ANY_NUMBER, (), ())


def streams_of(routes: Iterable[Route], lane: str, pin: str, template_id: int | None) -> tuple[Stream, ...]:
    """The streams of a batch: every number is in exactly one, that of the longest prefix that any of the providers has
    which take the batch."""
    taking = [route for route in routes if route.takes(lane, pin, template_id)]
    prefixes = sorted({prefix for route in taking for prefix in route.prefixes} | {ANY_NUMBER})
    return tuple(
        Stream(
            prefix,
            tuple(other for other in prefixes if other != prefix and other.startswith(prefix)),
            tuple(route for route in taking if prefix in route.prefixes),
        )
        for prefix in prefixes
    )


class Routing:
    """The routes of a system, with the streams of its batches."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes
        self._streams: dict[tuple[str, str, int | None], tuple[Stream, ...]] = {}

    def streams(self, lane: str, pin: str, template_id: int | None) -> tuple[Stream, ...]:
        """As `streams_of`."""
        key = lane, pin, template_id
        if (streams := self._streams.get(key)) is None:
            streams = self._streams[key] = streams_of(self.routes, *key)
        return streams

    def takes(self, provider: str, number: str, lane: str, pin: str, template_id: int | None) -> bool:
        """Whether a provider is one of those for a number of such a batch."""
        stream = next(stream for stream in self.streams(lane, pin, template_id) if stream.has(number))
        return any(route.provider == provider for route in stream.routes)


def why_not(routes: Sequence[Route], lane: str, pin: str, template_id: int | None) -> str:
    """Why no provider takes a number of such a batch, as a sentence for people."""
    no_template = sorted(
        route.provider
        for route in routes
        if route.templates is not None and template_id not in route.templates and pin in (ANY_PROVIDER, route.provider)
    )
    what = "content without a template" if template_id is None else f"template {template_id}"
    missing = f"; no template there for {what}: {', '.join(no_template)}" if no_template else ""
    of_pin = "" if pin == ANY_PROVIDER else f" of the provider {pin}"
    return f"No provider serves this number in the lane {lane}{of_pin}{missing}"


class Turns:
    """Shares messages out by weight: over any stretch each provider has its share, evenly spread (smooth weighted round
    robin, as nginx has it)."""

    def __init__(self) -> None:
        self._credit: dict[str, int] = {}

    def share(self, messages: int, weights: Mapping[str, int], rooms: Mapping[str, int]) -> list[str]:
        """The providers of the next messages, by their weights; none gets more than there is room for. Fewer than asked
        for where there is no more room."""
        left = {name: rooms.get(name, 0) for name in weights if rooms.get(name, 0) > 0}
        if len(left) == 1:
            ((only, room),) = left.items()
            return [only] * min(messages, room)
        shared: list[str] = []
        while left and len(shared) < messages:
            total = 0
            for name in left:
                total += weights[name]
                self._credit[name] = self._credit.get(name, 0) + weights[name]
            chosen = max(left, key=lambda name: self._credit[name])
            self._credit[chosen] -= total
            shared.append(chosen)
            left[chosen] -= 1
            if not left[chosen]:
                del left[chosen]
        return shared
