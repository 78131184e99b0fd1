"""The evidence for a line: observations with the pages that showed them, and who owned the projects.

Reads the store as a month sees it; computes no amount.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import polars as pl

from metering.billing.month import Month
from metering.core.frames import Moment
from metering.core.grain import GRAINS
from metering.core.invoice import Line
from metering.core.meters import Meter
from metering.core.period import Period, rfc3339
from metering.core.plans import Plan
from metering.explain.steps import Bucket
from metering.rating import segments as ratecard
from metering.rating.card import plain
from metering.store.database import Store
from metering.usage import attribution
from metering.usage.existence import bucket_end

Json = dict[str, Any]
_BUCKET = ("organization", "project_id", "grain", "timeframe_start", "metric", "neon_period_key")


def is_same_group(one: Line, line: Line) -> bool:
    """Whether two lines of one customer are for one plan, meter and project (or none)."""
    return (one.project_id, one.plan, one.meter) == (line.project_id, line.plan, line.meter)


def plan_of(month: Month, line: Line) -> Plan:
    """The plan of a line, which must have one."""
    assert line.plan is not None, "only a discount and its correction have no plan"
    return month.terms.plan(line.plan)


def meter_of(month: Month, line: Line) -> Meter:
    """The meter of a line, which must have one."""
    return next(meter for meter in month.terms.card.meters if meter.id == line.meter)


def of_group(customer: str, line: Line) -> pl.Expr:
    """Whether a row is of the line's customer, plan and meter."""
    facts = {"customer": customer, "plan": line.plan, "meter": line.meter}
    return pl.all_horizontal(pl.col(name) == fact for name, fact in facts.items())


def observations(
    month: Month, pieces: pl.DataFrame, metrics: tuple[str, ...]
) -> tuple[dict[int, list[Bucket]], list[Json]]:
    """(the buckets of each piece_no, every observation as JSON with its `piece_no`), as the month counts them.

    `pieces`: PIECES of one meter. An observation is the last value of a bucket that counts; `revision` says how many
    values were seen of it, and `earlier` lists the previous ones. One revised to zero is listed but not counted.
    """
    projects = pieces["project_id"].unique().sort()
    seen = _seen(_changes(month, projects, metrics))
    placed = _placed(seen, month.segments.filter(pl.col("project_id").is_in(projects.implode())), pieces)
    by_piece: dict[int, list[Bucket]] = {}
    told: list[Json] = []
    for piece_no, row in zip(placed, seen, strict=True):
        if piece_no is None:
            continue
        told.append({"piece_no": piece_no, **_told(row)})
        if row["value"]:
            by_piece.setdefault(piece_no, []).append(_bucket(row))
    return by_piece, told


def observed(month: Month, projects: list[str], metrics: tuple[str, ...], period: Period) -> list[Json]:
    """Every observation of these projects in a period, as JSON."""
    changes = _changes(month, pl.Series("project_id", projects, dtype=pl.String), metrics)
    return [_told(row) for row in _seen(changes) if period.contains(row["start"])]


def _changes(month: Month, projects: pl.Series, metrics: tuple[str, ...]) -> pl.DataFrame:
    wanted = pl.DataFrame({"project_id": projects}).join(pl.DataFrame({"metric": list(metrics)}), how="cross")
    with month.recorded.store.frames(part=month.usage.parts, wanted=wanted):
        return month.recorded.store.query(
            "explain/bucket_changes",
            period_start=month.period.start,
            period_end=month.period.end,
            as_of_seq=month.recorded.as_of_seq,
        )


def _seen(changes: pl.DataFrame) -> list[Json]:
    """One row per bucket with `pages`: the change and the page of each value that was seen of it, in order."""
    at = changes.with_columns(start="timeframe_start").with_columns(end=bucket_end())
    out: dict[tuple[object, ...], Json] = {}
    for change in at.iter_rows(named=True):
        key = tuple(change[name] for name in _BUCKET)
        row = out.setdefault(key, {**change, "value": 0, "pages": []})
        row["value"] += int(change["change"])
        row["pages"].append({**change, "value": row["value"]})
    # The unit of a bucket depends on when it was last read, whichever of Neon's periods it stands under.
    read_at: dict[tuple[object, ...], datetime] = {}
    for key, row in out.items():
        last = max(page["received_at"] for page in row["pages"])
        read_at[key[:-1]] = max(last, read_at.get(key[:-1], last))
    return [{**row, "read_at": read_at[key[:-1]]} for key, row in out.items()]


