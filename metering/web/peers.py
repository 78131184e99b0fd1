"""Finds the user that owns the other end of a connection on this machine, by the tables of Linux.

Knows addresses, ports and user ids. Must not know requests.
"""

import ipaddress
import os
import struct
import sys
from pathlib import Path

from starlette.types import Scope

End = tuple[str, int]
TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_USER_COLUMN = 7


def is_own(scope: Scope) -> bool:
    """Whether the client is a process of our own user; True on systems that do not tell the user."""
    client, server = scope.get("client"), scope.get("server")
    if sys.platform != "linux":
        return True
    if client is None or server is None or server[1] is None:
        return False
    return user_of(tuple(client), tuple(server)) == os.geteuid()


def user_of(client: End, server: End) -> int | None:
    """The user id of the socket that is bound to `client` and connected to `server`; None if there is none."""
    for table in TABLES:
        try:
            rows = table.read_bytes()
        except OSError:
            continue
        for one, other in zip(_spelled(client), _spelled(server), strict=True):
            at = rows.find(b" %b %b " % (one, other))
            if at >= 0:
                # The row number before the two addresses is not part of the slice.
                return int(rows[at:].split(maxsplit=_USER_COLUMN)[_USER_COLUMN - 1])
    return None


def _spelled(end: End) -> tuple[bytes, bytes]:
    """An address and a port in the notation of the two tables: IPv4 (if it is that) and IPv6."""
    address = ipaddress.ip_address(end[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        longer = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
        return _words(address.packed, end[1]), _words(longer.packed, end[1])
    return _words(address.packed, end[1]), _words(address.packed, end[1])


def _words(packed: bytes, port: int) -> bytes:
    """Each group of four bytes as a native number, in hexadecimal."""
    numbers = struct.unpack(f"={len(packed) // 4}I", packed)
    return b"%b:%04X" % (b"".join(b"%08X" % number for number in numbers), port)
