"""The usage of a month that no invoice has: of projects that nobody pays for, and of metrics that no price counts.

Pure: frames in, rows out. Must not know what that usage would cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from metering.core.meters import Meter
from metering.usage import attribution, known, quantities

Usage = dict[str, str]
"""project_id, metric and value as decimal text, with a `reason` or a `customer` beside them."""


@dataclass(frozen=True, kw_only=True)
class UnbilledUsage:
    """Lists of what is left over.

    `placed` is USAGE with its segment, `unpriced_rows` the part of it that no price took; `own_time` are the stretches
    in which a project is the operator's own; `not_known` are projects that inventory has yet to show.
    """

    placed: pl.DataFrame
    unpriced_rows: pl.DataFrame
    segments: pl.DataFrame
    own_time: pl.DataFrame
    meters: Sequence[Meter]
    not_known: frozenset[str]

    @cached_property
    def _of_nobody(self) -> pl.DataFrame:
        """USAGE without a segment; `is_own` is true where the project is the operator's own, else null."""
        nobody = self.placed.filter(pl.col("segment_no").is_null())
        return attribution.assigned(nobody, self.own_time, ["project_id"], "is_own")

    @cached_property
    def unassigned(self) -> list[Usage]:
        """Usage of projects that nobody pays for; with a `reason` if the project is not yet known."""
        rows = quantities.by_metric(self._of_nobody.filter(pl.col("is_own").is_null()), ["project_id"])
        return known.marked(rows, self.not_known)

    @property
    def own(self) -> list[Usage]:
        """Usage of the operator's own projects, which nobody is billed for."""
        return quantities.by_metric(self._of_nobody.filter("is_own"), ["project_id"])

    @cached_property
    def unpriced(self) -> list[Usage]:
        """Usage that no price took, with the `reason`."""
        rest = self.unpriced_rows.filter(pl.col("segment_no").is_not_null())
        rows = quantities.by_metric(rest, ["project_id"])
        return [{**row, "reason": quantities.unpriced_reason(row["metric"], self.meters)} for row in rows]

    @property
    def without_meter(self) -> list[Usage]:
        """Usage that no meter counts, by the customer that has it: customer, project_id, metric."""
        keys = ["project_id", "segment_no"]
        owned = self.unpriced_rows.join(self.segments.select(*keys, "customer"), on=keys)
        return [
            {name: row[name] for name in ("customer", "project_id", "metric")}
            for row in quantities.by_metric(owned, ["customer", "project_id"])
            if quantities.unpriced_reason(row["metric"], self.meters) == "no_meter"
        ]
