"""A mail server for tests: what was handed in, over a real socket, with answers that a test may change."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Post:
    """What was handed in, and what is answered: a reply for a command or for `recipient <address>`, else a yes."""

    port: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    starttls: ssl.SSLContext | None = None
    tls: ssl.SSLContext | None = None
    messages: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """Every line of the client outside a message; `<tls>` where encryption began."""


@contextmanager
def mail_server(**settings: object) -> Iterator[Post]:
    """Listens on a free loopback port until the block ends."""
    post = Post(**settings)  # type: ignore[arg-type]

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            if post.tls:
                self._encrypt(post.tls)
            self._say(post.replies.get("greeting", "220 ready"))
            while line := self.rfile.readline().decode():
                post.said.append(line.strip())
                if self._is_last(line.strip()):
                    return

        def finish(self) -> None:
            super().finish()
            self.connection.close()  # the server closes the plain one alone

        def _is_last(self, line: str) -> bool:
            word = line.partition(" ")[0].upper()
            if word == "RCPT":
                address = line.partition("<")[2].rstrip(">")
                reply = post.replies.get(f"recipient {address}", "250 ok")
                self.recipients += [address] if reply.startswith("250") else []
            elif word == "EHLO":
                reply = "250-hello\r\n250-AUTH PLAIN" + ("\r\n250-STARTTLS" if post.starttls else "") + "\r\n250 SIZE"
            else:
                plain = {"QUIT": "221 bye", "DATA": "354 go on", "STARTTLS": "220 go on", "AUTH": "235 welcome"}
                reply = post.replies.get(word, plain.get(word, "250 ok"))
            if word == "MAIL":
                self.sender, self.recipients = line.partition("<")[2].partition(">")[0], []
            self._say(reply)
            if word == "STARTTLS" and post.starttls:
                self._encrypt(post.starttls)
            elif reply.startswith("354"):
                self._take()
            return word == "QUIT"

        def _take(self) -> None:
            lines = list(iter(self.rfile.readline, b".\r\n"))
            reply = post.replies.get("message", "250 taken")
            if reply.startswith("250"):
                body = b"".join(line.removeprefix(b".") for line in lines)
                post.messages.append((self.sender, self.recipients, body))
            self._say(reply)

        def _say(self, reply: str) -> None:
            self.wfile.write(reply.encode() + b"\r\n")

        def _encrypt(self, context: ssl.SSLContext) -> None:
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
            post.said.append("<tls>")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is no fault of the server's."""

    with Server(("127.0.0.1", 0), Handler) as server:
        post.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield post
        finally:
            server.shutdown()
            thread.join()
