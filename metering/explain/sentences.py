"""The arithmetic of an explanation as sentences, one for each step.

Words only: every number stands in the explanation already. Knows its keys, and nothing else.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from metering.core.money import quantity_text

Json = dict[str, Any]
_MODES = {"half_up": "half away from zero", "half_even": "half to even"}


def steps(told: Mapping[str, Any]) -> list[str]:
    """The arithmetic of one explained line, a sentence for each step."""
    if "adjustment" in told:
        return list(_adjustment(told["adjustment"]))
    arithmetic = told["arithmetic"]
    unit = arithmetic.get("unit", told["line"]["unit"])
    said = _SAID.get(arithmetic["model"])
    is_flat = told["line"]["kind"] == "flat_fee"
    lines = said(arithmetic) if said else _usage(arithmetic, unit, is_flat=is_flat)
    return [*lines, _rounding(arithmetic, told["currency"]), *_split(arithmetic, unit), *_part(told["line"])]


def as_issued(line: Mapping[str, Any]) -> list[str]:
    """Sentences for a line that today's rules did not compute: quantity, price and amount as issued."""
    said = f"{line['quantity']} {line['unit'] or ''}".strip()
    price = f" at {line['unit_price']}" if line["unit_price"] is not None else ""
    return [
        "closed under older rules: the line is shown as it was issued and is not computed again",
        f"on the document: {said}{price}: {line['amount']}",
    ]


def number(text: str) -> str:
    """An exact number for reading; a fraction is followed by its decimal."""
    return text if "/" not in text else f"{text} = {quantity_text(Fraction(text))}"


def _usage(arithmetic: Json, unit: str, *, is_flat: bool) -> Iterator[str]:
    for stretch in arithmetic["stretches"]:
        yield from _stretch(stretch, unit, is_alone=len(arithmetic["stretches"]) == 1)
    if not arithmetic["is_first"]:
        before, after = number(arithmetic["used_before"]), number(arithmetic["used_after"])
        yield f"allowance and tiers go on from before this price: {before} used before, {after} {unit} with it"
    if allowance := arithmetic["allowance"]:
        yield (
            f"allowance: {allowance['included']} {unit} × {allowance['share_seconds']} of {allowance['month_seconds']} "
            f"seconds of the month = {number(allowance['quantity'])}"
        )
    if not arithmetic["is_first"]:
        yield f"beyond the allowance before: {number(arithmetic['billable_before'])} {unit}"
    if allowance:
        yield f"beyond the allowance: {number(arithmetic['billable_after'])} {unit}"
    if is_flat:
        yield from (line for tier in _touched(arithmetic) for line in _fee(tier))
    else:
        yield from (line for row in arithmetic.get("neon", ()) for line in _neon(row, unit))
        yield from (line for tier in _touched(arithmetic) for line in _tier(tier, unit))


def _stretch(stretch: Json, unit: str, *, is_alone: bool) -> Iterator[str]:
    head = "" if is_alone else f"{stretch['from']} to {stretch['to']}, price of {stretch['price_valid_from'][:10]}: "
    for row in stretch["values"]:
        what = " + ".join(row["metrics"])
        yield f"{head}{what}: {row['buckets']} buckets, together {row['value']}"
        value = row["value"]
        if "beyond" in row:
            yield f"beyond {row['included_per_hour']} in each hour, hour by hour: {row['beyond']}"
            value = row["beyond"]
        yield f"{value} ÷ {row['divisor']} = {number(row['quantity'])} {unit}"
    if not stretch["values"]:
        yield f"{head}no usage"
    elif len(stretch["values"]) > 1:
        yield f"together {number(stretch['quantity'])} {unit}"


def _touched(arithmetic: Json) -> list[Json]:
    """The tier of the line: the one whose quantity and amount are the line's."""
    return [tier for tier in arithmetic["tiers"] if tier["tier"] == arithmetic["tier"]]


def _tier(tier: Json, unit: str) -> Iterator[str]:
    if "markup_percent" in tier:
        yield f"Neon charges {number(tier['cost_after'])} for it, {number(tier['cost_before'])} of that before"
        yield f"with {tier['markup_percent']} % on it: {number(tier['amount'])}"
        return
    end = f"up to {tier['up_to']}" if tier["up_to"] is not None else "without end"
    yield f"tier {tier['tier']} (above {tier['above']}, {end}): {number(tier['quantity'])} {unit}"
    if "package_size" in tier:
        yield f"packages begun of {tier['package_size']} {unit}, {tier['package_price']} each"
        yield f"{number(tier['amount_after'])} − {number(tier['amount_before'])} before = {number(tier['amount'])}"
        return
    yield f"{number(tier['quantity_after'])} × {tier['unit_price']} = {number(tier['amount_after'])}"
    if Fraction(tier["amount_before"]) or Fraction(tier["quantity_before"]):
        yield f"less what stood there before ({number(tier['amount_before'])}): {number(tier['amount'])}"


def _neon(row: Json, unit: str) -> Iterator[str]:
    """What Neon charges for one stretch of a project's usage."""
    charge, price = row.get("pool", row), row["price"]
    yield (
        f"Neon charges {row['organization']} by its plan {row['neon_plan']}, {row['from']} to {row['to']}: "
        f"{row['project_id']} used {number(row['used'])} {unit} of {row['meter']}"
    )
    if "pool" in row:
        said = f"{number(charge['used'])}, {number(charge['used_before'])} before"
        yield f"    all projects of the organization used {said}"
    elif not charge["is_first"]:
        yield f"    {number(charge['used_before'])} {unit} were used before"
    if price["included_per_hour"] is not None:
        yield f"    beyond {price['included_per_hour']} free in each hour"
    if Fraction(price["included"]):
        yield f"    {price['included']} included: {number(charge['billable_after'])} beyond it"
    for tier in charge["tiers"]:
        yield f"    {number(tier['quantity'])} × {tier['unit_price']} = {number(tier['amount'])}"
    if "pool" in row:
        yield f"    its part: {number(charge['amount'])} × {row['used']} ÷ {charge['used']} = {number(row['amount'])}"


