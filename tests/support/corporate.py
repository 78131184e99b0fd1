"""A corporate network on this machine: a private authority, servers behind its certificate, and a forward proxy.

The proxy resolves names that nobody else knows: every name ending in `.test` is this machine.
"""

import base64
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
NAMES = ("localhost", "neon.test", "hooks.test", "stripe.test", "mail.test")


def authority(directory: Path) -> Path:
    """A certificate for NAMES, and its own authority; the key is beside it."""
    certificate, key = directory / "authority.pem", directory / "authority.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ",".join(f"DNS:{name}" for name in NAMES)
    made += ["-days", "2", "-subj", "/CN=Our Own Authority", "-addext", f"subjectAltName={names},IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate


@contextmanager
def _accepting(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """Handles each connection in a thread of its own until the block ends; the port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=guarded, args=(connection,), daemon=True).start()

    def guarded(connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection:
            handle(connection)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()


def _pumped(one: socket.socket, other: socket.socket) -> None:
    """Carries bytes both ways until one side ends."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=carry, args=(other, one), daemon=True)
    back.start()
    carry(one, other)
    back.join()


@contextmanager
def tls_before(port: int, certificate: Path) -> Iterator[int]:
    """Serves what listens on `port` in the clear behind a certificate; the port of that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))

    def handle(connection: socket.socket) -> None:
        with (
            context.wrap_socket(connection, server_side=True) as opened,
            socket.create_connection(("127.0.0.1", port)) as inner,
        ):
            _pumped(opened, inner)

    with _accepting(handle) as front:
        yield front


@dataclass(kw_only=True)
class Proxy:
    """What it was asked for: the first line of every request, and who asked."""

    port: int = 0
    user: str = ""
    """`name:password` that it wants; empty: nobody is asked."""
    asked: list[str] = field(default_factory=list)

    def is_welcome(self, head: str) -> bool:
        """Whether the head of a request has the password."""
        wanted = base64.b64encode(self.user.encode()).decode()
        return not self.user or f"proxy-authorization: basic {wanted}".lower() in head.lower()


@contextmanager
def proxying(user: str = "") -> Iterator[Proxy]:
    """A proxy on a free port for CONNECT and for plain requests."""
    proxy = Proxy(user=user)

    def handle(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := connection.recv(65536)):
                return
            head += data
        line = head.decode("latin-1").partition("\r\n")[0]
        proxy.asked.append(line)
        if not proxy.is_welcome(head.decode("latin-1")):
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        method, address, _ = line.split(" ")
        place = address.removeprefix("http://").partition("/")[0]
        host, _, port = place.rpartition(":")
        assert host == "127.0.0.1" or host in NAMES, host
        with socket.create_connection(("127.0.0.1", int(port))) as inner:
            if method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                inner.sendall(head)
            _pumped(connection, inner)

    with _accepting(handle) as proxy.port:
        yield proxy
