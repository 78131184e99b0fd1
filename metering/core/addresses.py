"""URLs and listening addresses taken apart; resolves no name. Pure."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

from metering.core.values import refuse


def url_parts(text: str) -> SplitResult:
    """The parts of an http(s) address without user, query or fragment; refuses others without repeating them."""
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        refuse("is no address", "write https://host/path")
    if parts.scheme not in {"https", "http"} or not host or port == 0:
        refuse("is no https address", "write https://host/path")
    if parts.username is not None or parts.password is not None:
        refuse("holds a user or a password", "leave out the part before the @")
    if parts.fragment or any(character.isspace() for character in text) or not text.isascii():
        refuse("holds a blank, a # or a letter that addresses do not have", "write https://host/path")
    return parts


def is_loopback(host: str | None) -> bool:
    """Whether the host is this machine, by its literal address or the name `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def listen_parts(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9187` or `[::1]:9187`; refuses what is neither an IP address nor `localhost`."""
    right = 'write "127.0.0.1:9187", "[::1]:9187", or "" for none'
    host, colon, digits = text.rpartition(":")
    if not colon or not (digits.isascii() and digits.isdecimal() and int(digits[:6]) < 2**16):
        refuse(f"{text!r} has no port", right)
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    try:
        is_address = (ipaddress.ip_address(bare).version == 6) == (bare != host)
    except ValueError:
        is_address = host == "localhost"
    if not is_address:
        refuse(f"{text!r} names no address of this machine", right)
    return bare, int(digits)
