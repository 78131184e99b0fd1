"""A webhook receiver for tests: what was posted, headers and bytes, and an answer that a test may change."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Inbox:
    """What was posted, and what is answered."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.url = ""

    def events(self) -> list[tuple[str, str, int]]:
        """(id, type, threshold) of every post."""
        found = [(headers["webhook-id"], json.loads(body)) for headers, body in self.posts]
        return [(key, event["type"], event["data"].get("threshold_percent")) for key, event in found]


@contextmanager
def receiving() -> Iterator[Inbox]:
    """Listens on a free loopback port until the block ends."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return  # whoever was telling it died on the way: nothing was told
            inbox.posts.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(inbox.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
            """Silent."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that was killed hangs up: nothing to tell."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    inbox.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
