"""`demo`: runs the real commands over a month and a half against a sandbox API, on a clock that it moves itself.

Only the API and the clock are made up. A seed gives the same numbers on any day. At the end two independent sums are
compared: usage with what the sandbox metered, and invoices with usage x price (proof.py).
"""

import base64
import secrets
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from metering.alerts import delivering
from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.cli.base import read_config
from metering.cli.demo import receiver
from metering.cli.demo.customers import customers
from metering.cli.demo.files import CONFIG, write_secret
from metering.cli.demo.proof import billed, usage_times_price
from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.money import parse_amount
from metering.core.period import month_of, previous_month, rfc3339
from metering.core.secrets import Secret
from metering.core.secrets import secret as secrets_secret
from metering.invoicing.closing import month_invoices
from metering.invoicing.issued import read
from metering.ledger.ledger import Ledger, open_ledger
from metering.ledger.reading import open_reader
from metering.quotas import status
from metering.reporting import gather
from metering.sandbox.access import PERSONAL_KEY
from metering.sandbox.app import create_app
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION, Fleet
from metering.sandbox.gate import UNLIMITED, Clock
from metering.sandbox.inventory import RECOVERABLE
from metering.sandbox.server import serve
from metering.sandbox.state import truth_table
from metering.service import tick

NOW = datetime(2026, 10, 15, 9, 5, tzinfo=UTC)
POLLS = 5
ENDS_AT = NOW + timedelta(minutes=15 * (POLLS - 1))
MARK = ".metering-demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of the summary."""

    projects: int
    requests: int
    observations: int
    above_80: int
    above_95: int
    alerts: int
    verified: int
    invoices: int
    total: int
    net: int
    cost: int
    usage_agrees: bool
    money_agrees: bool
    paths: list[Path]


def demo(directory: Path, *, projects: int, seed: int, real_time: Callable[[], datetime], is_terminal: bool) -> int:
    """Runs the demo into the directory and prints its summary; 1 where a sum does not agree."""
    _make_room(directory)
    step = _Steps(of=POLLS + 4, is_shown=is_terminal)
    fleet = Fleet.around(NOW, seed=seed, projects=projects)
    clock = Clock.at(NOW)
    app = create_app(fleet, clock, limits=UNLIMITED, exact_hours=True)
    received = receiver.Received()
    secret = "whsec_" + base64.b64encode(f"metering demo, seed {seed:>12}".encode()).decode()
    with serve(app) as api, serve(receiver.app(secret, received)) as hook:
        found = _configured(directory, api.url, hook.root_url + "/", secret, fleet)
        run = _Run(
            config=found,
            clock=clock,
            served=app.state.sandbox,
            received=received,
            real_time=real_time,
            step=step,
        )
        outcome = _run(run)
    step.end()
    _print(outcome, found, received)
    return 0 if outcome.usage_agrees and outcome.money_agrees and not received.refused else 1


def _make_room(directory: Path) -> None:
    """An empty directory, or one of an earlier demo, which is cleared."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARK).exists():
            raise MeteringError(f"{directory} is not empty", hint="name another with --directory")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARK).write_text("made by `metering demo`, which may clear this directory\n", encoding="utf-8")


def _gone(fleet: Fleet) -> list[str]:
    """The projects that the first poll no longer lists: they have no name, so their customer is their id."""
    return [
        project.id
        for project in fleet.projects.values()
        if project.deleted_at is not None and project.deleted_at + RECOVERABLE <= NOW
    ]


def _configured(directory: Path, base_url: str, hook: str, secret: str, fleet: Fleet) -> Config:
    path = directory / "config.toml"
    path.write_text(
        CONFIG.format(
            now=rfc3339(ENDS_AT),
            path=path,
            base_url=base_url,
            receiver=hook,
            paid=PAID_ORGANIZATION,
            sponsored=SPONSORED_ORGANIZATION,
        ),
        encoding="utf-8",
    )
    rows = customers(1 + len(fleet.projects) // 2, _gone(fleet))
    (directory / "customers.csv").write_text(rows, encoding="utf-8")
    write_secret(directory / "sandbox-key", PERSONAL_KEY)
    write_secret(directory / "webhook-secret", secret)
    write_secret(directory / "link-secret", secrets.token_urlsafe(32))
    return read_config(path, environ={})


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run of the demo: its configuration, the clock that it moves, both servers, and its requests so far."""

    config: Config
    clock: Clock
    served: Any
    received: receiver.Received
    real_time: Callable[[], datetime]
    step: "_Steps"
    requests: int = 0


def _run(run: _Run) -> Outcome:
    found, step = run.config, run.step
    keys = {row.id: secrets_secret(None, row.api_key_file, {}) for row in found.organizations}
    secrets = {hook.url: secrets_secret(None, hook.secret_file, {}) for hook in found.webhooks}
    with open_ledger(found.store.directory, run.clock) as books:
        step("reading two months back")
        run.requests += _whole(tick.backfill(books, found, keys)).requests
        for number in range(POLLS):
            step(f"poll {number + 1} of {POLLS}, quotas, alerts")
            run.clock.move(NOW + timedelta(minutes=15 * number))
            _tick(run, books, keys, secrets)
        step("closing the previous month")
        now = run.clock()
        period = previous_month(now)
        tick.close_typed(books, found, period, now)
        delivering.deliver_due(books, found, secrets, now, run.real_time)
    step("writing the report and the invoices")
    with open_reader(found.store.directory) as store:
        paths = gather.write(store, found, period, now, {"html", "csv", "json"})
        step("adding it all up again")
        return _outcome(
            run, Month(recorded=Recorded(store=store), terms=terms.of(found), period=period, now=now), paths
        )


