"""Limits the number of connections and the time that each may take to send a request and to read the answer.

Each connection uses a file handle and memory of the process that polls. A new connection is always accepted: if the
limit is reached, the client with the most connections loses the one that has waited longest for a complete request.
Knows uvicorn's connections. Must not know requests.
"""

import asyncio
import resource
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from metering.web.watch import Watch

MOST_CONNECTIONS = 256
SHARE_OF_HANDLES = 4
"""The port uses at most a quarter of the file handles of the process; the others are for polling."""
FEWEST_CONNECTIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds until a request's head must be complete, then its body, and until a part of the answer must be read.

    The time of the head begins with the connection or with the end of the previous answer.
    """

    head: int = 10
    body: int = 20
    reading: int = 30


def most_connections() -> int:
    """The maximal number of connections, by the file handles of this process."""
    handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if handles == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, handles // SHARE_OF_HANDLES))


class Room:
    """The open connections. Used only in the thread of the server's loop."""

    def __init__(self, most: int, watch: Watch, patience: Patience) -> None:
        self.patience = patience
        self._most, self._watch = most, watch
        self._here: dict[Connection, None] = {}
        self._of_peer: Counter[str] = Counter()

    def enter(self, connection: "Connection") -> None:
        """Adds a connection. At the limit it drops a waiting one, or the new one if all others are being answered."""
        if len(self._here) >= self._most:
            victim = self._longest_waiting()
            self._watch.refused("too many connections", (victim or connection).peer)
            (victim or connection).drop()
            if victim is None:
                return
            self.leave(victim)
        self._here[connection] = None
        self._of_peer[connection.peer] += 1

    def leave(self, connection: "Connection") -> None:
        """Removes a connection; safe to call twice."""
        if connection in self._here:
            del self._here[connection]
            self._of_peer[connection.peer] -= 1
            if not self._of_peer[connection.peer]:
                del self._of_peer[connection.peer]

    def slow(self, connection: "Connection", what: str) -> None:
        """Drops a connection that took too long; a silent one (a browser's spare connection) is not logged."""
        if not connection.is_silent:
            self._watch.refused(what, connection.peer)
        connection.drop()

    def _longest_waiting(self) -> "Connection | None":
        waiting = (one for one in self._here if one.is_waiting)
        return max(waiting, key=lambda one: self._of_peer[one.peer], default=None)


class Connection(H11Protocol):
    """uvicorn's connection, counted in the room, with a deadline for each part of a request."""

    def __init__(self, *args: Any, room: Room, **more: Any) -> None:
        super().__init__(*args, **more)
        self.peer = ""
        self._room = room
        self._answers = 0
        self._phase: tuple[str, int] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether no complete request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_silent(self) -> bool:
        """Whether no part of a request has arrived and no answer is being sent."""
        return self.is_waiting and not self.conn.trailing_data[0] and not self.transport.get_write_buffer_size()

    def drop(self) -> None:
        """Closes it at once, without sending the rest of an answer."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the loop: the client has connected."""
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self._room.enter(self)
        self._watch_phase()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: the connection is closed."""
        super().connection_lost(exc)
        self._room.leave(self)
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Called by the loop: a part of a request has arrived."""
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch_phase()

    def on_response_complete(self) -> None:
        """Called by uvicorn: the answer is complete, the next request may follow."""
        self._answers += 1
        super().on_response_complete()
        self._watch_phase()

    def pause_writing(self) -> None:
        """Called by the loop: the client reads too slowly."""
        super().pause_writing()
        self._stalled = self.loop.call_later(
            self._room.patience.reading, partial(self._room.slow, self, "answer not read")
        )

    def resume_writing(self) -> None:
        """Called by the loop: the client has read enough."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def _watch_phase(self) -> None:
        """Sets the deadline of the part of the request that is awaited now, if it has changed."""
        part = "head" if self.is_waiting else "body" if self.cycle.more_body else "answer"
        if (part, self._answers) == self._phase:
            return
        self._phase = part, self._answers
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if part != "answer" and not self.transport.is_closing():
            seconds = self._room.patience.head if part == "head" else self._room.patience.body
            self._deadline = self.loop.call_later(seconds, partial(self._room.slow, self, f"{part} too slow"))
