"""A second opinion on prices: the same questions answered in `fractions.Fraction` without any of the project's code.

Written in another way on purpose: a quantity is walked through the tiers slice by slice, and a step from `before` to
`after` is looked at as two whole prices. Run it to write the expected answers into scenarios/prices.jsonl anew:

    python tests/support/oracle.py
"""

import json
from fractions import Fraction
from pathlib import Path

PLACES = {"USD": 2, "EUR": 2, "JPY": 0, "KRW": 0, "KWD": 3, "BHD": 3, "CLF": 4, "ISK": 0, "IQD": 3}
SCENARIOS = Path(__file__).parents[1] / "scenarios" / "prices.jsonl"


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


def whole_price(price, quantity, share):
    """{(tier, is it the flat fee): (how many, at what price)} of a quantity from which the allowance is off."""
    model = price["model"]
    if model == "per_unit":
        return {(1, False): (quantity, number(price["unit_price"]))}
    if model == "package":
        return {(1, False): (quantity, None)}
    floor, out = Fraction(0), {}
    for i, tier in enumerate(price["tiers"], start=1):
        ceiling = number(tier["up_to"]) if "up_to" in tier else None
        is_below = ceiling is not None and quantity > ceiling
        inside = (ceiling if is_below else quantity) - floor
        if model == "volume":
            inside = Fraction(0) if is_below or quantity <= floor else quantity
        if inside > 0:
            out[i, False] = (inside, number(tier["unit_price"]))
            out[i, True] = (Fraction(1), number(tier.get("flat_fee", "0")))
        floor = ceiling
    if quantity == 0 and price.get("flat_fee_at_zero", False):
        out[1, True] = (share, number(price["tiers"][0].get("flat_fee", "0")))
    return out


def packages(price, quantity):
    size = number(price["package_size"])
    return quantity // size + (1 if quantity % size else 0)


def worth(price, entry):
    """What an entry of a whole price comes to, exactly."""
    many, each = entry
    return many * each if each is not None else packages(price, many) * number(price["package_price"])


def bounded(price, share, amount):
    if "minimum" in price:
        amount = max(amount, number(price["minimum"]) * share)
    if "maximum" in price:
        amount = min(amount, number(price["maximum"]))
    return amount


def signed(value, places):
    """A number half away from zero at so many places."""
    return number(away(value, places).lstrip("-")) * (-1 if value < 0 else 1)


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
    top = whole_price(price, rest, share)
    bottom, rest_before = {}, Fraction(0)
    if "used_before" in line:
        rest_before = after_allowance(price, share, number(line["used_before"]))
        bottom = whole_price(price, rest_before, share)
    is_step = "used_before" in line and number(line["used_before"]) > 0
    lines, cents, exact = [], Fraction(0), Fraction(0)
    for key in sorted(top.keys() | bottom.keys()):
        up, down = top.get(key, (Fraction(0), Fraction(0))), bottom.get(key, (Fraction(0), Fraction(0)))
        if price["model"] == "package":
            up, down = top.get(key, (Fraction(0), None)), bottom.get(key, (Fraction(0), None))
        many, amount = up[0] - down[0], worth(price, up) - worth(price, down)
        if (many == 0 and amount == 0) or (key[1] and amount == 0):
            continue
        exact += amount
        cents += signed(amount, places)
        lines.append(printed(price, key, (down, up), amount, places) | ends(price, (down, up), amount, places, is_step))
    if "minimum" in price or "maximum" in price:
        sides = [sum((worth(price, entry) for entry in side.values()), Fraction(0)) for side in (top, bottom)]
        cents, exact, lines = with_bounds(price, share, places, (sides, "used_before" in line), (cents, exact, lines))
    return {
        "amount": away(cents, places),
        "exact": exactly(exact),
        "billable": short(away(rest - rest_before, 12)),
        "lines": lines,
    }


def printed(price, key, sides, amount, places):
    (tier, is_flat), (down, up) = key, sides
    entry = {
        "tier": tier,
        "quantity": short(away(up[0] - down[0], 12)),
        "unit_price": price["tiers"][tier - 1]["flat_fee"] if is_flat else unit(price, tier),
        "amount": away(amount, places),
    }
    if is_flat:
        entry["flat"] = True
    if price["model"] == "package":
        entry["package_size"] = price["package_size"]
        entry["packages"] = str(packages(price, up[0]) - packages(price, down[0]))
    return entry


def ends(price, sides, amount, places, is_step):
    """Both ends of a volume or package line; the end after is the one before and the line together."""
    if not is_step or price["model"] not in ("volume", "package"):
        return {}
    before = signed(worth(price, sides[0]), places)
    sums = (before, before + signed(amount, places))
    out = {}
    for name, side, charged in zip(("before", "after"), sides, sums, strict=True):
        out[name] = {"quantity": short(away(side[0], 12)), "amount": away(charged, places)}
        if price["model"] == "package":
            out[name]["packages"] = str(packages(price, side[0]))
    return out


def unit(price, i):
    if price["model"] == "package":
        return price["package_price"]
    return price["unit_price"] if price["model"] == "per_unit" else price["tiers"][i - 1]["unit_price"]