def _tick(run: _Run, books: Ledger, keys: tick.Keys, secrets: dict[str, Secret]) -> None:
    """Runs a tick. It closes no month: the first close of a store is by hand, which is a separate step of the demo."""
    done = tick.tick(
        books,
        run.config,
        keys,
        secrets,
        real_time=run.real_time,
        write_report=lambda _: None,
    )
    assert done.report is not None, "a new slot has begun"
    run.requests += _whole(done.report).requests


def _whole(report: Any) -> Any:
    if report.faults:
        raise MeteringError("the rehearsal could not read its own sandbox: " + "; ".join(report.faults))
    return report


def _outcome(run: _Run, month: Month, paths: list[Path]) -> Outcome:
    found, store, period, received = run.config, month.recorded.store, month.period, run.received
    invoices = list(read(month_invoices(month).documents))
    running = replace(month, period=month_of(month.now))
    quotas = status.quota_rows(running, found.quota.thresholds_percent)
    metered = truth_table(run.served.state, period.start, period.end)
    sponsored = {row.id for row in found.organizations if row.sponsored}
    truth = {
        (str(row["organization"]), str(row["project_id"]), str(row["metric"])): int(row["value"])
        for row in metered
        if row["organization"] not in sponsored
    }
    seen = {
        (row["organization"], row["project_id"], row["metric"]): row["value"]
        for row in month.usage.sums.group_by("organization", "project_id", "metric").sum().iter_rows(named=True)
    }
    return Outcome(
        projects=int(store.query("cli/project_count").item()),
        requests=run.requests,
        observations=int(store.query("polling/change_count").item()),
        above_80=sum(row.reaches(80) for row in quotas),
        above_95=sum(row.reaches(95) for row in quotas),
        alerts=sum(1 for event in received.events.values() if event["type"].startswith("quota.")),
        verified=len(received.events),
        invoices=len(invoices),
        total=sum(parse_amount(invoice.total, "USD") for invoice in invoices),
        net=sum(parse_amount(invoice.subtotal, "USD") for invoice in invoices),
        cost=sum(parse_amount(row.amount, "USD") for row in month.cost.rows),
        usage_agrees=seen == truth,
        money_agrees=usage_times_price(month, truth) == billed(invoices),
        paths=paths,
    )


class _Steps:
    """A progress bar on a terminal's stderr; silent elsewhere."""

    def __init__(self, *, of: int, is_shown: bool) -> None:
        self._of, self._is_shown, self._done = of, is_shown, 0

    def __call__(self, what: str) -> None:
        if self._is_shown:
            bar = "#" * (24 * self._done // self._of)
            sys.stderr.write(f"\r\x1b[K[{bar:<24}] {what}")
            sys.stderr.flush()
        self._done += 1

    def end(self) -> None:
        """Clears the line."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _print(outcome: Outcome, found: Config, received: receiver.Received) -> None:
    month = previous_month(NOW)
    margin = outcome.net - outcome.cost
    quota_alerts = f"{outcome.alerts} quota alerts, {outcome.verified - outcome.alerts} invoice events"
    lines = [
        ("rehearsed moment", rfc3339(ENDS_AT)),
        ("projects", f"{outcome.projects} in {len(found.organizations)} organizations"),
        ("requests made", str(outcome.requests)),
        ("observations landed", str(outcome.observations)),
        ("quotas over 80 %", str(outcome.above_80)),
        ("quotas over 95 %", str(outcome.above_95)),
        ("events sent", f"{received.verified} ({quota_alerts})"),
        ("events verified", f"{outcome.verified} by an independent library, {received.refused} refused"),
        (f"invoices of {month.start:%Y-%m}", str(outcome.invoices)),
        ("total", f"{_usd(outcome.total)} USD, of which {_usd(outcome.total - outcome.net)} tax"),
        ("our Neon cost", f"{_usd(outcome.cost)} USD"),
        ("margin", f"{_usd(margin)} USD before tax"),
        ("usage agrees with what the sandbox metered", "yes" if outcome.usage_agrees else "NO"),
        ("sum of usage × price agrees with the invoices", "yes" if outcome.money_agrees else "NO"),
    ]
    for name, text in lines:
        print(f"{name}: {text}")
    print("\nopen:")
    html = [path for path in outcome.paths if path.suffix == ".html"]
    for path in [path for path in html if path.name == "report.html"] + [
        path for path in html if path.parent.name == "invoices"
    ][:2]:
        print(f"  {path}")
    print(f"more: METERING_NOW={rfc3339(ENDS_AT)} metering quota --config {found.path}")


def _usd(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}" if cents >= 0 else f"-{-cents // 100}.{-cents % 100:02d}"
