"""An explanation as a person reads it: the steps in order, observations and pages as columns, 110 wide.

Words and columns only: every number stands in the explanation already. Knows its keys, and nothing else.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from metering.billing.terms import RULES
from metering.core.text import legible

Json = dict[str, Any]
WIDTH = 110


def table(told: Mapping[str, Any]) -> str:
    """The whole explanation as text."""
    return "\n".join(_wrapped(_lines(told)))


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()))
        yield from textwrap.wrap(
            line, WIDTH, subsequent_indent=indent + "  ", break_long_words=True, break_on_hyphens=False,
            replace_whitespace=False, drop_whitespace=True,
        ) or [""]  # fmt: skip


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    customer = told["customer"]
    number = told["number"] or "No number yet"
    yield f"{number} ({told['status']}) for {legible(customer['name'])} ({legible(customer['id'])})"
    if told["closing"]:
        closing = told["closing"]
        known = f"knowing records up to {closing['as_of_record']}"
        under = f", under older rules ({closing['rules']})" if closing["rules"] != RULES else ""
        yield f"closed {closing['as_of']} by journal record {closing['record']}, {known}{under}"
        yield f"rate card {told['rate_card_sha256']}"
    if "line" not in told:
        yield from _overview(told)
        return
    line = told["line"]
    yield ""
    yield f"{line['key']}"
    yield f"{legible(line['description'])}: {line['amount']} {told['currency']}"
    yield ""
    yield from (
        f"  {at}. {step.strip()}" if not step.startswith(" ") else f"  {step}" for at, step in _counted(told["steps"])
    )
    if told["agrees"] is not None:
        yield f"  {'agrees with' if told['agrees'] else 'DIFFERS FROM'} the printed line"
    yield from _evidence(told)


def _counted(found: Sequence[str]) -> Iterator[tuple[int, str]]:
    at = 0
    for step in found:
        at += not step.startswith(" ")
        yield at, step


def _overview(told: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    if told.get("credits"):
        yield f"credits {told['credits']}: {legible(told.get('reason') or '')}"
    for line in told["lines"]:
        yield f"{line['line']:>3}  {line['amount']:>14}  {legible(line['description'])}"
        yield f"{'':>21}{line['key']}"
    yield from _totals(told["totals"], told["currency"])


def _totals(totals: Json, currency: str) -> Iterator[str]:
    is_inclusive = totals["tax_inclusive"]
    summed, rest = ": the sum of the lines", ": the total less its tax"
    yield f"     {totals['subtotal']:>14}  subtotal{rest if is_inclusive else summed}"
    for tax in totals["taxes"]:
        rate = tax["rate_percent"]
        of = f"{tax['gross']} × {rate} ÷ (100 + {rate})" if is_inclusive else f"{rate} % of {tax['base']}"
        yield f"     {tax['amount']:>14}  {legible(tax['name'])}: {of}"
    yield f"     {totals['total']:>14}  total {currency}{summed if is_inclusive else ''}"


def _evidence(told: Mapping[str, Any]) -> Iterator[str]:
    for segment in told.get("ownership", {}).get("segments", ()):
        yield ""
        yield f"{segment['project_id']}: {segment['start']} to {segment['end']}, plan {segment['plan']}"
    if not told["observations"]:
        return
    yield ""
    yield f"{'timeframe':<21}{'grain':<9}{'metric':<32}{'value':>22}{'rev':>5}{'record':>10}  before"
    project = told["line"]["project_id"]
    for row in told["observations"]:
        if row["project_id"] != project:
            project = row["project_id"]
            yield f"{project}:"
        earlier = ", ".join(page["value"] for page in row["earlier"])
        yield (
            f"{row['timeframe_start']:<21}{row['grain']:<9}{legible(row['metric'])[:31]:<32}{row['value']:>22}"
            f"{row['revision']:>5}{row['seq']:>10}  {earlier}"
        ).rstrip()
    yield ""
    yield "record: the page's number in the journal, when it was received, its request id; its SHA-256"
    for page in _pages(told["observations"]):
        yield f"{page['seq']:>10}  {page['received_at']}  {legible(page['request_id'])}"
        yield f"{'':>12}{page['sha256']}"
        if page["body_dropped_at"]:
            yield f"{'':>12}its body was dropped {page['body_dropped_at']} under store.keep_pages_days"


def _pages(observations: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Every page that the observations name, once, in the journal's order."""
    found = {page["seq"]: page for row in observations for page in (row, *row["earlier"])}
    return [found[seq] for seq in sorted(found)]
