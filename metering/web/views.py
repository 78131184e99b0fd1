"""Holds the current view, and replaces it when the view of a newer snapshot is ready.

Only the very first request waits for slow figures. Must not know pages or requests.
"""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.exhaustion import in_a_sentence
from metering.core.roles import Person
from metering.store import lock
from metering.store.database import SNAPSHOT
from metering.web import figures
from metering.web.view import View, opened
from metering.web.watch import Watch
from metering.web.withheld import without_cost

Identity = tuple[object, ...]
"""A change of one of these needs a new view: snapshot file, configuration, hour (coverage depends on it)."""


class Views:
    """Provides the current view. `trouble` says why the newest snapshot is not shown."""

    def __init__(
        self, config_of: Callable[[], Config], clock: Callable[[], datetime], watch: Watch | None = None
    ) -> None:
        self._config_of, self._clock, self.watch = config_of, clock, watch or Watch()
        self._turn = threading.Lock()
        self._shown: tuple[Identity, View] | None = None
        self._preparing: threading.Thread | None = None
        self.trouble: str | None = None

    def current(self) -> View:
        """The current view. Raises StoreDamagedError; StoreBusyError while the first snapshot is being made."""
        config, now = self._config_of(), self._clock()
        identity = _identity(config, now)
        if self._shown is None or (identity != self._shown[0] and self._shown[1].get(figures.data_as_of) is None):
            with self._turn:
                if self._shown is None or identity != self._shown[0]:
                    self._take(config, now, identity)
        assert self._shown is not None
        known, view = self._shown
        if identity != known:
            self._prepare(config, now, identity)
        return view

    def seen_by(self, person: Person) -> View:
        """The current view without what the person may not see. Raises as `current`."""
        view = self.current()
        return view if person.may("cost") else replace(view, filter=without_cost)

    def renew(self) -> None:
        """Opens the current snapshot at once, so that the author of a change sees it."""
        config, now = self._config_of(), self._clock()
        with self._turn:
            self._take(config, now, _identity(config, now))

    def _take(self, config: Config, now: datetime, identity: Identity) -> None:
        if identity[0] is None:
            lock.refuse_if_held(config.store.directory)
        self._shown, self.trouble = (identity, opened(config, now)), None

    def _prepare(self, config: Config, now: datetime, identity: Identity) -> None:
        """Prepares the next view in one thread. If that fails, the current view stays and `trouble` says why."""

        @_uncollected()
        def work() -> None:
            assert self._shown is not None, "the first view is taken, not prepared"
            # Without a reference to the view itself, which is dropped when the next one replaces it.
            months, is_outlook_asked = self._shown[1].months_asked, self._shown[1].ahead.is_asked
            try:
                with in_a_sentence():
                    view = opened(config, now)
                    figures.prepare(view, months)
            except Exception as error:  # after any error the shown view is still right for its moment
                self.watch.trouble("next view", error)
                self.trouble = error.args[0] if isinstance(error, MeteringError) else f"{type(error).__name__}: {error}"
            else:
                self._shown, self.trouble = (identity, view), None
                if is_outlook_asked:
                    view.outlook()

        with self._turn:
            if self._preparing is None or not self._preparing.is_alive():
                self._preparing = threading.Thread(target=work, daemon=True, name="next view")
                self._preparing.start()


def _identity(config: Config, now: datetime) -> Identity:
    try:
        found = (config.store.directory / SNAPSHOT).stat()
    except FileNotFoundError:
        file = None
    else:
        file = (found.st_ino, found.st_mtime_ns, found.st_size)
    return file, id(config), f"{now:%Y-%m-%dT%H}"


@contextmanager
def _uncollected() -> Iterator[None]:
    """Disables the cyclic garbage collector while the block runs, and collects once at the end.

    A view is millions of objects that live on. In a large fleet each collection would stop all threads for a second.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
