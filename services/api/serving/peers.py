"""Who is at the other end: the address of the connection itself, whatever a header says, and how much it may take.

Behind a proxy that is the proxy: bounds by address then hold for all that come through it together.
"""

import ipaddress
from collections import Counter, OrderedDict

_NETWORK_BITS = 64
"""Of an IPv6 address, what one subscriber has at least (RFC 6177): bounds for less could be walked round."""
_WRONG_A_SECOND = 10
_ADDRESSES = 10_000


def network_of(address: str) -> str:
    """What counts as one address: an IPv4 address, an IPv6 network of 64 bits; any other text as it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _NETWORK_BITS), strict=False))


class Places:
    """A number of places, of which nobody may have more than a share."""

    def __init__(self, most: int, share: int) -> None:
        self._most, self._share = most, share
        self._taken: Counter[str] = Counter()

    def enter(self, who: str) -> bool:
        """Take a place, where there is one; it has to be left again."""
        if self._taken.total() >= self._most or self._taken[who] >= self._share:
            return False
        self._taken[who] += 1
        return True

    def leave(self, who: str) -> None:
        """Give a place back."""
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]


class WrongKeys:
    """Requests without a right key, counted by address for a second; what is remembered is bounded."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def are_too_many(self, address: str, now_s: float) -> bool:
        """Count one more at a time in seconds; whether it is beyond what one address may try in a second."""
        network, second = network_of(address), int(now_s)
        begun, count = self._counts.pop(network, (second, 0))
        count = count + 1 if begun == second else 1
        self._counts[network] = second, count
        if len(self._counts) > _ADDRESSES:
            self._counts.popitem(last=False)
        return count > _WRONG_A_SECOND
