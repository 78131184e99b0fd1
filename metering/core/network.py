"""How other machines are reached: which authorities vouch for them, and through which proxy.

Knows certificate files and addresses of proxies. Must not know who is asked, and opens no connection.
"""

import ipaddress
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from metering.core.errors import ConfigError, Fault
from metering.core.secrets import Secret

AUTHORITY_IS_UNKNOWN = "its certificate is of no authority that is known here: see network.ca_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Without anything given: the public authorities, and no proxy. A `fault` is raised when the network is used."""

    ca_file: Path | None = None
    """Authorities beside the public ones."""
    bundle: Path | None = None
    """Authorities in place of the public ones."""
    proxy: Secret | None = None
    """`http://host:port`, with a user and a password where the proxy wants them."""
    no_proxy: tuple[str, ...] = ()
    """Names (with all below them), addresses and networks that are reached directly."""
    unused_proxies: tuple[str, ...] = ()
    """Variables of the environment that name a proxy and are not used."""
    fault: Fault | None = None

    def tls(self) -> ssl.SSLContext:
        """The authorities for HTTPS. Raises ConfigError where a file of theirs cannot be used."""
        return self._trusting(certifi.where())

    def mail_tls(self) -> ssl.SSLContext:
        """The authorities for mail servers: the machine's own in place of the public ones. Raises ConfigError."""
        return self._trusting("")

    def proxy_for(self, host: str) -> str | None:
        """The proxy that leads to a host; None where it is reached directly. Raises ConfigError."""
        if self.fault is not None:
            raise ConfigError([self.fault])
        return None if self.proxy is None or self._is_direct(host.strip("[]").lower()) else self.proxy.reveal()

    def _trusting(self, public: str) -> ssl.SSLContext:
        if self.fault is not None:
            raise ConfigError([self.fault])
        named = [(path, _changed_at(path, key)) for path, key in self._files()]
        base, *more = named if self.bundle else [(public, 0), *named]
        return _context(base, tuple(more))

    def _files(self) -> list[tuple[str, str]]:
        given = [(self.bundle, "SSL_CERT_FILE"), (self.ca_file, "network.ca_file")]
        return [(str(path), key) for path, key in given if path is not None]

    def _is_direct(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return any(host == name or host.endswith(f".{name}") for name in self.no_proxy)
        networks = [ipaddress.ip_network(text) for text in self.no_proxy if is_network(text)]
        return any(address.version == network.version and address in network for network in networks)


DIRECT = Network()
"""The public authorities, and no proxy."""


def is_network(text: str) -> bool:
    """Whether a text is an address or a network, such as 10.0.0.0/8."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def proxy_url(text: str) -> str:
    """The address of a proxy as `http://host:port`. Raises ValueError, without the address: it may hold a password."""
    text = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        parts = urlsplit(text)
        is_sound = parts.hostname and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound or any(character.isspace() for character in text) or not text.isascii():
        raise ValueError("is no address of a proxy")
    if parts.scheme != "http" or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("is no address of an HTTP proxy")
    return text.rstrip("/")


def authorities_fault(path: Path, key: str) -> Fault | None:
    """Why a file of authorities cannot be used; None where it can."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(path))
    except ssl.SSLError:
        what = f"{path} holds no certificate that can be read"
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror}"
    else:
        return None
    return Fault(where=key, what=what, right="name a file with the certificates of authorities (PEM)")


def _changed_at(path: str, key: str) -> int:
    """When a file was changed, so that a service takes a new one."""
    if fault := authorities_fault(Path(path), key):
        raise ConfigError([fault])
    return Path(path).stat().st_mtime_ns


@cache
def _context(base: tuple[str, int], more: tuple[tuple[str, int], ...]) -> ssl.SSLContext:
    """Reads the files once: a context per attempt would cost more than the attempt. Times are part of the key."""
    context = ssl.create_default_context(cafile=base[0] or None)
    for path, _ in more:
        context.load_verify_locations(cafile=path)
    return context
