"""Several addresses of a host share the time of one attempt: their order, and each one's share of it. Pure."""

from collections.abc import Sequence
from itertools import chain, zip_longest

LONGEST_SHARE_SECONDS = 4
"""The longest share of one address while there are others: a lost packet is sent again after 1 s and after 3 s."""


def in_turn(addresses: Sequence[str], reached: str = "") -> list[str]:
    """The addresses with IPv6 and IPv4 by turns, each family in its order; first the one that was `reached` before."""
    if not addresses:
        return []
    is_first = [(":" in address) == (":" in addresses[0]) for address in addresses]
    first = [address for address, is_so in zip(addresses, is_first, strict=True) if is_so]
    second = [address for address, is_so in zip(addresses, is_first, strict=True) if not is_so]
    mixed = [address for address in chain.from_iterable(zip_longest(first, second)) if address is not None]
    return sorted(mixed, key=lambda address: address != reached)


def shares(seconds: float, count: int) -> list[float]:
    """How long to connect to each of so many addresses; the last one has all that is left."""
    return [min(LONGEST_SHARE_SECONDS, seconds / (count + 1)) for _ in range(count - 1)] + [seconds] * (count > 0)
