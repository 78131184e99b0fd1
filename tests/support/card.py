"""Short ways to write plans, subscriptions and frames in tests: one line each, literals in."""

from datetime import UTC, datetime

import polars as pl

from metering.analysis import plan_file
from metering.core import meters
from metering.core.frames import Moment
from metering.core.parties import Organization, Subscription
from metering.core.period import month_of
from metering.core.plans import Plan, Price
from metering.invoicing.lines.rates import Rates
from metering.rating import charges as rating
from metering.rating import segments as ratecard
from metering.rating.pieces import priced_pieces

SEPTEMBER = month_of(datetime(2026, 9, 1, tzinfo=UTC))
BUILT_IN = meters.built_in()
PATTERN = r"(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\d+)"


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0, *, month: int = 9) -> datetime:
    return datetime(2026, month, day, hour, minute, second, tzinfo=UTC)


def price(meter="compute", valid_from="2026-01-01", **keys) -> Price:
    return Price.model_validate({"meter": meter, "valid_from": valid_from, "model": "per_unit", **keys})


def plan(name="pro", *prices, **keys) -> Plan:
    return Plan.model_validate({"id": name, "name": name.title(), "currency": "USD", "prices": prices, **keys})


def toml(*plans: Plan) -> str:
    """The plans as config.toml has them."""
    return "\n".join(plan_file.written(one) for one in plans)


def subscription(project, customer, plan_id, valid_from=None, valid_to=None) -> Subscription:
    return Subscription(project_id=project, customer=customer, plan=plan_id, valid_from=valid_from, valid_to=valid_to)


def organization(name="org-1", default_plan=None, **keys) -> Organization:
    return Organization(id=name, api_key_env="KEY", default_plan=default_plan, **keys)


def existence(**projects) -> pl.DataFrame:
    """existence(a=(from, to)): null is unbounded."""
    rows = [(project, *bounds) for project, bounds in projects.items()]
    schema = {"project_id": pl.String, "exists_from": Moment, "exists_to": Moment}
    return pl.DataFrame(rows, schema=schema, orient="row")


def sightings(*rows) -> pl.DataFrame:
    """(project, organization, seen_at, name) each."""
    schema = {"project_id": pl.String, "organization": pl.String, "seen_at": Moment, "name": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def segments(exists, *, seen=(), subscriptions=(), organizations=(), plans=(), prorate="second", month=SEPTEMBER):
    return ratecard.segments(
        month, exists, sightings(*seen), list(subscriptions), list(organizations), PATTERN, list(plans), prorate
    )


def used_frame(values) -> pl.DataFrame:
    """{piece_no: used} or {piece_no: (used, grain)}."""
    rows = [(number, *(value if isinstance(value, tuple) else (value, "hourly"))) for number, value in values.items()]
    return pl.DataFrame(rows, schema={"piece_no": pl.Int64, "used": pl.Int128, "grain": pl.String}, orient="row")


def charged(segment_rows, plans, values, costs=None, catalogue=BUILT_IN):
    """Charges and prices for usage given by (project, meter, start): values in the meter's 1/denominator."""
    pieces, prices = priced_pieces(segment_rows, plans, catalogue)
    numbers = {tuple(row[1:]): row[0] for row in pieces.select("piece_no", "project_id", "meter", "start").iter_rows()}
    used = used_frame({numbers[key]: value for key, value in values.items()})
    by_number = {numbers[key]: cost for key, cost in (costs or {}).items()}
    return rating.charges(pieces, used, prices, segment_rows, by_number), prices


def rates(plans, prices, meters, *, customers=(), **terms) -> Rates:
    """The rate card, from lists of plans, meters and customers."""
    plans, meters, customers = ({one.id: one for one in rows} for rows in (plans, meters, customers))
    return Rates(plans=plans, prices=prices, meters=meters, customers=customers, **terms)


def rated(owned, plans, usage, *, costs=None, catalogue=BUILT_IN, **terms):
    """Charges, and the rates under which they become lines: rounding, prorate, discounts, pools as `terms`."""
    charges, prices = charged(owned, plans, usage, costs, catalogue)
    return charges, rates(plans, prices, catalogue, **terms)


def alone(*plans, exists=(None, None), rows=None, prorate="second"):
    """Segments of the one project a, of the customer c unless `rows` say otherwise."""
    rows = rows or [subscription("a", "c", plans[0].id)]
    return segments(existence(a=exists), subscriptions=rows, plans=plans, prorate=prorate)
