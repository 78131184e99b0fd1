"""A second opinion on a month's documents: what each customer owes, before tax and by tax, in `fractions.Fraction`.

None of the project's code is used. A month is walked bucket by bucket; time is whole seconds since its start. Prices
and the rounding are those of oracle.py; here are who had a project when, fees and bounds by time, and what lies under
which tax.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from tests.support.oracle import after_allowance, in_force, number, signed, whole_price, worth

Tax = tuple[str | None, str | None, str | None]
"""Rate, name and category."""
NO_TAX: Tax = (None, None, None)


@dataclass(frozen=True, kw_only=True)
class Stay:
    """A stretch of a project's time with one customer and one plan; with neither it is the operator's own."""

    customer: str | None
    plan: str | None
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """An amount in dollars, rounded; what it is of, and its period."""

    plan: str | None
    meter: str | None
    project: str | None
    start: int
    end: int
    amount: Fraction


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What one customer owes: by tax (the sum of lines, the tax on it or in it), zeros left out."""

    by_tax: dict[Tax, tuple[Fraction, Fraction]]


@dataclass(kw_only=True)
class Facts:
    """A month of `length` seconds.

    `plans`: {id: {base_fee, base_fee_scope, minimum, prices: {meter: [(first second, price)]}}}. `stays`: {project: its
    Stays in order}. `buckets`: {(project, start, end): {meter: quantity}}. `taxes`: {customer: [(first second, Tax)]}.
    `discounts`: {customer: percent}. `inclusive`: whose prices include the tax.
    """

    length: int
    plans: dict[str, dict]
    stays: dict[str, list[Stay]]
    buckets: dict[tuple[str, int, int], dict[str, Fraction]]
    taxes: dict[str, list[tuple[int, Tax]]] = field(default_factory=dict)
    discounts: dict[str, str] = field(default_factory=dict)
    inclusive: set[str] = field(default_factory=set)

    def __post_init__(self):
        found = {project: merged(stays, self.length) for project, stays in self.stays.items()}
        self.stays = {project: [one for one in stays if one.customer] for project, stays in found.items()}
        self.placed = {key: owner(self.stays.get(key[0], []), *key[1:]) for key in self.buckets}
        ours = {project: [one for one in stays if not one.customer] for project, stays in found.items()}
        # Our own time has no plan: a bucket that begins in it belongs to the first plan that begins inside the bucket.
        self.own = {
            key for key, place in self.placed.items() if place is None and owner(ours.get(key[0], []), *key[1:])
        }

    def cuts(self, customer):
        """The moments inside the month at which the customer's tax becomes another."""
        return [second for second, _ in self.taxes.get(customer, [])[1:] if 0 < second < self.length]

    def tax_at(self, customer, line):
        """The tax on the last instant of a line's period."""
        last = max(line.end - 1, line.start)
        return [NO_TAX, *(tax for second, tax in self.taxes.get(customer, []) if second <= last)][-1]

    def unassigned(self):
        """The projects that were used in time that nobody pays for."""
        open_to_all = (key for key, found in self.placed.items() if found is None and key not in self.own)
        return {key[0] for key in open_to_all if any(self.buckets[key].values())}


def merged(stays, length):
    """The stays inside the month, adjacent equal ones as one."""
    out = []
    for stay in sorted(stays, key=lambda one: one.start):
        start, end = max(stay.start, 0), min(stay.end, length)
        if start >= end:
            continue
        before = out[-1] if out else None
        if before and (before.customer, before.plan, before.end) == (stay.customer, stay.plan, start):
            start = out.pop().start
        out.append(Stay(customer=stay.customer, plan=stay.plan, start=start, end=end))
    return out


def owner(stays, start, end):
    """(which stay a bucket belongs to, the moment that counts): in force at its start, or the first to begin inside."""
    for at, stay in enumerate(stays):
        if stay.start <= start < stay.end:
            return at, start
    inside = [(stay.start, at) for at, stay in enumerate(stays) if start < stay.start < end]
    return (min(inside)[1], min(inside)[0]) if inside else None


def union(spans):
    """The spans as few that do not touch."""
    out = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def seconds(spans):
    return sum(end - start for start, end in union(spans))


