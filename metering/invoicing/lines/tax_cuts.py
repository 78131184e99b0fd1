"""Splits lines over the taxes of a month in which a customer's tax changes.

Lines of usage and base fees end where the tax changes. Minimums, maximums and discounts are computed once for the whole
month; their lines are then split in proportion to the lines that they apply to. Pure: lines in, lines out. Must not
know charges or documents.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import pairwise

from msgspec.structs import replace

from metering.core.dated_tax import changes, last_instant
from metering.core.invoice import Line, ProjectPart, Shared
from metering.core.money import amount_text, largest_remainder, parse_amount, quantity_text
from metering.core.parties import Customer
from metering.core.period import parse_time, rfc3339


def parts(
    customer: Customer | None, printed: tuple[datetime, datetime], counted: tuple[datetime, datetime]
) -> list[tuple[datetime, datetime, datetime, datetime]]:
    """Splits a period where the customer's tax changes: start and end of each part, as printed and as counted."""
    cuts = changes(customer, *printed)
    (start, end), (begin, finish) = printed, counted
    return list(zip([start, *cuts], [*cuts, end], [begin, *cuts], [*cuts, finish], strict=True))


def shared(lines: Sequence[Line], customer: Customer, currency: str) -> list[Line]:
    """The lines; a line that spans a change of its customer's tax becomes one line for each part of the time.

    A line applies to the other lines of its project, plan and meter; without a meter, to those of its plan; without a
    plan, to all lines.
    """
    out: list[Line] = []
    cut = [(line, changes(customer, *_span(line))) for line in lines]
    whole = [line for line, moments in cut if not moments]
    for line, moments in cut:
        acted_on = [one for one in whole if _acts_on(line, one)]
        out += _over(line, moments, acted_on, currency) if moments else [line]
    return out


def _span(line: Line) -> tuple[datetime, datetime]:
    return parse_time(line.start), parse_time(line.end)


def _acts_on(line: Line, one: Line) -> bool:
    if line.meter is not None:
        return (one.project_id, one.plan, one.meter) == (line.project_id, line.plan, line.meter)
    return not line.plan or one.plan == line.plan


def _over(line: Line, moments: Sequence[datetime], acted_on: Iterable[Line], currency: str) -> list[Line]:
    """The parts of a line between the moments, without parts that have neither amount nor quantity."""
    start, end = _span(line)
    spans = list(pairwise([start, *moments, end]))
    sums = [0] * len(spans)
    for one in acted_on:
        at = last_instant(one)
        for place, (begin, finish) in enumerate(spans):
            sums[place] += parse_amount(one.amount, currency) if begin <= at < finish else 0
    by_amount = [max(0, minor) for minor in sums]
    weights = [amount_text(minor, currency) for minor in by_amount]
    if not any(by_amount):
        weights = [str(int((finish - begin).total_seconds())) for begin, finish in spans]
    out = []
    for place, (begin, finish) in enumerate(spans, start=1):
        whole = Shared(
            key=line.key,
            start=line.start,
            end=line.end,
            quantity=line.quantity,
            amount=line.amount,
            unit_price=line.unit_price,
            weights=weights,
            place=str(place),
        )
        key = line.key.replace(f"/{line.start}/", f"/{rfc3339(begin)}/")
        own = replace(line, key=key, start=rfc3339(begin), end=rfc3339(finish), shared=whole)
        out.append(part(own, currency))
    return [one for one in out if parse_amount(one.amount, currency) or Fraction(one.quantity)]


def part(line: Line, currency: str) -> Line:
    """A part of a split line: amount, quantity and projects computed from the whole line in `shared`.

    `line` has the projects of the whole line. Amount and quantity are split by the weights, the amount by largest
    remainder; so the amount is not quantity times price.
    """
    whole = line.shared
    assert whole is not None, "the whole is known"
    weights, place = [Fraction(weight) for weight in whole.weights], int(whole.place) - 1
    scale = 10 ** max(len(weight.partition(".")[2]) for weight in whole.weights)
    amounts = largest_remainder(parse_amount(whole.amount, currency), [int(weight * scale) for weight in weights])
    quantity = Fraction(whole.quantity) * weights[place] / sum(weights)
    return replace(
        line,
        quantity=quantity_text(quantity),
        unit_price=None,
        amount=amount_text(amounts[place], currency),
        projects=None if line.projects is None else _projects(line.projects, amounts[place], currency),
    )


def _projects(of_whole: Sequence[ProjectPart], amount: int, currency: str) -> list[ProjectPart]:
    """The projects' parts of a part, in proportion to their parts of the whole line."""
    minor = largest_remainder(amount, [abs(parse_amount(one.amount, currency)) for one in of_whole])
    return [
        ProjectPart(project_id=one.project_id, quantity="0", amount=amount_text(own, currency))
        for one, own in zip(of_whole, minor, strict=True)
        if own
    ]
