"""A month of documents: what goes wrong while it is polled changes nothing in them, nor does anything afterwards.

On top of simulate.py: customers who move, taxes and prices that change, projects that are renamed, lists of projects
that fail. The documents are compared with an oracle, and byte for byte with those of a twin that polled the same world
at the same moments while nothing went wrong. As a command it prints a line for each seed:

    python -m tests.simulate_documents --seeds 10
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config import Config
from metering.core.period import DAY, HOUR, Period, floor_hour, next_month
from metering.export.rendering import Wanted, render
from metering.invoicing import close
from metering.invoicing.blockers import Waivers
from metering.invoicing.close import BlockedError
from metering.invoicing.closing import Closing, month_invoices
from metering.invoicing.issued import invoice
from metering.invoicing.rated_month import months_of
from metering.operations import verify
from metering.sandbox.faults import Mishaps
from metering.service import tick
from tests.faults.transport import Faulty
from tests.simulate import FAULTS, MONTH, Machine, World, poll_in_a_storm, world
from tests.support.oracle_month import Bill, Facts, Tax, bills
from tests.support.simulated_platform import Names, Plot, as_shown, drawn, late_usage, true_hours
from tests.support.simulated_scenery import Retold, Scenery

Json = dict[str, Any]
BEGIN = MONTH.start - 2 * HOUR
EXPORTS = ("focus", "xero", "quickbooks", "beancount", "hledger")
SETTLED_AT = MONTH.end + 36 * HOUR
NOVEMBER = Period(start=MONTH.end, end=next_month(MONTH.end))
AGREED = Waivers(unassigned="agreed with nobody")
STALE = 90 * HOUR
"""So old may the last whole poll be: an outage of three days may follow within Neon's week."""
MONTHS = [timedelta(minutes=15), *(hours * HOUR for hours in (1, 2, 4, 6, 8, 12))]
"""Between two polls of the long simulation, beside gaps of up to two days."""
DAYS = [hours * HOUR for hours in (18, 44, 70)]
"""Between two polls of the short one."""


@dataclass(kw_only=True)
class Outcome:
    """How a simulated month ended. `wrong` says what is not as it has to be."""

    seed: int
    counts: dict[str, int]
    wrong: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not self.wrong and self.counts["invoices"] > 0

    def __str__(self) -> str:
        told = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        return f"seed {self.seed}: {'right' if self.is_right else 'WRONG: ' + '; '.join(self.wrong)} ({told})"

    def expect(self, what: str, found: object, right: object) -> None:
        if found != right:
            self.wrong.append(f"{what}: {found!r} instead of {right!r}")


@dataclass(kw_only=True)
class Platform:
    """A world with a plot, and the machine that polls it. `moments` are when its polls began."""

    plot: Plot
    here: World
    scenery: Scenery
    machine: Machine
    moments: list[datetime] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.here.time.server()

    def poll(self) -> str:
        self.moments.append(self.now)
        return self.machine.poll().outcome

    def close(self, waivers: Waivers = Waivers()) -> Closing:  # noqa: B008 - a constant
        return tick.close_typed(self.machine.books, self.machine.config, MONTH, self.now, waivers=waivers)

    def refusal(self, waivers: Waivers) -> dict[str, str]:
        """Why a close is refused: kinds of reason with what belongs to them; nothing where it is not."""
        try:
            self.close(waivers)
        except BlockedError as error:
            return {reason.kind: "\n".join(reason.details) for reason in error.reasons}
        return {}

    def would_stop(self, waivers: Waivers) -> list[str]:
        """The kinds of what a dry run says."""
        store, config = self.machine.books.store, self.machine.config
        return [one.kind for one in close.rehearse(store, config, MONTH, self.now, waivers=waivers).blocked_by]

    def documents(self) -> list[str]:
        """The month's documents as they are stored."""
        return list(self.machine.books.store.query("invoicing/month_invoices", month="2026-10")["document"])

    def exports(self) -> dict[str, bytes]:
        """The month in formats that need no address."""
        store, config = self.machine.books.store, self.machine.config
        month = Month(recorded=Recorded(store=store), terms=terms.of(config), period=MONTH, now=self.now)
        return {form: render(month, config, Wanted(form=form)).content for form in EXPORTS}


def platform(seed: int, directory: Path, *, projects: int, is_calm: bool = False) -> Platform:
    """The world of a seed before its month."""
    faults = () if is_calm else (*FAULTS, "duplicate-project") if seed % 2 else FAULTS
    here = world(start=BEGIN, seed=seed, projects=projects, faults=faults, exact_hours=seed % 3 == 0)
    plot = drawn(here.state, seed)
    for project in plot.projects:
        here.state.put(project)
    here.wire.page_size = random.Random(f"pages {seed}").choice([3, 5, 100])
    scenery = Scenery(here.wire.inner, here.time, plot)
    here.wire.inner = scenery
    machine = here.machine(directory)
    machine.config = plot.config(machine.config)
    return Platform(plot=plot, here=here, scenery=scenery, machine=machine)


