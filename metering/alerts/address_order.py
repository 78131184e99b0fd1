"""Orders the addresses of a host and divides the time of one attempt among them (RFC 8305). Pure."""

from collections.abc import Sequence
from itertools import chain, zip_longest

LONGEST_SHARE_SECONDS = 4
"""The longest share of one address while there are others: a lost packet is sent again after 1 s and after 3 s."""


def in_turn(addresses: Sequence[str], reached: str = "") -> list[str]:
    """The addresses, IPv6 and IPv4 alternating, each family in its order; the one `reached` before comes first."""
    if not addresses:
        return []
    is_first = [(":" in address) == (":" in addresses[0]) for address in addresses]
    first = [address for address, is_so in zip(addresses, is_first, strict=True) if is_so]
    second = [address for address, is_so in zip(addresses, is_first, strict=True) if not is_so]
    mixed = [address for address in chain.from_iterable(zip_longest(first, second)) if address is not None]
    return sorted(mixed, key=lambda address: address != reached)


def shares(seconds: float, count: int) -> list[float]:
    """Connect timeout of each of `count` addresses; the last one gets the remaining time."""
    return [min(LONGEST_SHARE_SECONDS, seconds / (count + 1)) for _ in range(count - 1)] + [seconds] * (count > 0)