def _fee(tier: Json) -> Iterator[str]:
    """The flat fee of a tier that usage entered, or that a volume price left again."""
    before, after = Fraction(tier["flat_fees_before"]), Fraction(tier["flat_fees_after"])
    moved = "is entered" if after > before else "is left again"
    yield f"tier {tier['tier']} (above {tier['above']}) {moved}: flat fee {tier['flat_fee']} × {after - before}"


def _idle_fee(arithmetic: Json) -> Iterator[str]:
    yield "no tier was entered in the month: the flat fee is due by time"
    share = f"{arithmetic['flat_fee']} × {arithmetic['seconds']} ÷ {arithmetic['of_seconds']} seconds"
    yield f"{share} = {number(arithmetic['exact'])}"


def _bounds(arithmetic: Json) -> Iterator[str]:
    for line in arithmetic["lines"]:
        yield f"{line['key']}: {line['amount']}"
    yield f"together {arithmetic['charged']}"
    for row in arithmetic["minimums"]:
        share = f"{row['minimum']} × {row['seconds']} ÷ {row['of_seconds']} seconds"
        yield f"minimum of the price of {row['price_valid_from'][:10]}: {share} = {number(row['exact'])}"
    least, most = arithmetic["minimum"], arithmetic["maximum"]
    said = [f"at least {least}" if least is not None else "", f"at most {most}" if most is not None else ""]
    yield f"the month is due {' and '.join(part for part in said if part)}"


def _base_fee(arithmetic: Json) -> Iterator[str]:
    fee, whole = arithmetic["base_fee"], arithmetic["month_seconds"]
    for span in arithmetic["spans"]:
        yield f"{span['counted_from']} to {span['counted_to']}: {span['seconds']} seconds of {span['customer']}"
        share = f"{fee} × {span['seconds_so_far']} ÷ {whole}"
        yield f"{share} = {number(span['exact_so_far'])}, so far {span['due_so_far']}"
    last = arithmetic["spans"][-1]
    yield f"{last['due_so_far']} − {last['due_before']} charged by earlier parts = {last['amount']}"


def _minimum(arithmetic: Json) -> Iterator[str]:
    for line in arithmetic["lines"]:
        yield f"{line['key']}: {line['amount']}"
    share = f"{arithmetic['minimum']} × {arithmetic['seconds']} ÷ {arithmetic['of_seconds']} seconds"
    yield f"minimum {share} = {number(arithmetic['exact'])}, rounded {arithmetic['due']}"
    yield f"{arithmetic['due']} − {arithmetic['charged']} charged = {arithmetic['amount']}"


def _discount(arithmetic: Json) -> Iterator[str]:
    for line in (*arithmetic["lines"], *arithmetic["earlier"]):
        yield f"{line['key']}: {line['amount']}"
    yield f"together {arithmetic['left']}"
    if arithmetic["percent"] is not None:
        yield f"{arithmetic['percent']} % of {arithmetic['left']} off: {number(arithmetic['exact'])}"
    else:
        yield f"{arithmetic['fixed']} off, at most {arithmetic['left']}"


_SAID = {
    "base_fee": _base_fee,
    "plan_minimum": _minimum,
    "discount": _discount,
    "bounds": _bounds,
    "flat_fee_at_zero": _idle_fee,
}
"""Model of the arithmetic -> its sentences; every other model is a price's."""


def _split(arithmetic: Json, unit: str) -> Iterator[str]:
    """The parts that projects have in a customer's line."""
    if "projects" not in arithmetic:
        return
    yield "shared by usage, by largest remainder"
    parts = {part["project_id"]: part for part in arithmetic["projects"]}
    for row in arithmetic["used_by_project"]:
        part = parts.get(row["project_id"])
        if part:
            yield f"    {row['project_id']} used {number(row['used'])} {unit}: {part['quantity']}, {part['amount']}"


def _part(line: Mapping[str, Any]) -> Iterator[str]:
    """How a line of the whole month was shared over the taxes in it."""
    if shared := line.get("shared"):
        weights, time = " : ".join(shared["weights"]), f"{shared['from'][:10]} to {shared['to'][:10]}"
        yield (
            f"shared over the taxes of {time} as {weights}, by largest remainder: part {shared['place']} of "
            f"{shared['amount']} is {line['amount']}"
        )


def _rounding(arithmetic: Json, currency: str) -> str:
    rule = arithmetic["rounding"]
    return f"rounded once, {_MODES[rule['mode']]}, to {rule['digits']} digits: {arithmetic['amount']} {currency}"


def _adjustment(adjustment: Json) -> Iterator[str]:
    month = adjustment["month"]
    for line in adjustment["billed"]["lines"]:
        yield f"billed for {month} on {line['number']}: {line['key']}: {line['amount']}"
    yield f"billed for {month}: {adjustment['billed']['amount']}"
    for line in adjustment["rerated"]["lines"]:
        yield f"by what is known now: {line['line']['key']}: {line['line']['amount']}"
        yield from (f"    {step}" for step in line["steps"])
    yield f"{month} rated again: {adjustment['rerated']['amount']}"
    yield f"{adjustment['rerated']['amount']} − {adjustment['billed']['amount']} = {adjustment['amount']}"
