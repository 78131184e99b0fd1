"""A server that misbehaves below HTTP: raw sockets in threads, one behaviour per path.

It counts what it was asked, so that a test can say that a request was made again, or never made at all. A behaviour
gets the socket after the request was read; whatever it leaves open is closed.
"""

import contextlib
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Behaviour = Callable[[socket.socket], None]

BODY = b'{"projects": [{"id": "calm-dawn-1"}, {"id": "calm-dawn-2"}]}'


def answer(body: bytes = BODY, *more: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole answer; `length` lies about the body where given, and -1 leaves the header out."""
    size = len(body) if length is None else length
    head = [f"HTTP/1.1 {status}", "Connection: close", *more]
    head += [] if size < 0 else [f"Content-Length: {size}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def sends(content: bytes) -> Behaviour:
    """Sends these bytes and closes."""
    return lambda connection: connection.sendall(content)


def resets(content: bytes) -> Behaviour:
    """Sends these bytes, then ends the connection with a reset."""

    def behaviour(connection: socket.socket) -> None:
        connection.sendall(content)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behaviour


def drips(content: bytes, seconds: float = 0.05) -> Behaviour:
    """Sends a byte at a time, each within every timeout between two bytes; the whole takes far too long."""

    def behaviour(connection: socket.socket) -> None:
        for byte in content:
            connection.sendall(bytes([byte]))
            time.sleep(seconds)

    return behaviour


def stays_silent(seconds: float = 3) -> Behaviour:
    """Takes the request and says nothing."""
    return lambda connection: time.sleep(seconds)


def bomb(megabytes: int) -> bytes:
    """An answer of a thousandth of what it unpacks to."""
    packer = zlib.compressobj(wbits=31)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()
    return answer(packed, "Content-Encoding: gzip")


@dataclass(slots=True)
class FaultServer:
    """Listens on a free loopback port. Behaviours of a path are used up in turn; the last one stays."""

    paths: dict[str, list[Behaviour]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """Head and body of each request, as they came."""
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def handle(self, connection: socket.socket) -> None:
        """Reads one request and misbehaves."""
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            request = b""
            while _lacks(request):
                part = connection.recv(65536)
                if not part:
                    return
                request += part
            text = request.decode("latin-1")
            self.requests.append(text)
            path = text.split(" ", 2)[1].partition("?")[0]
            behaviours = self.paths.get(path) or [sends(answer(b"{}", status="404 Not Found"))]
            (behaviours.pop(0) if len(behaviours) > 1 else behaviours[0])(connection)


def _lacks(request: bytes) -> bool:
    """Whether there is more to come of a request, by its Content-Length."""
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return not end or len(body) < (int(length[1]) if length else 0)


@contextmanager
def serving(**paths: list[Behaviour]) -> Iterator[FaultServer]:
    """Serves `/NAME` for each name until the block ends."""
    server = FaultServer({f"/{name}": behaviours for name, behaviours in paths.items()})
    listener = socket.create_server(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]

    def accept() -> None:
        # Closing the listener is what ends this thread.
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=server.handle, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