def _placed(seen: list[Json], segments: pl.DataFrame, pieces: pl.DataFrame) -> list[int | None]:
    """The piece_no of each bucket; None if it belongs to none of the pieces."""
    rows = pl.DataFrame(
        [(row["project_id"], row["start"], row["end"]) for row in seen],
        schema={"project_id": pl.String, "start": Moment, "end": Moment},
        orient="row",
    )
    in_segments = attribution.assigned(rows, segments, ["project_id"], "segment_no")
    return attribution.assigned(in_segments, pieces, ["project_id", "segment_no"], "piece_no")["piece_no"].to_list()


def _bucket(row: Json) -> Bucket:
    return Bucket(
        project_id=row["project_id"],
        metric=row["metric"],
        start=row["start"],
        end=row["end"],
        value=row["value"],
        read_at=row["read_at"],
    )


def _told(row: Json) -> Json:
    values = [_page(page) for page in row["pages"]]
    return {
        "organization": row["organization"],
        "project_id": row["project_id"],
        "metric": row["metric"],
        "grain": GRAINS[row["grain"]],
        "timeframe_start": rfc3339(row["start"]),
        "timeframe_end": rfc3339(row["end"]),
        "neon_period": {"id": row["period_id"], "plan": row["neon_plan"]},
        **values[-1],
        "revision": len(values),
        "earlier": values[:-1],
    }


def _page(page: Json) -> Json:
    """A value with the page that first showed it: `seq` is the page's record in the journal.

    `body_dropped_at` says when retention took the page's body out of the journal; null where it is there.
    """
    return {
        "value": str(page["value"]),
        "seq": page["seq"],
        "sha256": page["sha256"],
        "request_id": page["request_id"],
        "received_at": rfc3339(page["received_at"]),
        "body_dropped_at": rfc3339(page["dropped_at"]) if page["dropped_at"] else None,
    }


def ownership(month: Month, projects: list[str]) -> Json:
    """Why these projects are their customers': segments of the month, names that were seen, and subscriptions."""
    with month.recorded.store.frames(wanted=pl.DataFrame({"project_id": projects}, schema={"project_id": pl.String})):
        seen = month.recorded.store.query("explain/sightings_of", as_of_seq=month.recorded.as_of_seq)
    mine = month.segments.filter(pl.col("project_id").is_in(projects)).sort("project_id", "start")
    subscriptions = [row for row in month.terms.subscriptions if row.project_id in projects]
    return {
        "segments": [_plain(row) for row in mine.iter_rows(named=True)],
        "sightings": [_plain(row) for row in seen.iter_rows(named=True)],
        "subscriptions": [
            {name: plain(getattr(row, name)) for name in ("project_id", "customer", "plan", "valid_from", "valid_to")}
            for row in subscriptions
        ],
        "project_name_pattern": month.terms.pattern,
    }


def _plain(row: Json) -> Json:
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}


def projects_of(month: Month, customer: str) -> list[str]:
    """Every project that may be the customer's in the month, by name, subscription or default plan. Cheap."""
    always = (
        month.projects.sightings.select("project_id")
        .unique()
        .with_columns(exists_from=pl.lit(None, dtype=Moment), exists_to=pl.lit(None, dtype=Moment))
    )
    terms = month.terms
    segments = ratecard.segments(
        month.period,
        always,
        month.projects.sightings,
        terms.subscriptions,
        terms.organizations,
        terms.pattern,
        terms.card.plans,
        terms.card.prorate,
    )
    return segments.filter(pl.col("customer") == customer)["project_id"].unique().sort().to_list()


@contextmanager
def only(store: Store, projects: list[str]) -> Iterator[None]:
    """A context in which the store shows only the observations of these projects, so that less is read."""
    tables = ("observation", "observation_other")
    with store.frames(only_project=pl.DataFrame({"project_id": projects}, schema={"project_id": pl.String})):
        for table in tables:
            store.connection.execute(
                f"create temp table {table} as select o.* from main.{table} as o where o.project_key in "  # noqa: S608
                "(select project_key from project semi join only_project using (project_id))"
            )
    try:
        yield
    finally:
        for table in tables:
            store.connection.execute(f"drop table temp.{table}")
