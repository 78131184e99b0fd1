"""Charges -> lines, taxes, totals.

Knows the printed shape of an invoice and the one rounding per line. Must not know where usage came from, how an invoice
is numbered or when it is issued: the caller fills that in. Amounts are whole minor units until they are printed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from typing import cast

import polars as pl

from metering import split, tax
from metering.config import Customer, Discount, Meter, Plan, Price
from metering.discount import discount_lines, of_customer
from metering.errors import ConfigError, Fault
from metering.money import (
    INT128_SAFE,
    Rounding,
    amount_text,
    minor_units,
    parse_amount,
    quantity_text,
    round_amount,
    rounded_amounts,
)
from metering.period import Period, rfc3339
from metering.ratecard import Prorate, counted
from metering.rating import rounded, tiers_of
from metering.split import Members

Json = dict[str, object]

CENT_DIGITS = 4
"""Most digits that a currency has (CLF, UYW): what the guard on vectorised rounding allows for."""
NAMES = {
    "compute": "Compute",
    "storage": "Storage",
    "storage_root": "Root branch storage",
    "storage_child": "Child branch storage",
    "instant_restore": "Instant restore",
    "snapshots": "Snapshots",
    "public_transfer": "Public transfer",
    "private_transfer": "Private transfer",
    "extra_branches": "Extra branches",
}
"""What a line calls a meter of the built-in catalogue; another is called by its id."""


_NO_POOLS: Mapping[int, Members] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What lines are made from, beside the charges: the rate card as rated."""

    plans: Mapping[str, Plan]
    prices: Mapping[int, Price]
    meters: Mapping[str, Meter]
    rounding: Rounding = "half_up"
    prorate: Prorate = "second"
    discounts: Sequence[Discount] = ()
    pools: Mapping[int, Members] = field(default_factory=dict)
    """By the piece_no of a customer's charge, whose usage it is (split.py); where it is not given, lines stay whole."""


def rates(  # noqa: PLR0913 - what a rate card is made of
    plans: Iterable[Plan],
    prices: Mapping[int, Price],
    meters: Iterable[Meter],
    *,
    rounding: Rounding = "half_up",
    prorate: Prorate = "second",
    discounts: Sequence[Discount] = (),
    pools: Mapping[int, Members] = _NO_POOLS,
) -> Rates:
    """Rates from lists as config and ratecard give them."""
    return Rates(
        plans={plan.id: plan for plan in plans},
        prices=prices,
        meters={meter.id: meter for meter in meters},
        rounding=rounding,
        prorate=prorate,
        discounts=discounts,
        pools=pools,
    )


_NONE: Mapping[str, Json] = {}


def invoices(  # noqa: PLR0913 - time, usage, prices and people are separate facts
    month: Period,
    segments: pl.DataFrame,
    charges: pl.DataFrame,
    card: Rates,
    customers: Iterable[Customer],
    *,
    as_of: datetime | None = None,
    coverage: Mapping[str, Json] = _NONE,
    rate_card_sha256: str | None = None,
    corrections: Mapping[str, Sequence[Json]] | None = None,
    currencies: Mapping[str, str] | None = None,
) -> list[Json]:
    """Drafts of the month, sorted by customer: the contract's JSON objects, with `number` and the dates of issue null.

    `segments` and `charges` as ratecard.py and rating.py make them. By customer: `coverage` ({"hours",
    "covered_hours", "complete"}), `corrections` (lines of adjustment.py for closed months) and `currencies` (of
    customers who hold no plan any more). A customer without any line gets no invoice. Raises ConfigError where a
    customer would need two currencies.
    """
    by_customer = lines(month, segments, charges, card)
    for customer, added in (corrections or {}).items():
        by_customer.setdefault(customer, []).extend(added)
    known = {customer.id: customer for customer in customers}
    currency = _currencies(segments, card, known, currencies or {})
    return [
        {
            "number": None,
            "status": "draft",
            "customer": {"id": customer, "name": known[customer].name if customer in known else customer},
            "currency": currency[customer],
            "period": {"start": rfc3339(month.start), "end": rfc3339(month.end)},
            "issued_at": None,
            "due_at": None,
            "lines": sorted(by_customer[customer], key=lambda line: str(line["key"])),
            **tax.totals(by_customer[customer], currency[customer], known.get(customer), card.rounding),
            "coverage": coverage.get(customer),
            "as_of": rfc3339(as_of) if as_of else None,
            "rate_card_sha256": rate_card_sha256,
        }
        for customer in sorted(by_customer)
        if by_customer[customer]
    ]