# -- the month


def stormy(seed: int, directory: Path, outcome: Outcome, *, steps: Sequence[timedelta], projects: int) -> Platform:
    """The month with everything going wrong that may, up to its close.

    At least once in a week nothing does: Neon forgets hours and deleted projects after seven days, and what is gone is
    legitimately another document (by the day, or up to the last hour of usage).
    """
    chance = random.Random(f"documents {seed}")
    one = platform(seed, directory, projects=projects)
    faulty = Faulty(one.scenery, seed=seed, chance=0.02, sleep=one.here.time.sleep)
    one.here.wire.inner = faulty
    mishaps, whole_at, is_quiet = one.here.sandbox.mishaps, BEGIN, False
    while one.now < SETTLED_AT:
        faulty.chance, one.here.sandbox.mishaps = (0, Mishaps()) if is_quiet else (0.02, mishaps)
        if _polled(one, chance, outcome.counts, is_quiet=is_quiet):
            whole_at = one.moments[-1]
        step = chance.choice(steps)
        if chance.random() < 1 / 60:
            outcome.counts["outages"] += 1
            step += chance.uniform(1, 48) * HOUR
        later = one.now + step + timedelta(seconds=chance.uniform(0, 40))
        is_quiet = later >= whole_at + STALE
        if is_quiet:
            later = max(one.now, whole_at + STALE)
            later = max([later, *_ends(one.plot, later)])
        one.here.time.move_to(later if later < SETTLED_AT else max(one.now, SETTLED_AT + HOUR / 2))
    one.here.wire.loss, one.here.wire.refuses_after, one.here.sandbox.mishaps = 0, None, Mishaps()
    one.here.wire.inner = one.scenery
    _settle(one, outcome)
    return one


def _polled(one: Platform, chance: random.Random, counts: dict[str, int], *, is_quiet: bool) -> bool:
    """One poll; whether it read everything."""
    if is_quiet:
        one.here.wire.loss, one.here.wire.refuses_after = 0, None
        counts["polls"] += 1
        return one.poll() == "complete"
    one.moments.append(one.now)
    before = counts["partial"], counts["kills"]
    poll_in_a_storm(one.here, one.machine, chance, counts)
    return before == (counts["partial"], counts["kills"])


def _ends(plot: Plot, moment: datetime) -> list[datetime]:
    """When what fails at a moment is over."""
    return [outage.end + HOUR / 60 for outage in plot.outages if outage.is_at(moment)]


def _settle(one: Platform, outcome: Outcome) -> None:
    """A poll, and where the lists of projects still fail, a refused close and another poll once they do not."""
    outcome_of_poll = one.poll()
    last = [outage for outage in one.plot.outages if outage.is_at(one.now)]
    if not last:
        outcome.expect("the last poll", outcome_of_poll, "complete")
        return
    if all(outage.kind == "row" for outage in last):
        outcome.expect("what would stop the close", one.would_stop(AGREED), [])
    else:
        outcome.counts["refused"] += 1
        found = one.refusal(AGREED)
        outcome.expect("what the close is refused for", sorted(found), ["gaps"])
        told = [line for line in found.get("gaps", "").splitlines() if not line.endswith("(inventory)")]
        outcome.expect("gaps for another reason", told, [])
    one.here.time.move_to(last[0].end + HOUR)
    outcome.expect("the poll after the outage", one.poll(), "complete")


def calm(storm: Platform, directory: Path, seed: int, outcome: Outcome, *, projects: int) -> Platform:
    """The same world, polled at the same moments; names are first shown at the second at which the storm read them."""
    one = platform(seed, directory, projects=projects, is_calm=True)
    names = Names(storm.machine.config.store.directory)
    one.scenery = retold = Retold(one.scenery.inner, one.here.time, one.plot, names)
    one.here.wire.inner = retold
    one.here.wire.chance = Prompt()
    for begin, until in zip(storm.moments, [*storm.moments[1:], storm.now], strict=True):
        retold.until = until
        one.here.time.move_to(begin)
        outcome.expect(f"the calm poll of {begin}", one.poll(), "complete")
    return one


