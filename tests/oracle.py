"""A second opinion on prices: the same questions answered in `fractions.Fraction` without any of the project's code.

Written in another way on purpose: a quantity is walked through the tiers slice by slice, and a step from `before` to
`after` is looked at as two whole prices. Run it to write the expected answers into scenarios/prices.jsonl anew:

    python tests/oracle.py
"""

import json
from fractions import Fraction
from pathlib import Path

PLACES = {"USD": 2, "EUR": 2, "JPY": 0, "KRW": 0, "KWD": 3, "BHD": 3, "CLF": 4, "ISK": 0, "IQD": 3}
SCENARIOS = Path(__file__).parent / "scenarios" / "prices.jsonl"


def number(text):
    if "/" in text:
        top, bottom = text.split("/")
        return number(top) / number(bottom)
    whole, _, part = text.partition(".")
    return Fraction(int(whole + part), 10 ** len(part))


def away(value, places):
    """Half away from zero at so many places, as text with all of them."""
    shifted = abs(value) * 10**places + Fraction(1, 2)
    digits = str(shifted.numerator // shifted.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 and digits.strip("0") else ""
    return sign + (digits if places == 0 else digits[:-places] + "." + digits[-places:])


def short(text):
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def exactly(value):
    for places in range(0, 1200):
        if (value * 10**places).denominator == 1:
            return short(away(value, places))
        if places > 60 and (value.denominator % 3 == 0 or value.denominator % 7 == 0 or value.denominator % 31 == 0):
            break
    return f"{value.numerator}/{value.denominator}"


def after_allowance(price, share, quantity):
    free = number(price.get("included", "0")) * share
    return quantity - free if quantity > free else Fraction(0)


def whole_price(price, quantity):
    """{tier: [quantity, amount]} of a quantity from which the allowance is off."""
    model = price["model"]
    if model == "per_unit":
        return {1: [quantity, quantity * number(price["unit_price"])]}
    if model == "package":
        started, size = 0, number(price["package_size"])
        started = quantity // size + (1 if quantity % size else 0)
        return {1: [quantity, started * number(price["package_price"])]}
    slices, floor = {}, Fraction(0)
    for i, tier in enumerate(price["tiers"], start=1):
        ceiling = number(tier["up_to"]) if "up_to" in tier else None
        slices[i] = (floor, ceiling, number(tier["unit_price"]), number(tier.get("flat_fee", "0")))
        floor = ceiling
    at_zero = price.get("flat_fee_at_zero", False)
    if quantity == 0:
        return {1: [Fraction(0), slices[1][3] if at_zero else Fraction(0)]}
    if model == "volume":
        for i, (_, ceiling, unit, flat) in slices.items():
            if ceiling is None or quantity <= ceiling:
                return {i: [quantity, quantity * unit + flat]}
    return {
        i: [(quantity if ceiling is None else min(quantity, ceiling)) - floor, None]
        for i, (floor, ceiling, _, _) in slices.items()
        if quantity > floor
    } | {}


def with_amounts(price, vector):
    for i, entry in vector.items():
        if entry[1] is None:
            tier = price["tiers"][i - 1]
            entry[1] = entry[0] * number(tier["unit_price"]) + number(tier.get("flat_fee", "0"))
    return vector


def bounded(price, amount):
    if "minimum" in price:
        amount = max(amount, number(price["minimum"]))
    if "maximum" in price:
        amount = min(amount, number(price["maximum"]))
    return amount


def answer(line):
    """What `metering price` answers to a faultless line."""
    price, currency = line["price"], line.get("currency", "USD")
    places = PLACES[currency]
    share = number(line.get("share", "1"))
    if "hourly" in line:
        per_hour = number(price.get("included_per_hour", "0"))
        after = sum((max(Fraction(0), number(v) - per_hour) for v in line["hourly"]), Fraction(0))
    else:
        after = number(line["quantity"])
    rest = after_allowance(price, share, after)
    top = with_amounts(price, whole_price(price, rest))
    bottom, rest_before = {}, Fraction(0)
    if "used_before" in line:
        rest_before = after_allowance(price, share, number(line["used_before"]))
        bottom = with_amounts(price, whole_price(price, rest_before))
    lines, cents, exact = [], Fraction(0), Fraction(0)
    for i in sorted(top.keys() | bottom.keys()):
        q = top.get(i, [0, 0])[0] - bottom.get(i, [0, 0])[0]
        a = top.get(i, [0, 0])[1] - bottom.get(i, [0, 0])[1]
        if q == 0 and a == 0:
            continue
        exact += a
        cents += number(away(a, places).lstrip("-")) * (-1 if a < 0 else 1)
        entry = {
            "tier": i,
            "quantity": short(away(Fraction(q), 12)),
            "unit_price": unit(price, i),
            "amount": away(a, places),
        }
        if price["model"] == "package":
            entry["package_size"] = price["package_size"]
        lines.append(entry)
    if "minimum" in price or "maximum" in price:
        cents, exact, lines = with_bounds(price, places, (top, bottom, "used_before" in line), (cents, exact, lines))
    return {
        "amount": away(cents, places),
        "exact": exactly(exact),
        "billable": short(away(rest - rest_before, 12)),
        "lines": lines,
    }


def unit(price, i):
    if price["model"] == "package":
        return price["package_price"]
    return price["unit_price"] if price["model"] == "per_unit" else price["tiers"][i - 1]["unit_price"]


def with_bounds(price, places, sides, sums):
    top, bottom, is_step = sides
    cents, exact, lines = sums
    up, down = (sum((entry[1] for entry in side.values()), Fraction(0)) for side in (top, bottom))
    due = bounded(price, up) - (bounded(price, down) if is_step else 0)
    target = cents
    if not is_step:
        for name, choose in (("minimum", max), ("maximum", min)):
            if name in price:
                target = choose(target, number(away(number(price[name]), places)))
    elif due != exact:
        target = number(away(abs(due), places)) * (-1 if due < 0 else 1)
    gap = target - cents
    if gap:
        kind = "minimum" if gap > 0 else "discount"
        gap_text = away(gap, places)
        lines = [*lines, {"kind": kind, "tier": None, "quantity": "0", "unit_price": None, "amount": gap_text}]
    return target, due, lines


if __name__ == "__main__":
    cases = [json.loads(text) for text in SCENARIOS.read_text().splitlines()]
    for case in cases:
        if "error" not in case["expected"]:
            case["expected"] = answer(case["input"])
    SCENARIOS.write_text("".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases))
