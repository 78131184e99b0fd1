"""Plans, prices and subscriptions as dated frames: whose project is it when, and which price is in force when.

Also what is wrong inside a rate card, and its canonical bytes. Knows no usage, computes no amount and reads no clock.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby, pairwise
from math import lcm
from typing import Literal

import polars as pl
from pydantic import BaseModel

from metering.core import ids
from metering.core.errors import Fault
from metering.core.frames import Moment
from metering.core.meters import Meter, denominator
from metering.core.money import MINOR_UNITS, Rounding
from metering.core.parties import Organization, Subscription
from metering.core.period import Period, rfc3339
from metering.core.plans import Plan, Price

Prorate = Literal["second", "day", "none"]

SEGMENTS: dict[str, pl.DataType] = {
    "project_id": pl.String(),
    "segment_no": pl.Int64(),
    "customer": pl.String(),
    "plan": pl.String(),
    "start": Moment,
    "end": Moment,
    "share_num": pl.Int64(),
    "share_den": pl.Int64(),
    "share_start": Moment,
    "share_end": Moment,
}
"""One row per run of time with one customer and one plan in which the project existed; numbered from 1 per project.

share_num / share_den (seconds of the month): its part of the month's allowance, which counts [share_start, share_end).
"""
PIECES: dict[str, pl.DataType] = {
    "piece_no": pl.Int64(),
    "project_id": pl.String(),
    "segment_no": pl.Int64(),
    "customer": pl.String(),
    "plan": pl.String(),
    "meter": pl.String(),
    "price_no": pl.Int64(),
    "version_rank": pl.Int64(),
    "start": Moment,
    "end": Moment,
    "denominator": pl.Int128(),
    "hourly_num": pl.Int128(),
    "hourly_den": pl.Int128(),
}
"""One row per segment, meter priced by its plan, and price version in force for part of it.