class Prompt(random.Random):
    """Draws as little time as may be: the twin is never behind the storm."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


# -- what has to be so


def simulate_documents(
    seed: int, directory: Path, *, steps: Sequence[timedelta] = MONTHS, projects: int | None = None
) -> Outcome:
    """A month of a seed, its close, its twin, and what comes afterwards."""
    projects = projects or random.Random(f"size {seed}").randrange(8, 15)
    names = ("polls", "partial", "kills", "outages", "requests", "refused")
    outcome = Outcome(seed=seed, counts=dict.fromkeys(names, 0))
    storm = stormy(seed, directory / "storm", outcome, steps=steps, projects=projects)
    with storm.machine:
        shown = Names(storm.machine.config.store.directory)
        hours = true_hours(storm.here.state)
        facts = storm.plot.facts(hours, shown)
        outcome.counts |= {"inventory outages": len(storm.plot.outages), "renames": shown.changes()}
        outcome.counts |= {"subscriptions": len(storm.plot.subscriptions)}
        twin = calm(storm, directory / "calm", seed, outcome, projects=projects)
        with twin.machine:
            close_at = floor_hour(max(storm.now, twin.now)) + HOUR
            for one in (storm, twin):
                one.here.time.move_to(close_at)
                closed(one, facts, shown, outcome)
            outcome.expect("the calm twin's documents", storm.documents() == twin.documents(), True)
        right_to_the_cent(storm, bills(facts), outcome)
        nothing_changes(storm, hours, shown, outcome)
    return outcome


def closed(one: Platform, facts: Facts, shown: Names, outcome: Outcome) -> None:
    """The typed close: refused for usage that nobody pays for, if there is any; then done, and not done twice."""
    asked = one.plot.asks_for_a_plan_that_is_gone(shown)
    expected = ["unassigned"] if facts.unassigned() - asked else []
    expected += ["unknown_plan"] if asked else []
    outcome.counts["reasons"] = len(expected)
    if expected:
        outcome.expect("why the month does not close", sorted(one.refusal(Waivers())), expected)
    done = one.close(AGREED if expected else Waivers())
    outcome.expect("parked", done.parked, {})
    outcome.expect("the close is new", done.is_new, True)
    before = one.machine.books.journal.seq, one.documents()
    again = one.close(AGREED)
    outcome.expect("a second close", (again.is_new, one.machine.books.journal.seq, one.documents()), (False, *before))
    outcome.counts["invoices"] = len(before[1])
    ours = {key[0] for key in facts.own if any(facts.buckets[key].values())}
    outcome.counts["own projects"] = len(ours)
    told = [int(one.projects or 0) for one in done.not_billed if one.reason == "own"]
    outcome.expect("projects of our own", sum(told), len(ours))


def right_to_the_cent(one: Platform, right: dict[str, Bill], outcome: Outcome) -> None:
    """Each customer's document: what its lines come to and the tax by rate, subtotal and total."""
    found = {}
    for text in one.documents():
        document = json.loads(text)
        sums = _by_tax(document["lines"])
        taxes = {_tax_of(entry): Fraction(entry["amount"]) for entry in document["taxes"]}
        subtotal, total = Fraction(document["subtotal"]), Fraction(document["total"])
        is_inside = document.get("tax_inclusive", False)
        outcome.expect("a subtotal", subtotal, sum(sums.values()) - (sum(taxes.values()) if is_inside else 0))
        outcome.expect("a total", total, subtotal + sum(taxes.values()))
        bases = sum(Fraction(entry["base"]) for entry in document["taxes"])
        outcome.expect("the bases", bases, subtotal if taxes else 0)
        found[document["customer"]["id"]] = {tax: (own, taxes.get(_printed(tax), 0)) for tax, own in sums.items()}
    for customer in sorted(found | right):
        bill = right.get(customer, Bill(by_tax={}))
        outcome.expect(f"{customer}'s document", _told(found.get(customer, {})), _told(bill.by_tax))


def _by_tax(lines: Sequence[Json]) -> dict[Tax, Fraction]:
    """The sums of lines by their tax, zeros left out."""
    out: dict[Tax, Fraction] = {}
    for line in lines:
        tax = (line["tax_rate_percent"], line["tax_name"], line.get("tax_category"))
        out[tax] = out.get(tax, Fraction(0)) + Fraction(line["amount"])
    return {tax: base for tax, base in out.items() if base}


def _printed(tax: Tax) -> tuple[str, str, str]:
    return str(tax[0]), str(tax[1]), str(tax[2])


def _tax_of(entry: Json) -> tuple[str, str, str]:
    return entry["rate_percent"], entry["name"], str(entry.get("category"))


def _told(by_tax: dict[Tax, tuple[Fraction, Fraction]]) -> dict[str, str]:
    return {" ".join(_printed(tax)): f"{float(base):.2f} + {float(own):.2f}" for tax, (base, own) in by_tax.items()}


