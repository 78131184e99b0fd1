"""As much of Stripe as invoice items and meter events need, by its documentation: a server on a free local port.

A key that was used before answers as it did then, until `forget`; another body under a key is refused. `on_post` is
called once the request was executed and before it is answered: it may fail, or kill who asked.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]
SECRET = "sk_test_123"


@dataclass(kw_only=True)
class PlainStripe:
    """What was made, in order; `statuses` are answers to give instead, first come first served."""

    url: str = ""
    items: list[Json] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    posts: list[tuple[str, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    on_post: Callable[[], bool] = lambda: True
    _answers: dict[str, tuple[dict[str, str], int, Json]] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """A day goes by."""
        self._answers.clear()

    def post(self, path: str, key: str, form: dict[str, str]) -> tuple[int, Json]:
        with self._lock:
            self.posts.append((path, key))
            if self.statuses and (status := self.statuses.pop(0)) >= 300:
                return status, {"error": {"message": "so it was asked for"}}
            if key in self._answers:
                before, status, answer = self._answers[key]
                if before != form:
                    return 400, {"error": {"type": "idempotency_error", "message": "other parameters under this key"}}
                return status, answer
            status, answer = self._made(path, form)
            if status == 200:
                self._answers[key] = (form, status, answer)
            return status, answer

    def _made(self, path: str, form: dict[str, str]) -> tuple[int, Json]:
        if path == "/v1/invoiceitems":
            if not form["customer"].startswith("cus_") or not form["amount"].lstrip("-").isdigit():
                return 400, {"error": {"message": "No such customer"}}
            metadata = {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")}
            made = {"id": f"ii_{len(self.items) + 1}", **form, "metadata": metadata}
            self.items.append(made)
            return 200, made
        made = dict(form)
        if made["identifier"] in {event["identifier"] for event in self.events}:
            return 400, {"error": {"message": "An event already exists with this identifier"}}
        self.events.append(made)
        return 200, made

    def listed(self, asked: dict[str, str]) -> Json:
        mine = [item for item in self.items if item["customer"] == asked["customer"]][::-1]
        after = [item["id"] for item in mine].index(asked["starting_after"]) + 1 if "starting_after" in asked else 0
        page = mine[after : after + 2]  # short pages, so that more than one is asked for
        return {"object": "list", "data": page, "has_more": after + 2 < len(mine)}


@contextmanager
def served(stripe: PlainStripe) -> Iterator[PlainStripe]:
    """On a port of its own while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if self.headers["authorization"] != f"Bearer {SECRET}":
                return self._answer(401, {"error": {"message": "Invalid API Key"}})
            status, made = stripe.post(self.path, self.headers["idempotency-key"], dict(parse_qsl(body)))
            if not stripe.on_post():
                self.close_connection = True
                return None
            return self._answer(status, made)

        def do_GET(self) -> None:
            self._answer(200, stripe.listed(dict(parse_qsl(urlsplit(self.path).query))))

        def _answer(self, status: int, body: Json) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    stripe.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stripe
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