def bills(facts):
    """{customer: Bill} of everybody who owes anything."""
    lines = {}
    pairs = {(stay.customer, stay.plan) for found in facts.stays.values() for stay in found}
    for customer, plan in sorted(pairs):
        for meter, versions in facts.plans[plan]["prices"].items():
            lines.setdefault(customer, []).extend(meter_lines(facts, customer, plan, meter, versions))
    for customer, line in fee_lines(facts):
        lines.setdefault(customer, []).append(line)
    out = {}
    for customer, found in lines.items():
        own = shared(facts, customer, found)
        for plan in sorted(plan for payer, plan in pairs if payer == customer):
            own += plan_minimum(facts, customer, plan, own)
        own = shared(facts, customer, own)
        own = shared(facts, customer, own + discount(facts, customer, own))
        out[customer] = Bill(by_tax=taxed(facts, customer, own))
    return {customer: bill for customer, bill in out.items() if bill.by_tax}


def held_by(facts, customer, plan):
    """[(project, number of the stay, the stay, the time that its allowance counts)]"""
    out = []
    for project, found in sorted(facts.stays.items()):
        for at, stay in enumerate(found):
            if (stay.customer, stay.plan) == (customer, plan):
                first = 0 if at == 0 else stay.start
                last = facts.length if at == len(found) - 1 else stay.end
                out.append((project, at, stay, (first, last)))
    return out


def meter_lines(facts, customer, plan, meter, versions):
    """Lines of one meter, bounds included: whatever a group is cut into, its sum is bounded once."""
    held = held_by(facts, customer, plan)
    is_pooled = versions[0][1].get("scope") == "customer"
    groups = [held] if is_pooled else [[one for one in held if one[0] == name] for name in {one[0] for one in held}]
    out = []
    for group in groups:
        project = None if is_pooled else group[0][0]
        pools = [group] if is_pooled else [[one] for one in group]
        what = {"plan": plan, "meter": meter, "project": project}
        own = [line for pool in pools for line in pool_lines(facts, customer, pool, versions, what)]
        spans = [(stay.start, stay.end) for *_, stay, _ in group]
        gap = bounded(versions, spans, facts.length, sum((line.amount for line in own), Fraction(0)))
        start, end = min(spans)[0], max(end for _, end in spans)
        out += own + ([Line(**what, start=start, end=end, amount=gap)] if gap else [])
    return out


def pool_lines(facts, customer, pool, versions, what):
    """The lines of stays that fill one allowance: price after price, and tax after tax."""
    share = Fraction(seconds([counted for *_, counted in pool]), facts.length)
    members = {(project, at) for project, at, _, _ in pool}
    starts = [second for second, _ in versions if 0 < second < facts.length]
    before, out = Fraction(0), []
    for low, high in pairwise(sorted({0, facts.length, *starts, *facts.cuts(customer)})):
        price = versions[in_force(versions, low)][1]
        used = sum(
            (
                facts.buckets[key].get(what["meter"], Fraction(0))
                for key, found in facts.placed.items()
                if found and (key[0], found[0]) in members and low <= found[1] < high
            ),
            Fraction(0),
        )
        sides = [whole_price(price, after_allowance(price, share, at), share) for at in (before, before + used)]
        before += used
        for key in sorted(sides[0].keys() | sides[1].keys()):
            down, up = (worth(price, side[key]) if key in side else Fraction(0) for side in sides)
            amount = signed(up - down, 2)
            out += [Line(**what, start=low, end=high, amount=amount)] if amount else []
    return out


def bounded(versions, spans, length, charged):
    """What a group's lines lack to its minimum (by time, rounded once), or have above the last price's maximum."""
    held = []
    for (first, price), (behind, _) in pairwise([*versions, (length, None)]):
        inside = [(max(start, first), min(end, behind)) for start, end in spans]
        time = seconds([span for span in inside if span[0] < span[1]])
        held += [(time, price)] if time else []
    due = sum((number(price["minimum"]) * Fraction(t, length) for t, price in held if "minimum" in price), Fraction(0))
    total = max(charged, signed(due, 2)) if any("minimum" in price for _, price in held) else charged
    if held and "maximum" in held[-1][1]:
        total = min(total, signed(number(held[-1][1]["maximum"]), 2))
    return total - charged