def nothing_changes(one: Platform, hours: dict, shown: Names, outcome: Outcome) -> None:
    """The whole configuration changes, usage arrives late: documents stay, and a draft carries the difference."""
    before, exports = one.documents(), one.exports()
    numbers = [json.loads(text)["number"] for text in before]
    billed = {json.loads(text)["customer"]["id"]: _by_tax(json.loads(text)["lines"]) for text in before}
    late = late_usage(one.plot, hours, random.Random(f"late {outcome.seed}"))
    one.scenery.late = as_shown(late)
    one.machine.config = changed(one.machine.config)
    for _ in range(2):
        one.here.time.move_to(floor_hour(one.now) + DAY)
        outcome.expect("a poll afterwards", one.poll(), "complete")
    later = {key: dict(values) for key, values in hours.items()}
    for (project, hour), more in late.items():
        later[project, hour]["compute_unit_seconds"] += more
    store, config = one.machine.books.store, one.machine.config
    again = one.close(AGREED)
    outcome.expect("a close afterwards", (again.is_new, again.issued), (False, []))
    outcome.expect("stored documents", one.documents() == before, True)
    outcome.expect("exports", one.exports() == exports, True)
    finals = [{**json.loads(text), "status": "final"} for text in before]
    outcome.expect("invoice NUMBER", [invoice(store, number).printed() for number in numbers] == finals, True)
    listed = month_invoices(months_of(store, config, one.now).of(MONTH).today).printed()["invoices"]
    outcome.expect("invoices MONTH", listed == finals, True)
    drafts = month_invoices(months_of(store, config, one.now).of(NOVEMBER).today).printed()
    outcome.expect(
        "drafts made twice",
        month_invoices(months_of(store, config, one.now).of(NOVEMBER).today).printed() == drafts,
        True,
    )
    adjusted = _adjusted(drafts["invoices"], billed, outcome)
    right = bills(one.plot.facts(later, shown))
    for customer in sorted(adjusted | right):
        expected = {tax: base for tax, (base, _) in right[customer].by_tax.items()} if customer in right else {}
        outcome.expect(f"{customer}, adjusted", adjusted.get(customer, {}), expected)
    one.machine.books.flush()
    directory = one.machine.config.store.directory
    outcome.expect("verify", verify.verify(directory, one.machine.books.store).faults, [])


def _adjusted(drafts: Sequence[Json], billed: dict[str, dict[Tax, Fraction]], outcome: Outcome) -> dict:
    """By customer and tax what was billed for the month, and the adjustments of it that drafts carry."""
    out = {customer: dict(bases) for customer, bases in billed.items()}
    lines = {draft["customer"]["id"]: draft["lines"] for draft in drafts}
    outcome.counts["adjustments"] = 0
    for customer, found in lines.items():
        mine = [line for line in found if line["kind"] == "adjustment" and line["from"] < "2026-11"]
        outcome.counts["adjustments"] += len(mine)
        bases = out.setdefault(customer, {})
        for tax, base in _by_tax(mine).items():
            bases[tax] = bases.get(tax, Fraction(0)) + base
    kept = {customer: {tax: base for tax, base in bases.items() if base} for customer, bases in out.items()}
    return {customer: bases for customer, bases in kept.items() if bases}


def changed(config: Config) -> Config:
    """Another name, address and tax of every customer, other plans and prices, other numbers, other owners."""
    other = {"street": "2 Road", "dated": (), "tax_rate_percent": Decimal(25), "tax_category": None}
    customers = [row.model_copy(update={**other, "name": f"{row.name} (new)"}) for row in config.customer_rows]
    plans = []
    for plan in config.plans:
        prices = [price.model_copy(update={"maximum": None, "minimum": None}) for price in plan.prices[:1]]
        terms = {"name": f"{plan.name} 2027", "base_fee": plan.base_fee * 2, "minimum": plan.minimum + 1}
        plans.append(plan.model_copy(update={**terms, "prices": tuple(prices)}))
    rows = [row.model_copy(update={"customer": "thief", "plan": "steady"}) for row in config.subscription_rows]
    return config.model_copy(
        update={
            "customer_rows": tuple(customers),
            "plans": tuple(plans),
            "subscription_rows": tuple(rows),
            "customers": config.customers.model_copy(update={"project_name_pattern": None}),
            "seller": config.seller.model_copy(update={"name": "Another Ltd"}),
            "invoices": config.invoices.model_copy(update={"number": "X{year}/{number:04d}", "prorate": "none"}),
            "discounts": (),
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    right = 0
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for outcome in pool.map(simulated, seeds):
            right += outcome.is_right
            print(outcome, flush=True)
    print(f"{right} of {len(seeds)} simulated months end with documents that are right to the cent and stay so")
    return 0 if right == len(seeds) else 1


def simulated(seed: int) -> Outcome:
    """A whole month in a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        return simulate_documents(seed, Path(directory))


if __name__ == "__main__":
    sys.exit(main())