def with_bounds(price, share, places, sides, sums):
    (up, down), is_step = sides
    cents, exact, lines = sums
    due = bounded(price, share, up) - (bounded(price, share, down) if is_step else 0)
    target = cents
    if not is_step:
        for name, choose, part in (("minimum", max, share), ("maximum", min, 1)):
            if name in price:
                target = choose(target, number(away(number(price[name]) * part, places)))
    elif due != exact:
        target = signed(due, places)
    gap = target - cents
    if gap:
        kind = "minimum" if gap > 0 else "discount"
        gap_text = away(gap, places)
        lines = [*lines, {"kind": kind, "tier": None, "quantity": "0", "unit_price": None, "amount": gap_text}]
    return target, due, lines


HOURS = 720
"""The oracle's month is September, walked hour by hour."""


def month(versions, owners, usage, *, by_customer=False, prorate="second"):
    """What one meter comes to in a month, bounds included: {(customer, project or None): dollars}.

    `versions`: [(first hour, price)] in order; `owners`: {project: [customer or None, hour by hour]}, of one plan;
    `usage`: {(project, hour): quantity}.
    """
    groups = {}
    for project, hours in owners.items():
        for customer, first, last, share in runs(hours):
            key = (customer, None if by_customer else project)
            counted = set(range(HOURS)) if prorate == "none" else share
            groups.setdefault(key, []).append((project, first, last, counted))
    return {key: group(versions, found, usage, by_customer, prorate) for key, found in groups.items()}


def runs(hours):
    """[(customer, first hour, behind the last, the hours that its allowance counts)]"""
    found = []
    for hour, customer in enumerate(hours):
        if customer is not None and found and found[-1][0] == customer and found[-1][2] == hour:
            found[-1][2] = hour + 1
        elif customer is not None:
            found.append([customer, hour, hour + 1])
    last = len(found) - 1
    return [
        (customer, first, end, set(range(0 if i == 0 else first, HOURS if i == last else end)))
        for i, (customer, first, end) in enumerate(found)
    ]


def in_force(versions, hour):
    found = None
    for number, (first, _) in enumerate(versions):
        if first <= hour:
            found = number
    return found


def group(versions, found, usage, by_customer, prorate):
    """All segments of a customer or of one project: rounded lines, then the fee at zero, then the bounds."""
    pools = [found] if by_customer else [[one] for one in found]
    lines = [line for pool in pools for line in pool_lines(versions, pool, usage)]
    held = [set() for _ in versions]
    for _, first, end, _ in found:
        for hour in range(first, end):
            version = in_force(versions, hour)
            if version is not None:
                held[version].add(hour)
    time = [Fraction(len(hours), HOURS) for hours in held]
    if prorate == "none":
        whole = [sum(in_force(versions, hour) == at for hour in range(HOURS)) for at in range(len(versions))]
        whole = [count if hours else 0 for count, hours in zip(whole, held, strict=True)]
        time = [Fraction(count, sum(whole)) if sum(whole) else Fraction(0) for count in whole]
    if not lines:
        for (_, price), share in zip(versions, time, strict=True):
            if price.get("flat_fee_at_zero"):
                lines.append(number(price["tiers"][0].get("flat_fee", "0")) * share)
    total = sum((signed(line, 2) for line in lines), Fraction(0))
    minimums = [
        number(price["minimum"]) * t for (_, price), t in zip(versions, time, strict=True) if "minimum" in price
    ]
    total = max(total, signed(sum(minimums, Fraction(0)), 2)) if any(held) and minimums else total
    last = max((i for i, hours in enumerate(held) if hours), default=None)
    if last is not None and "maximum" in versions[last][1]:
        total = min(total, signed(number(versions[last][1]["maximum"]), 2))
    return total


def pool_lines(versions, pool, usage):
    """The exact amounts of the lines of segments that fill one allowance: version after version."""
    share = Fraction(len(set.union(*(counted for *_, counted in pool))), HOURS)
    before, out = Fraction(0), []
    for position, (_, price) in enumerate(versions):
        used = sum(
            (
                usage.get((project, hour), Fraction(0))
                for project, first, end, _ in pool
                for hour in range(first, end)
                if in_force(versions, hour) == position
            ),
            Fraction(0),
        )
        sides = [
            whole_price({**price, "flat_fee_at_zero": False}, after_allowance(price, share, at), share)
            for at in (before, before + used)
        ]
        nothing = (Fraction(0), None if price["model"] == "package" else Fraction(0))
        for key in sides[0].keys() | sides[1].keys():
            down, up = (side.get(key, nothing) for side in sides)
            amount = worth(price, up) - worth(price, down)
            if up[0] != down[0] or amount:
                out.append(amount)
        before += used
    return out


if __name__ == "__main__":
    cases = [json.loads(text) for text in SCENARIOS.read_text().splitlines()]
    for case in cases:
        if "error" not in case["expected"]:
            case["expected"] = answer(case["input"])
    SCENARIOS.write_text("".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases))
