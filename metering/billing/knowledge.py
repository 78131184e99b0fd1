"""What is known of a month at one journal record: hours that were read, hours that were not, projects never listed.

Reads the store. Must not know plans, prices or what a project used, except when.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from metering.billing.recorded import Recorded
from metering.core.frames import Moment
from metering.core.parties import Organization
from metering.core.period import Period, without
from metering.usage import attribution, known
from metering.usage.coverage import Certified, Coverage, certified_of
from metering.usage.known import InventoryRead, Unseen

_HOURS: dict[str, pl.DataType] = {"organization": pl.String(), "start": Moment, "end": Moment}


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What polling had read of a month at a record.

    `mapped`: the projects with rows in subscriptions.csv. `is_open`: whether the month is not over.
    """

    recorded: Recorded
    organizations: Sequence[Organization]
    mapped: frozenset[str]
    period: Period
    is_open: bool

    @cached_property
    def certified(self) -> dict[str, Certified]:
        """The certified hours of each organization, also of those that were never read."""
        read = certified_of(self.recorded.once("billing/coverage_of", after=0))
        return {**{org.id: Certified() for org in self.organizations}, **read}

    @cached_property
    def unread(self) -> pl.DataFrame:
        """Hours of the month that are certified for an organization but not for one of its projects, and why."""
        found = self.recorded.once("billing/unread_hours")
        return found.select(
            "organization",
            "project_id",
            start=pl.max_horizontal("period_start", pl.lit(self.period.start, dtype=Moment)),
            end=pl.min_horizontal("period_end", pl.lit(self.period.end, dtype=Moment)),
            fault="fault",
        ).filter(pl.col("start") < pl.col("end"))

    @cached_property
    def uncertified(self) -> pl.DataFrame:
        """Hours of the running month that count although no full read certified them: organization, start, end."""
        rows = [
            (organization, period.start, period.end)
            for organization, certified in sorted(self.certified.items())
            for period in without(self.period, certified.covered(self.period))
            if self.is_open
        ]
        return pl.DataFrame(rows, schema=_HOURS, orient="row")

    @cached_property
    def _reads(self) -> dict[str, InventoryRead]:
        """The last complete inventory reads of each organization."""
        found = self.recorded.once("billing/inventory_reads")
        rows = found.select("organization", "read_at", "whole_at").iter_rows()
        return {organization: InventoryRead(read_at=read, whole_at=whole) for organization, read, whole in rows}

    @cached_property
    def unseen(self) -> list[Unseen]:
        """Projects that history reports and inventory never showed."""
        return known.unseen(
            self.recorded.once("billing/unseen_projects"),
            {organization: read.whole_at for organization, read in self._reads.items()},
            [row.id for row in self.organizations if not row.sponsored],
        )

    @cached_property
    def not_known(self) -> frozenset[str]:
        """Projects that are not yet known: nobody is billed for them."""
        return frozenset(one.project_id for one in self.unseen if not one.is_gone) - self.mapped

    def coverage(self, used: pl.DataFrame | None) -> Coverage:
        """Coverage over the configured organizations, less the sponsored ones.

        `used` is the month's USAGE, which must be given where projects are not yet known.
        """
        counted = {org.id: self.certified[org.id] for org in self.organizations if not org.sponsored}
        reasons: dict[str, str] = {}
        for organization, kind, reason in self.recorded.once("billing/gap_reasons").iter_rows():
            reasons[organization] = f"{kind}: {reason}" if reason else kind
        unread: dict[str, list[tuple[Period, str]]] = {}
        for organization, project, start, end, fault in self.unread.iter_rows():
            why = f"unreadable: project {project}: {fault}"
            unread.setdefault(organization, []).append((Period(start=start, end=end), why))
        unlisted = self._unlisted(counted, {} if used is None else self._not_known_used(used))
        return Coverage(month=self.period, certified=counted, reasons=reasons, unread=unread, unlisted=unlisted)

    def _not_known_used(self, used: pl.DataFrame) -> dict[str, list[Period]]:
        """Organization -> when its projects that are not yet known were used."""
        strange = used.filter(pl.col("project_id").is_in(sorted(self.not_known)), pl.col("value") != 0)
        spans = strange.group_by("organization", "project_id").agg(pl.col("start").min(), pl.col("end").max())
        out: dict[str, list[Period]] = {}
        for organization, start, end in spans.select("organization", "start", "end").iter_rows():
            out.setdefault(organization, []).append(Period(start=start, end=end))
        return out

    def _unlisted(
        self, organizations: Iterable[str], used: Mapping[str, Sequence[Period]]
    ) -> dict[str, tuple[Period, ...]]:
        """Organization -> the hours for which its inventory is missing."""
        never = InventoryRead(read_at=None, whole_at=None)
        return {
            name: known.stretches(
                self.period, self._reads.get(name, never).read_at, used.get(name, ()), is_over=not self.is_open
            )
            for name in organizations
        }

    def is_partial(self, rows: pl.DataFrame) -> pl.Series:
        """Which rows of USAGE hold observations of hours that are not certified."""
        is_unsure = pl.lit(value=True)
        unsure, unread = (frame.with_columns(is_partial=is_unsure) for frame in (self.uncertified, self.unread))
        of_all = attribution.assigned(rows, unsure, ["organization"], "is_partial")["is_partial"]
        of_one = attribution.assigned(rows, unread, ["organization", "project_id"], "is_partial")["is_partial"]
        return of_all.fill_null(value=False) | of_one.fill_null(value=False)
