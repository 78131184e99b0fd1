"""The store as it was at one journal record: its queries, asked as of that record.

An answer may be kept, since nothing that is recorded later changes it. At LATEST that holds until somebody writes, so
such a value serves one reading. Must not know what the answers mean.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from metering.store.database import Store

LATEST = 2**63
MOST_KEPT = 4
"""This many frames of `kept` are there at once: a month's sums of a fleet are many times as large as other answers."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the store says as of the record `as_of_seq`; `once` and `kept` ask for nothing twice."""

    store: Store
    as_of_seq: int = LATEST
    _answers: dict[Hashable, pl.DataFrame] = field(default_factory=dict, init=False, repr=False)
    _kept: dict[Hashable, pl.DataFrame] = field(default_factory=dict, init=False, repr=False)
    _others: "dict[int, Recorded]" = field(default_factory=dict, init=False, repr=False)

    def at(self, as_of_seq: int) -> "Recorded":
        """What the store says as of another record."""
        if as_of_seq == self.as_of_seq:
            return self
        return self._others.setdefault(as_of_seq, Recorded(store=self.store, as_of_seq=as_of_seq))

    def query(self, name: str, **parameters: Hashable) -> pl.DataFrame:
        """What `sql/queries/NAME.sql` finds as of the record."""
        return self.store.query(name, as_of_seq=self.as_of_seq, **parameters)

    def once(self, name: str, **parameters: Hashable) -> pl.DataFrame:
        """What `query` finds, for answers that are small or that most readers of a month need."""
        key = (name, *sorted(parameters.items()))
        if key not in self._answers:
            self._answers[key] = self.query(name, **parameters)
        return self._answers[key]

    def kept(self, key: Hashable, work: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """A large frame that `work` makes; the frames that were made last are kept under their keys."""
        if key not in self._kept:
            self._kept[key] = work()
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        return self._kept[key]

    @cached_property
    def project_keys(self) -> pl.DataFrame:
        """project_key, project_id and organization of every project."""
        return self.store.query("billing/project_keys")
