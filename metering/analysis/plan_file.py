"""A file of other plans, to be tried on history: `[[plans]]` as in config.toml, all faults at once.

A plan may extend one of the configuration's. The first version of each price counts backwards too, so that a plan of
next year can be tried on last year. Knows no usage.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from metering.config import extended_plans, faults_of
from metering.core.errors import ConfigError, Fault
from metering.core.files import given_text
from metering.core.ids import with_canonical_ids
from metering.core.meters import Meter
from metering.core.period import rfc3339
from metering.core.plans import Plan, Price, Tier
from metering.core.values import WrittenFloat, closest
from metering.rating import validation
from metering.rating.card import plain

EVER = datetime(1970, 1, 1, tzinfo=UTC)


def read(path: Path, plans: Sequence[Plan], meters: Sequence[Meter]) -> tuple[Plan, ...]:
    """The file's plans; `plans` are the configuration's, which they may extend.

    Raises UsageError where there is no such file, ConfigError with all faults.
    """
    return parse(given_text(path), plans, meters, name=path.name)


def parse(text: str, plans: Sequence[Plan], meters: Sequence[Meter], *, name: str = "the text") -> tuple[Plan, ...]:
    """The plans of a TOML text; `name` is what faults call it. Raises ConfigError with every fault."""
    data = with_canonical_ids(_data(text, name))
    faults = [
        Fault(where=f"{name}: {key}", what="is not a known key", right=closest(key, ["plans"]))
        for key in data
        if key != "plans"
    ]
    entries = data.get("plans")
    if not isinstance(entries, list) or not entries:
        faults.append(Fault(where=f"{name}: plans", what="is missing", right="write [[plans]] above each plan"))
        raise ConfigError(faults)
    own = {entry.get("id") for entry in entries if isinstance(entry, dict)}
    bases = [plain(plan) for plan in plans if plan.id not in own]
    whole = extended_plans({"plans": [*entries, *bases]}, faults)["plans"]
    assert isinstance(whole, list), "a list stays one"
    found = _sound(whole[: len(entries)], faults)
    if not faults:
        faults += validation.faults(found, meters)
        faults += [
            Fault(where=f"plans[{index}].id", what=f"{plan.id!r} stands there twice", right="name each plan once")
            for index, plan in enumerate(found)
            if plan.id in {other.id for other in found[:index]}
        ]
    if faults:
        raise ConfigError(faults)
    return tuple(backdated(plan) for plan in found)


def written(plan: Plan) -> str:
    """The plan as TOML that `parse` reads: a start for trying other prices."""
    lines = ["[[plans]]", *_members(plan, {"quota", "prices"})]
    if plan.quota:
        lines += ["[plans.quota]", *(f"{name} = {limit}" for name, limit in plan.quota.items())]
    for price in plan.prices:
        lines += ["[[plans.prices]]", *_members(price, {"tiers"})]
        if price.tiers:
            lines.append(
                f"tiers = [{', '.join('{ ' + ', '.join(_members(tier, set())) + ' }' for tier in price.tiers)}]"
            )
    return "\n".join(lines) + "\n"


def _members(model: Plan | Price | Tier, apart: set[str]) -> list[str]:
    """`name = value` for every field that differs from its default."""
    fields = type(model).model_fields
    values = ((name, getattr(model, name)) for name in fields if name not in apart)
    return [f"{name} = {_value(value)}" for name, value in values if value != fields[name].default]


def _value(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    # A basic string of TOML is written as one of JSON.
    return json.dumps(f"{value:f}" if isinstance(value, Decimal) else str(value), ensure_ascii=False)


def _data(text: str, name: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text, parse_float=WrittenFloat)
    except ValueError as error:
        raise ConfigError([Fault(where=name, what=f"is not TOML: {error}")]) from None


def _sound(tables: Sequence[object], faults: list[Fault]) -> list[Plan]:
    out = []
    for index, table in enumerate(tables):
        try:
            out.append(Plan.model_validate(table))
        except ValidationError as error:
            faults.extend(faults_of(error, Plan, ("plans", index)))
    return out


def backdated(plan: Plan) -> Plan:
    """The plan with the first version of each price in force since the beginning of time."""
    first: dict[str, datetime] = {}
    for price in plan.prices:
        first[price.meter] = min(first.get(price.meter, price.valid_from), price.valid_from)

    def dated(price: Price) -> Price:
        is_first = price.valid_from == first[price.meter]
        return price.model_copy(update={"valid_from": EVER}) if is_first else price

    return plan.model_copy(update={"prices": tuple(dated(price) for price in plan.prices)})