Usage comes as whole numbers of 1/`denominator` of the meter's unit. `hourly_num / hourly_den` is the allowance per
hour in the metric's raw unit (null without one): used = sum of max(0, value * hourly_den - hourly_num) * scale *
denominator / (meter's denominator * hourly_den), where the last factor is whole.
"""

_NEEDED = {
    "per_unit": {"unit_price"},
    "graduated": {"tiers"},
    "volume": {"tiers"},
    "package": {"package_size", "package_price"},
    "cost_plus": {"markup_percent"},
}
_BY_MODEL = ("unit_price", "tiers", "package_size", "package_price", "markup_percent")


def faults(plans: Sequence[Plan], meters: Sequence[Meter]) -> list[Fault]:
    """Everything wrong inside a rate card; `meters` is the whole catalogue. Keys as in config.toml (`plans[0].…`)."""
    out: list[Fault] = []
    known = {meter.id: meter for meter in meters}
    for i, plan in enumerate(plans):
        where = f"plans[{i}]"
        if plan.currency not in MINOR_UNITS:
            right = "write an ISO 4217 code such as USD"
            out.append(Fault(where=f"{where}.currency", what=f"{plan.currency!r} is no currency in use", right=right))
        for j, price in enumerate(plan.prices):
            out.extend(price_faults(price, f"{where}.prices[{j}]."))
        out.extend(_version_faults(plan, where))
        out.extend(_meter_faults(plan, where, known))
    out.extend(fault for meter in meters for fault in _divisor_faults(meter))
    return out


def _divisor_faults(meter: Meter) -> Iterator[Fault]:
    if len(set(meter.metrics)) < len(meter.metrics):
        what = f"{meter.id} names a metric twice"
        yield Fault(where=f"meters ({meter.id}).metrics", what=what, right="its usage would count twice")
    if len({divisor.valid_from for divisor in meter.divisors}) < len(meter.divisors):
        what = f"{meter.id} has two divisors from one date"
        yield Fault(where=f"meters ({meter.id}).divisors", what=what, right="give one of them another date")


def price_faults(price: Price, prefix: str = "") -> Iterator[Fault]:
    """What is wrong inside one price; `prefix` goes before each key."""
    needed = _NEEDED[price.model]
    for name in _BY_MODEL:
        is_given = getattr(price, name) not in (None, ())
        if name in needed and not is_given:
            yield Fault(where=prefix + name, what="is missing", right=f"the model {price.model} needs it")
        if is_given and name not in needed:
            right = f"the model {price.model} takes {', '.join(sorted(needed))}"
            yield Fault(where=prefix + name, what=f"does not belong to the model {price.model}", right=right)
    if price.included_per_hour is not None and price.included:
        right = "write an allowance per hour or one per month"
        yield Fault(where=prefix + "included_per_hour", what="stands beside included", right=right)
    if price.minimum is not None and price.maximum is not None and price.minimum > price.maximum:
        right = f"write at least {price.minimum}"
        yield Fault(where=prefix + "maximum", what=f"{price.maximum} is below the minimum", right=right)
    if price.model == "cost_plus":
        yield from _cost_plus_faults(price, prefix)
    yield from _tier_faults(price, prefix)


def _cost_plus_faults(price: Price, prefix: str) -> Iterator[Fault]:
    if price.included or price.included_per_hour is not None:
        name = "included" if price.included else "included_per_hour"
        right = "leave it out: what Neon includes is off the cost already"
        yield Fault(where=prefix + name, what="does not belong to the model cost_plus", right=right)
    if price.scope == "customer":
        right = 'write scope = "project": Neon charges each project by itself'
        yield Fault(where=prefix + "scope", what="customer does not go with the model cost_plus", right=right)


def _tier_faults(price: Price, prefix: str) -> Iterator[Fault]:
    before = None
    for k, tier in enumerate(price.tiers):
        where = f"{prefix}tiers[{k}].up_to"
        is_last = k == len(price.tiers) - 1
        if is_last and tier.up_to is not None:
            yield Fault(
                where=where, what=f"ends the last tier at {tier.up_to}", right="leave up_to out of the last tier"
            )
        if not is_last and tier.up_to is None:
            yield Fault(where=where, what="is missing", right="only the last tier has no end")
        if tier.up_to is not None and before is not None and tier.up_to <= before:
            yield Fault(where=where, what=f"{tier.up_to} is not above {before}", right="write tiers in ascending order")
        before = tier.up_to if tier.up_to is not None else before


def _version_faults(plan: Plan, where: str) -> Iterator[Fault]:
    seen: dict[tuple[str, datetime], int] = {}
    scopes: dict[str, tuple[int, str]] = {}
    for j, price in enumerate(plan.prices):
        first = seen.setdefault((price.meter, price.valid_from), j)
        if first != j:
            yield Fault(
                where=f"{where}.prices[{j}].valid_from",
                what=f"prices[{first}] prices {price.meter} from {rfc3339(price.valid_from)} too",
                right="give one of them another date",
            )
        number, scope = scopes.setdefault(price.meter, (j, price.scope))
        if scope != price.scope:
            yield Fault(
                where=f"{where}.prices[{j}].scope",
                what=f"is {price.scope}, but {scope} in prices[{number}] of the same meter",
                right="tiers continue across a price change, so all versions count the same usage",
            )


def _meter_faults(plan: Plan, where: str, known: Mapping[str, Meter]) -> Iterator[Fault]:
    owner: dict[str, str] = {}
    told: set[str] = set()
    for j, price in enumerate(plan.prices):
        key = f"{where}.prices[{j}].meter"
        if price.meter not in known:
            yield Fault(
                where=key, what=f"there is no meter {price.meter!r}", right=f"known: {', '.join(sorted(known))}"
            )
            continue
        for metric in known[price.meter].metrics:
            other = owner.setdefault(metric, price.meter)
            if other != price.meter and price.meter not in told:
                told.add(price.meter)
                what = f"{price.meter} and {other} both count {metric}"
                yield Fault(where=key, what=what, right="price one of them: the usage would be charged twice")


def unknown_plans(names: Iterable[str | None], pattern: str | None, plans: Iterable[Plan]) -> list[tuple[str, str]]:
    """Project names whose pattern names a plan that does not exist, with that plan, sorted; `check` lists them."""
    known = {plan.id for plan in plans}
    named = named_customers(names, pattern)
    return sorted((name, plan) for name, (_, plan) in named.items() if plan not in known)


def named_customers(names: Iterable[str | None], pattern: str | None) -> dict[str, tuple[str, str]]:
    """Project name -> the customer and the plan that the pattern takes out of it, where it matches."""
    whole = re.compile(pattern) if pattern else None
    found = ((name, _named(name, whole)) for name in names if name)
    return {name: match for name, match in found if match}


def _named(name: str, pattern: re.Pattern[str] | None) -> tuple[str, str] | None:
    """Customer and plan by the whole name, or None where the pattern does not match (or leaves one empty)."""
    match = pattern.fullmatch(ids.canonical(name)) if pattern else None
    found = tuple(ids.canonical(match[group] or "") for group in ("customer", "plan")) if match else ()
    return (found[0], found[1]) if found and all(found) else None


def segments(  # noqa: PLR0913, PLR0917 - eight facts decide it, and each is one
    month: Period,
    existence: pl.DataFrame,
    sightings: pl.DataFrame,
    subscriptions: Sequence[Subscription],
    organizations: Sequence[Organization],
    pattern: str | None,
    plans: Sequence[Plan],
    prorate: Prorate = "second",
) -> pl.DataFrame:
    """SEGMENTS of the month, sorted by project and start.

    `existence`: project_id, exists_from, exists_to (half-open, null = unbounded). `sightings`: project_id,
    organization, seen_at, name; a row counts until the project's next one, the first also backwards. Rows in
    `subscriptions` decide alone for their project; else the pattern, else the organization's default plan.
    """
    mapped = pl.concat([_subscribed(subscriptions), _seen(sightings, subscriptions, organizations, pattern, plans)])
    existing = mapped.join(existence.unique("project_id"), on="project_id").with_columns(
        pl.max_horizontal("from", pl.col("exists_from").cast(Moment).dt.truncate("1s")).alias("from"),
        pl.min_horizontal("to", pl.col("exists_to").cast(Moment).dt.truncate("1s")).alias("to"),
    )
    return runs(existing.select(*_MAPPED), month, prorate)


def runs(rows: pl.DataFrame, month: Period, prorate: Prorate) -> pl.DataFrame:
    """SEGMENTS of rows project_id, customer, plan, from, to (null = open) that do not overlap within a project."""
    start, end = pl.lit(month.start, dtype=Moment), pl.lit(month.end, dtype=Moment)
    clipped = (
        rows.with_columns(start=pl.max_horizontal(start, "from"), end=pl.min_horizontal(end, "to"))
        .filter(pl.col("start") < pl.col("end"))
        .sort("project_id", "start")
    )
    return _shared(_merged(clipped), month, prorate)


_MAPPED = {"project_id": pl.String(), "customer": pl.String(), "plan": pl.String(), "from": Moment, "to": Moment}


def _subscribed(subscriptions: Sequence[Subscription]) -> pl.DataFrame:
    rows = [
        (row.project_id, row.customer, row.plan, row.valid_from, row.valid_to)
        for row in subscriptions
        if not row.is_own
    ]
    return pl.DataFrame(rows, schema=_MAPPED, orient="row")


OWN: dict[str, pl.DataType] = {"project_id": pl.String(), "start": Moment, "end": Moment, "is_own": pl.Boolean()}
"""Time in which a project is the operator's own, clipped to a month; `is_own` is true in every row."""


def own_time(month: Period, subscriptions: Sequence[Subscription]) -> pl.DataFrame:
    """OWN of the subscriptions without customer and plan, sorted by project and start."""
    spans = (
        (row.project_id, max(row.valid_from or month.start, month.start), min(row.valid_to or month.end, month.end))
        for row in subscriptions
        if row.is_own
    )
    rows = [(project, start, end, True) for project, start, end in spans if start < end]
    return pl.DataFrame(rows, schema=OWN, orient="row").sort("project_id", "start")


def _seen(
    sightings: pl.DataFrame,
    subscriptions: Sequence[Subscription],
    organizations: Sequence[Organization],
    pattern: str | None,
    plans: Sequence[Plan],
) -> pl.DataFrame:
    """Customer and plan of projects without a subscription, by name and organization, for as long as each was seen."""
    known = {plan.id for plan in plans}
    subscribed = pl.Series([row.project_id for row in subscriptions], dtype=pl.String).unique()
    whole = re.compile(pattern) if pattern else None
    matches = ((name, _named(name, whole)) for name in sightings["name"].unique() if name is not None)
    by_name = [(name, match[0], match[1] if match[1] in known else None) for name, match in matches if match]
    names = pl.DataFrame(
        by_name, schema={"name": pl.String, "named_customer": pl.String, "named_plan": pl.String}, orient="row"
    )
    by_organization = [(org.id, org.default_plan) for org in organizations if org.default_plan]
    defaults = pl.DataFrame(
        by_organization, schema={"organization": pl.String, "default_plan": pl.String}, orient="row"
    )
    project, seen_at = pl.col("project_id"), pl.col("seen_at").cast(Moment)
    is_named = pl.col("named_customer").is_not_null()
    return (
        sightings.filter(~pl.col("project_id").is_in(subscribed.implode()))
        .sort("project_id", "seen_at", maintain_order=True)
        .with_columns(
            pl.when(project == project.shift(1)).then(seen_at.dt.truncate("1s")).alias("from"),
            pl.when(project == project.shift(-1)).then(seen_at.shift(-1).dt.truncate("1s")).alias("to"),
        )
        .join(names, on="name", how="left")
        .join(defaults, on="organization", how="left")
        .with_columns(
            customer=pl.when(is_named).then("named_customer").otherwise("project_id"),
            plan=pl.when(is_named).then("named_plan").otherwise("default_plan"),
        )
        .filter(pl.col("plan").is_not_null())
        .select(pl.col(name).cast(kind) for name, kind in _MAPPED.items())
    )


def _merged(rows: pl.DataFrame) -> pl.DataFrame:
    """Adjacent rows of one project with equal customer and plan as one; rows come sorted by project and start."""
    before = {name: pl.col(name).shift(1) for name in ("project_id", "customer", "plan", "end")}
    is_same = pl.all_horizontal(pl.col(name) == before[name] for name in ("project_id", "customer", "plan"))
    is_new = ~(is_same & (pl.col("start") == before["end"])).fill_null(value=False)
    return (
        rows.with_columns(run=is_new.cum_sum())
        .group_by("project_id", "run", "customer", "plan")
        .agg(pl.col("start").min(), pl.col("end").max())
        .sort("project_id", "start")
    )


def _shared(rows: pl.DataFrame, month: Period, prorate: Prorate) -> pl.DataFrame:
    first, last = pl.lit(month.start, dtype=Moment), pl.lit(month.end, dtype=Moment)
    number = pl.int_range(1, pl.len() + 1).over("project_id")
    count = pl.len().over("project_id")
    begin, finish = counted(pl.col("start"), pl.col("end"), month, prorate)
    return (
        rows.with_columns(segment_no=number)
        .with_columns(
            share_start=pl.when(pl.col("segment_no") == 1).then(first).otherwise(begin),
            share_end=pl.when(pl.col("segment_no") == count).then(last).otherwise(finish),
        )
        .with_columns(
            share_num=(pl.col("share_end") - pl.col("share_start")).dt.total_seconds(),
            share_den=pl.lit(month.seconds, dtype=pl.Int64),
        )
        .select(pl.col(name).cast(kind) for name, kind in SEGMENTS.items())
        .sort("project_id", "start")
    )


def counted(start: pl.Expr, end: pl.Expr, month: Period, prorate: Prorate) -> tuple[pl.Expr, pl.Expr]:
    """The instants at which proration takes a segment to begin and to end."""
    if prorate == "none":
        return pl.lit(month.start, dtype=Moment), pl.lit(month.end, dtype=Moment)
    if prorate == "day":
        # The end of the month is a midnight itself.
        return start.dt.truncate("1d"), end.dt.truncate("1d")
    return start, end


_NO_CUTS: Mapping[str, Sequence[datetime]] = {}


def pieces(
    segment_rows: pl.DataFrame,
    plans: Sequence[Plan],
    meters: Sequence[Meter],
    cuts: Mapping[str, Sequence[datetime]] = _NO_CUTS,
) -> tuple[pl.DataFrame, dict[int, Price]]:
    """PIECES of the segments, and the price behind each `price_no`. Time before a first version has no piece.

    `cuts`: moments at which pieces of a customer end and go on as another version of the same price.
    """
    prices, dated = versions(plans, meters)
    frame = (
        segment_rows.select("project_id", "segment_no", "customer", "plan", "start", "end")
        .join(dated, on="plan")
        .with_columns(start=pl.max_horizontal("start", "valid_from"), end=pl.min_horizontal("end", "valid_to"))
        .filter(pl.col("start") < pl.col("end"))
        .pipe(_cut, cuts)
        .sort("project_id", "segment_no", "meter", "version_rank")
        .with_columns(piece_no=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        .select(pl.col(name).cast(kind) for name, kind in PIECES.items())
    )
    return frame, prices


def _cut(rows: pl.DataFrame, cuts: Mapping[str, Sequence[datetime]]) -> pl.DataFrame:
    """The rows of these customers cut at their moments, with versions ranked anew in the order of time."""
    if not cuts:
        return rows
    spans = [
        (customer, *span, number)
        for customer, moments in cuts.items()
        for number, span in enumerate(pairwise([None, *moments, None]))
    ]
    schema = {"customer": pl.String(), "cut_from": Moment, "cut_to": Moment, "cut_no": pl.Int64()}
    whole = rows.filter(~pl.col("customer").is_in(list(cuts)))
    parts = (
        rows.join(pl.DataFrame(spans, schema=schema, orient="row"), on="customer")
        .with_columns(start=pl.max_horizontal("start", "cut_from"), end=pl.min_horizontal("end", "cut_to"))
        .filter(pl.col("start") < pl.col("end"))
        .with_columns(order=pl.col("version_rank") * len(spans) + pl.col("cut_no"))
        .with_columns(version_rank=pl.col("order").rank("dense").over("customer", "plan", "meter").cast(pl.Int64))
    )
    return pl.concat([whole, parts.select(whole.columns)])


def versions(plans: Sequence[Plan], meters: Sequence[Meter]) -> tuple[dict[int, Price], pl.DataFrame]:
    """The price behind each `price_no`; and plan, meter, price_no, version_rank, valid_from, valid_to of each.

    Numbers ascend with the versions of a meter in a plan.
    """
    denominators = {meter.id: denominator(meter) for meter in meters}
    prices: dict[int, Price] = {}
    rows: list[tuple[object, ...]] = []
    for plan in sorted(plans, key=lambda plan: plan.id):
        ordered = sorted(plan.prices, key=lambda price: (price.meter, price.valid_from))
        for meter, group in groupby(ordered, key=lambda price: price.meter):
            dated = list(group)
            hourly = [None if p.included_per_hour is None else Fraction(p.included_per_hour) for p in dated]
            # One denominator for all versions: the usage before a price change counts on after it.
            whole = denominators[meter] * lcm(*(allowance.denominator for allowance in hourly if allowance is not None))
            ends = [*(price.valid_from for price in dated[1:]), None]
            for rank, (price, end, allowance) in enumerate(zip(dated, ends, hourly, strict=True), start=1):
                prices[len(prices) + 1] = price
                parts = (None, None) if allowance is None else (allowance.numerator, allowance.denominator)
                rows.append((plan.id, meter, len(prices), rank, price.valid_from, end, whole, *parts))
    schema = {
        "plan": pl.String(), "meter": pl.String(), "price_no": pl.Int64(), "version_rank": pl.Int64(),
        "valid_from": Moment, "valid_to": Moment, "denominator": pl.Int128(),
        "hourly_num": pl.Int128(), "hourly_den": pl.Int128(),
    }  # fmt: skip
    return prices, pl.DataFrame(rows, schema=schema, orient="row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Everything but usage and subscriptions that an invoice's figures depend on."""

    plans: tuple[Plan, ...]
    meters: tuple[Meter, ...]
    rounding: Rounding = "half_up"
    prorate: Prorate = "second"


def canonical(card: Card) -> bytes:
    """The card as JSON: sorted keys, plans by id, prices by meter and date, decimals as written.

    Quotas are left out, and whether a plan is an example: neither changes what a month costs.
    """
    plans = []
    for plan in sorted(card.plans, key=lambda plan: plan.id):
        prices = sorted(plan.prices, key=lambda price: (price.meter, price.valid_from))
        whole = plan.model_copy(update={"prices": tuple(prices)})
        written = plain(whole.model_copy(update={"quota": {}}))
        assert isinstance(written, dict)
        plans.append({name: value for name, value in written.items() if name != "example"})
    document = {"meters": plain(card.meters), "plans": plans, "prorate": card.prorate, "rounding": card.rounding}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def plain(value: object) -> object:
    """A model as JSON knows it, every key given, decimals with their digits as written."""
    match value:
        case BaseModel():
            return {name: plain(getattr(value, name)) for name in type(value).model_fields}
        case Decimal():
            return f"{value:f}"
        case datetime():
            return rfc3339(value)
        case tuple():
            return [plain(entry) for entry in value]
        case _:
            return value


def from_canonical(data: bytes) -> Card:
    """The card whose `canonical` bytes these are (with empty quotas)."""
    document = json.loads(data)
    return Card(
        plans=tuple(Plan.model_validate(plan) for plan in document["plans"]),
        meters=tuple(Meter.model_validate(meter) for meter in document["meters"]),
        rounding=document["rounding"],
        prorate=document["prorate"],
    )


def sha256(card: Card) -> str:
    """What an invoice prints as `rate_card_sha256`: the hash of the canonical bytes, in hexadecimal."""
    return hashlib.sha256(canonical(card)).hexdigest()