_ONE_CURRENCY = "an invoice has one currency"


def _currencies(
    segments: pl.DataFrame, card: Rates, known: Mapping[str, Customer], given: Mapping[str, str]
) -> dict[str, str]:
    """The currency of every customer: that of its plans, which must be its own; all contradictions at once."""
    out, conflicting = _one_currency(segments, card, known, given)
    if conflicting:
        found = conflicting.items()
        raise ConfigError([Fault(where=f"customer {name}", what=what, right=_ONE_CURRENCY) for name, what in found])
    return out


def conflicts(
    segments: pl.DataFrame, card: Rates, customers: Iterable[Customer], currencies: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Customers that `invoices` would refuse for two currencies, and which two; the arguments are its own."""
    return _one_currency(segments, card, {customer.id: customer for customer in customers}, currencies or {})[1]


def _one_currency(
    segments: pl.DataFrame, card: Rates, known: Mapping[str, Customer], given: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """(the currency of every customer, those with a second one and what is in it)."""
    out, conflicting = dict(given), {}
    for name, row in known.items():
        if row.currency and out.setdefault(name, row.currency) != row.currency:
            conflicting[name] = f"{name!r} pays in {row.currency}, corrections of closed months are in {out[name]}"
    for customer, plan in segments.select("customer", "plan").unique().sort("customer", "plan").iter_rows():
        currency = card.plans[plan].currency
        if out.setdefault(customer, currency) != currency:
            what = f"plan {plan!r} is in {currency}, other charges of {customer!r} are in {out[customer]}"
            conflicting.setdefault(customer, what)
    return out, conflicting


def lines(month: Period, segments: pl.DataFrame, charges: pl.DataFrame, card: Rates) -> dict[str, list[Json]]:
    """Usage, base fee, minimum and discount lines of every customer, unsorted."""
    out: dict[str, list[Json]] = defaultdict(list)
    for customer, line in _usage_lines(charges, card):
        out[customer].append(line)
    for customer, line in _base_fee_lines(month, segments, card):
        out[customer].append(line)
    for customer, line in list(_minimum_lines(month, segments, out, card)):
        out[customer].append(line)
    for customer in sorted({discount.customer for discount in card.discounts} & out.keys()):
        currencies = {card.plans[str(line["plan"])].currency for line in out[customer]}
        if len(currencies) == 1:
            given = of_customer(card.discounts, customer, month)
            out[customer] += discount_lines(month, out[customer], min(currencies), given, card.rounding)
    return out


def _usage_lines(charges: pl.DataFrame, card: Rates) -> Iterator[tuple[str, Json]]:
    rows = _with_amounts(charges, card)
    wording: dict[tuple[object, ...], str] = {}
    for piece_no, group in groupby(rows.iter_rows(named=True), key=lambda row: row["piece_no"]):
        parts = list(group)
        price, plan = card.prices[parts[0]["price_no"]], card.plans[parts[0]["plan"]]
        assert all(part["price_no"] == parts[0]["price_no"] for part in parts), piece_no
        amounts = [part["minor"] for part in parts]
        if None in amounts or parts[-1]["kind"] == "adjusting":
            amounts = rounded(
                price,
                [part["kind"] for part in parts],
                [Fraction(part["amount_num"], part["amount_den"]) for part in parts],
                is_first=parts[0]["is_first"],
                currency=plan.currency,
                mode=card.rounding,
            )
        for part, amount in zip(parts, amounts, strict=True):
            if amount or part["quantity_num"]:
                said = tuple(part[name] for name in _SAID)
                if said not in wording:
                    wording[said] = _description(part, price, card.meters[part["meter"]])
                yield part["customer"], _usage_line(part, amount, wording[said], card)


def _with_amounts(charges: pl.DataFrame, card: Rates) -> pl.DataFrame:
    """The charges in order with `minor`, the rounded amount; null where it must be computed one by one."""
    digits = pl.DataFrame(
        [(plan.id, 10 ** minor_units(plan.currency)) for plan in card.plans.values()],
        schema={"plan": pl.String, "units": pl.Int128},
        orient="row",
    )
    most = INT128_SAFE // (4 * 10**CENT_DIGITS)
    is_narrow = (pl.col("amount_num").abs() < most) & (pl.col("amount_den") < most)
    minor_num = pl.when(is_narrow).then(pl.col("amount_num") * pl.col("units"))
    return (
        charges.join(digits, on="plan", how="left")
        .with_columns(minor=rounded_amounts(minor_num, pl.col("amount_den"), card.rounding))
        .sort("piece_no", "kind", "tier", descending=[False, True, False])
    )


_SAID = ("price_no", "kind", "tier", "share_num", "share_den")
"""What a description depends on: few of these are told apart among many lines."""


def _usage_line(part: Mapping[str, object], amount: int, description: str, card: Rates) -> Json:
    price, plan = card.prices[cast("int", part["price_no"])], card.plans[str(part["plan"])]
    start, end = _time_text(part["start"]), _time_text(part["end"])
    meter, grain = card.meters[str(part["meter"])], str(part["grain"])
    tier, top, bottom = part["tier"], part["quantity_num"], part["quantity_den"]
    assert isinstance(tier, int) and isinstance(top, int) and isinstance(bottom, int)
    is_adjusting = part["kind"] == "adjusting"
    kind = ("minimum" if amount > 0 else "discount") if is_adjusting else "usage"
    owner = part["project_id"] or part["customer"]
    line: Json = {
        "key": f"{owner}/{meter.id}/{plan.id}/{start}/{kind if is_adjusting else tier}",
        "kind": kind,
        "project_id": part["project_id"],
        "plan": plan.id,
        "meter": meter.id,
        "description": f"{NAMES.get(meter.id, meter.id)}: {_ADJUSTED[kind]}" if is_adjusting else description,
        "from": start,
        "to": end,
        "quantity": quantity_text(Fraction(top, bottom)),
        "unit": meter.unit,
        "unit_price": None if is_adjusting else _unit_price(price, tier, part),
        "amount": amount_text(amount, plan.currency),
        "grain": grain,
    }
    if price.included_per_hour is not None and grain != "hourly":
        line["reduced_grain"] = True
    if price.model == "package" and not is_adjusting:
        line["package_size"] = f"{price.package_size:f}"
    members = card.pools.get(cast("int", part["piece_no"])) if part["project_id"] is None else None
    if members:
        line["projects"] = split.parts(members, str(line["quantity"]), amount, plan.currency)
    return line


_ADJUSTED = {"minimum": "minimum", "discount": "above the maximum"}


@lru_cache(maxsize=4096)
def _time_text(moment: datetime) -> str:
    return rfc3339(moment)


@lru_cache(maxsize=4096)
def _share_text(part: int, whole: int) -> str:
    return quantity_text(Fraction(part, whole))


def _unit_price(price: Price, tier: int, part: Mapping[str, object]) -> str | None:
    """As written in the card; for cost_plus what a unit came to, null without a quantity."""
    if price.model != "cost_plus":
        return f"{tiers_of(price)[tier - 1].unit_price:f}"
    numbers = [part[name] for name in ("quantity_num", "quantity_den", "amount_num", "amount_den")]
    q_num, q_den, a_num, a_den = (number for number in numbers if isinstance(number, int))
    return quantity_text(Fraction(a_num * q_den, a_den * q_num)) if q_num else None


def _description(part: Mapping[str, object], price: Price, meter: Meter) -> str:
    text = NAMES.get(meter.id, meter.id)
    numbers = part["share_num"], part["share_den"]
    assert isinstance(numbers[0], int) and isinstance(numbers[1], int)
    included = Fraction(price.included) * Fraction(numbers[0], numbers[1])
    if included:
        text += f" beyond {quantity_text(included)} {_units(meter)} included"
    if price.included_per_hour is not None:
        text += f" beyond {price.included_per_hour:f} included each hour"
    if price.model == "cost_plus":
        text += f" at cost plus {price.markup_percent:f} %"
    tier = part["tier"]
    if isinstance(tier, int) and tier > 1:
        text += f", tier {tier} above {price.tiers[tier - 2].up_to:f} {_units(meter)}"
    return text


def _units(meter: Meter) -> str:
    """The unit behind a number: `100 CU-hours`, `2 GB-months`, `5 GB`."""
    return meter.unit + "s" if meter.unit.endswith(("hour", "month")) else meter.unit


def _base_fee_lines(month: Period, segments: pl.DataFrame, card: Rates) -> Iterator[tuple[str, Json]]:
    """Each plan's fee for the time that its subscription and the project existed, rounded cumulatively."""
    begin, finish = counted(pl.col("start"), pl.col("end"), month, card.prorate)
    rows = segments.with_columns(fee_from=begin, fee_to=finish)
    by_project = [plan.id for plan in card.plans.values() if plan.base_fee and plan.base_fee_scope == "project"]
    by_customer = [plan.id for plan in card.plans.values() if plan.base_fee and plan.base_fee_scope == "customer"]
    owned = rows.filter(pl.col("plan").is_in(by_project)).sort("project_id", "plan", "start")
    for (project, plan), group in groupby(
        owned.iter_rows(named=True), key=lambda row: (row["project_id"], row["plan"])
    ):
        yield from _fee_parts(card.plans[plan], project, _spans(group), month, card.rounding)
    paid = rows.filter(pl.col("plan").is_in(by_customer)).sort("customer", "plan", "start", "end")
    for (_, plan), group in groupby(paid.iter_rows(named=True), key=lambda row: (row["customer"], row["plan"])):
        yield from _fee_parts(card.plans[plan], None, _united(group), month, card.rounding)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A stretch of time that a base fee is due for: as printed, and in the seconds that count."""

    customer: str
    start: datetime
    end: datetime
    fee_from: datetime
    fee_to: datetime


def _spans(rows: Iterable[Mapping[str, object]]) -> list[_Span]:
    return [_Span(**{name: row[name] for name in _Span.__slots__}) for row in rows]  # type: ignore[arg-type]


def _united(rows: Iterable[Mapping[str, object]]) -> list[_Span]:
    """The union of a customer's time in one plan over all its projects; rows come sorted by start."""
    out: list[_Span] = []
    for span in _spans(rows):
        if out and span.start <= out[-1].end:
            last = out.pop()
            out.append(
                _Span(
                    customer=last.customer,
                    start=last.start,
                    end=max(last.end, span.end),
                    fee_from=last.fee_from,
                    fee_to=max(last.fee_to, span.fee_to),
                )
            )
        else:
            out.append(span)
    return out


def _fee_parts(
    plan: Plan, project: str | None, spans: Sequence[_Span], month: Period, mode: Rounding
) -> Iterator[tuple[str, Json]]:
    fee, counted_to, charged = Fraction(plan.base_fee), month.start, 0
    counted_seconds = 0
    for span in spans:
        # Time is counted once: where proration moves bounds onto each other, the earlier part has it.
        begin = max(span.fee_from, counted_to)
        seconds = max(0, int((span.fee_to - begin).total_seconds()))
        counted_to = max(counted_to, span.fee_to)
        counted_seconds += seconds
        due = round_amount(fee * Fraction(counted_seconds, month.seconds), plan.currency, mode)
        amount, charged = due - charged, due
        if not amount and not seconds:
            continue
        yield (
            span.customer,
            {
                "key": f"{project or span.customer}/base_fee/{plan.id}/{_time_text(span.start)}/1",
                "kind": "base_fee",
                "project_id": project,
                "plan": plan.id,
                "meter": None,
                "description": plan.name,
                "from": _time_text(span.start),
                "to": _time_text(span.end),
                "quantity": _share_text(seconds, month.seconds),
                "unit": "month",
                "unit_price": f"{plan.base_fee:f}",
                "amount": amount_text(amount, plan.currency),
            },
        )


def _minimum_lines(
    month: Period, segments: pl.DataFrame, by_customer: Mapping[str, Sequence[Json]], card: Rates
) -> Iterator[tuple[str, Json]]:
    """What a plan's lines lack to its least amount, for every customer who had the plan at all in the month."""
    with_minimum = [plan.id for plan in card.plans.values() if plan.minimum]
    held = segments.filter(pl.col("plan").is_in(with_minimum)).select("customer", "plan").unique()
    for customer, plan_id in held.sort("customer", "plan").iter_rows():
        plan = card.plans[plan_id]
        own = (line for line in by_customer.get(customer, ()) if line["plan"] == plan_id)
        charged = sum(parse_amount(str(line["amount"]), plan.currency) for line in own)
        missing = round_amount(Fraction(plan.minimum), plan.currency, card.rounding) - charged
        if missing > 0:
            yield (
                customer,
                {
                    "key": f"{customer}/minimum/{plan.id}/{rfc3339(month.start)}/1",
                    "kind": "minimum",
                    "project_id": None,
                    "plan": plan.id,
                    "meter": None,
                    "description": f"{plan.name}: minimum of {amount_text(charged + missing, plan.currency)} a month",
                    "from": rfc3339(month.start),
                    "to": rfc3339(month.end),
                    "quantity": "1",
                    "unit": "month",
                    "unit_price": amount_text(missing, plan.currency),
                    "amount": amount_text(missing, plan.currency),
                },
            )
