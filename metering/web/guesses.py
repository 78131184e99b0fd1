"""Slows guesses of the token: each wrong token of an address is answered later than the one before.

The right token is never counted, delayed or refused, whatever others try from the same address. Must not know the
token.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

FREE = 5
"""The first wrong tokens of an address are answered at once, for people who mistype."""
MOST_SECONDS = 4
"""Shorter than the usual timeout of a client, so that a wrong token is told as such."""
FORGOTTEN_SECONDS = 900
MOST_ADDRESSES = 1000
"""Beyond this number the address with the oldest guess is forgotten."""
MOST_WAITING = 16
"""Answers that are delayed at a time. A guess beyond is refused at once, since each delay takes a slot of the pages."""


class Guesses:
    """Wrong tokens per address. Belongs to the thread of the server's loop."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns, most_waiting: int = MOST_WAITING) -> None:
        self._clock, self._most_waiting = clock, most_waiting
        self._wrong: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self.waiting = 0

    @property
    def are_too_many(self) -> bool:
        """Whether no further answer may be delayed."""
        return self.waiting >= self._most_waiting

    def count(self, peer: str) -> int:
        """Counts a wrong token; returns the seconds by which its answer is delayed."""
        name, now = network_of(peer), self._clock() // 1_000_000_000
        number, last = self._wrong.pop(name, (0, now))
        number = 1 if now - last >= FORGOTTEN_SECONDS else number + 1
        self._wrong[name] = number, now
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        return 0 if number <= FREE else min(MOST_SECONDS, 1 << min(number - FREE - 1, 10))


def network_of(peer: str) -> str:
    """The address, or the /64 network of an IPv6 address, because one client can use all addresses of it."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if address.version == 4:
        return peer
    return str(ipaddress.ip_network((address, 64), strict=False))
