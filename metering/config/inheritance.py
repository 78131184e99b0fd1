"""Completes the raw tables of plans that extend another, before they are parsed.

A plan that `extends` another inherits every key that it does not give itself; its own prices of a meter replace the
inherited ones from their first date on. Pure: raw data in, raw data and faults out.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from pydantic_core import PydanticCustomError

from metering.core.errors import Fault
from metering.core.values import closest, moment

Table = dict[str, object]
_PLACE = re.compile(r"plans\[(\d+)\]\.(\w+)(?:\[(\d+)\])?")


def extended_plans(data: Mapping[str, object], faults: list[Fault]) -> dict[str, object]:
    """The data with every plan complete; adds faults for unknown plans and for rings of plans."""
    entries = data.get("plans")
    if not isinstance(entries, list):
        return dict(data)
    tables = [entry for entry in entries if isinstance(entry, dict)]
    by_id = {str(table["id"]): table for table in tables if "id" in table}
    whole = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            whole.append(entry)
            continue
        chain, fault = _chain(entry, by_id)
        whole.append(_united(chain))
        if fault:
            what, right = fault
            faults.append(Fault(where=f"plans[{index}].extends", what=what, right=right))
    return {**data, "plans": whole}


def is_inherited(fault: Fault, data: Mapping[str, object]) -> bool:
    """Whether the fault is about an inherited key, so that the other plan reports it; `data` are the file's."""
    match, entries = _PLACE.match(fault.where), data.get("plans")
    if not match or not isinstance(entries, list):
        return False
    plan = entries[int(match[1])]
    if not isinstance(plan, dict) or "extends" not in plan or match[2] == "extends":
        return False
    own = plan.get(match[2])
    return match[2] not in plan or (match[3] is not None and isinstance(own, list) and int(match[3]) >= len(own))


def _chain(plan: Table, by_id: Mapping[str, Table]) -> tuple[list[Table], tuple[str, str] | None]:
    """The plan, the plan that it extends, and so on; and the fault of the plan's own `extends`."""
    chain = [plan]
    while "extends" in chain[-1]:
        name = chain[-1]["extends"]
        base = by_id.get(name) if isinstance(name, str) else None
        if base is None:
            known = closest(str(name), set(by_id) - {str(plan.get("id"))})
            return chain, (f"there is no plan {name!r}", known) if len(chain) == 1 else None
        if any(base is table for table in chain):
            return chain, (f"{name!r} leads back to itself", "let one of the plans stand alone")
        chain.append(base)
    return chain, None


def _united(chain: list[Table]) -> Table:
    out: Table = {}
    prices: list[object] = []
    for table in reversed(chain):
        own = table.get("prices")
        if isinstance(own, list):
            prices = [*own, *_remaining(prices, own)]
        out |= {name: value for name, value in table.items() if name != "extends"}
        if prices and isinstance(out.get("prices", prices), list):
            out["prices"] = prices
    return out


def _remaining(inherited: list[object], own: list[object]) -> Iterator[object]:
    """The inherited prices that stay: those of other meters, and those from before the first own price."""
    first: dict[str, datetime] = {}
    for price in own:
        meter, since = _dated(price)
        if since is not None:
            first[meter] = min(first.get(meter, since), since)
    for price in inherited:
        meter, since = _dated(price)
        if meter not in first or (since is not None and since < first[meter]):
            yield price


def _dated(price: object) -> tuple[str, datetime | None]:
    """Meter and first moment of a raw price; None where they are faulty, which the models report."""
    if not isinstance(price, dict):
        return "", None
    try:
        return str(price.get("meter")), moment(price.get("valid_from"))
    except PydanticCustomError:
        return str(price.get("meter")), None