def fee_lines(facts):
    """(customer, line) of every part of a base fee: rounded cumulatively, so that the parts sum to the whole."""
    for plan, terms in sorted(facts.plans.items()):
        fee = number(terms.get("base_fee", "0"))
        if terms.get("base_fee_scope") == "customer":
            customers = sorted({s.customer for found in facts.stays.values() for s in found if s.plan == plan})
            parts = [
                (None, [(customer, *span) for span in union((s.start, s.end) for _, _, s, _ in held)])
                for customer in customers
                if (held := held_by(facts, customer, plan))
            ]
        else:
            parts = [
                (project, [(s.customer, s.start, s.end) for s in found if s.plan == plan])
                for project, found in sorted(facts.stays.items())
            ]
        for project, spans in parts:
            so_far = 0
            for customer, start, end in spans:
                cuts = [cut for cut in facts.cuts(customer) if start < cut < end]
                for low, high in pairwise([start, *cuts, end]):
                    earlier, so_far = so_far, so_far + high - low
                    due, charged = (signed(fee * Fraction(part, facts.length), 2) for part in (so_far, earlier))
                    yield (
                        customer,
                        Line(plan=plan, meter=None, project=project, start=low, end=high, amount=due - charged),
                    )


def plan_minimum(facts, customer, plan, lines):
    """What a plan's lines lack to its minimum for the time in which the customer had it."""
    least = number(facts.plans[plan].get("minimum", "0"))
    time = seconds([(stay.start, stay.end) for *_, stay, _ in held_by(facts, customer, plan)])
    charged = sum((line.amount for line in lines if line.plan == plan), Fraction(0))
    gap = signed(least * Fraction(time, facts.length), 2) - charged
    return [Line(plan=plan, meter=None, project=None, start=0, end=facts.length, amount=gap)] if gap > 0 else []


def discount(facts, customer, lines):
    percent = facts.discounts.get(customer)
    left = sum((line.amount for line in lines), Fraction(0))
    off = min(left, signed(left * number(percent) / 100, 2)) if percent and left > 0 else Fraction(0)
    return [Line(plan=None, meter=None, project=None, start=0, end=facts.length, amount=-off)] if off else []


def shared(facts, customer, lines):
    """The lines, each that spans a change of tax shared over its sides in proportion to what it acts on there."""
    out = []
    spanning = {line: [cut for cut in facts.cuts(customer) if line.start < cut < line.end] for line in lines}
    whole = [line for line in lines if not spanning[line]]
    for line in lines:
        if not spanning[line]:
            out.append(line)
            continue
        spans = list(pairwise([line.start, *spanning[line], line.end]))
        sides = [side(facts, customer, high) for _, high in spans]
        beside = [one for one in whole if acts_on(line, one)]
        sums = [sum(one.amount for one in beside if side(facts, customer, one.end) == at) for at in sides]
        weights = [max(Fraction(0), Fraction(one)) for one in sums]
        weights = weights if any(weights) else [Fraction(high - low) for low, high in spans]
        for (low, high), amount in zip(spans, by_largest_remainder(line.amount, weights), strict=True):
            what = {"plan": line.plan, "meter": line.meter, "project": line.project}
            out += [Line(**what, start=low, end=high, amount=amount)] if amount else []
    return out


def side(facts, customer, end):
    """After how many changes of tax a period ends."""
    return sum(cut < end for cut in facts.cuts(customer))


def acts_on(line, one):
    if line.meter is not None:
        return (line.plan, line.meter, line.project) == (one.plan, one.meter, one.project)
    return line.plan is None or line.plan == one.plan


def by_largest_remainder(amount, weights):
    """Whole cents in proportion; those that are left over go where most was cut off, the earlier first."""
    cents, sign = int(abs(amount) * 100), (-1 if amount < 0 else 1)
    exact = [cents * weight / sum(weights) for weight in weights]
    parts = [int(one) for one in exact]
    order = sorted(range(len(exact)), key=lambda at: (-(exact[at] - parts[at]), at))
    for at in order[: cents - sum(parts)]:
        parts[at] += 1
    return [Fraction(sign * part, 100) for part in parts]


def taxed(facts, customer, lines):
    """By tax (what the lines come to, the tax, rounded once); without what comes to nothing."""
    sums = {}
    for line in lines:
        tax = facts.tax_at(customer, line)
        sums[tax] = sums.get(tax, Fraction(0)) + line.amount
    out = {}
    for tax, amount in sums.items():
        rate = number(tax[0] or "0")
        out[tax] = (amount, signed(amount * rate / (100 + (rate if customer in facts.inclusive else 0)), 2))
    return {tax: found for tax, found in out.items() if found[0]}
