"""Every command and every page by the machine's own clock, without METERING_NOW, on a sandbox that lives now.

A clock that stands still on a whole second hides what a running one shows: moments with fractions of a second.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from metering.cli.demo import receiver
from metering.cli.demo.customers import customers
from metering.cli.demo.files import CONFIG, write_secret
from metering.config import read
from metering.core import meters
from metering.core.period import Period, floor_month, month_name, month_of, parse_time
from metering.invoicing import close
from metering.invoicing.amending.voiding import void
from metering.invoicing.blockers import Waivers
from metering.rating import validation
from metering.sandbox.access import PERSONAL_KEY
from metering.sandbox.app import create_app
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION, Fleet
from metering.sandbox.gate import UNLIMITED, Clock
from metering.sandbox.inventory import RECOVERABLE
from metering.sandbox.server import serve
from metering.store import journal
from metering.web import api
from metering.web.app import every_page
from tests.support.books import Books, stamp
from tests.support.plain_neon import PlainNeon
from tests.support.platform_desk import Desk, Ran

PROJECTS = 24
HOOK_SECRET = "whsec_" + base64.b64encode(b"the real clock of a test").decode()
FORMATS = ("focus", "stripe", "xero", "quickbooks", "beancount", "hledger", "ubl", "facturx", "cloudevents", "lago")
SUFFIXES = {"facturx": "zip", "ubl": "zip"}
REPORTS = ("csv", "html", "json", "parquet", "pdf", "xlsx")
UNREAD = '\n[[organizations]]\nid = "org-never-read-00000001"\napi_key_env = "NO_KEY"\n'
"""An organization without a key: every hour of it is a gap that `status` lists."""
FRACTION = re.compile(rb"\d\d:\d\d:\d\d[.,]\d")


def real_time() -> datetime:
    """The machine's clock, which has fractions of a second."""
    return datetime.now(UTC)


@dataclass(kw_only=True)
class World:
    """A platform that has polled, closed a month, voided an invoice and closed it anew, all by the real clock."""

    desk: Desk
    directory: Path
    month: str
    ran: dict[str, Ran]

    def run(self, *arguments: str, code: int = 0, config: str = "config.toml") -> Ran:
        ran = self.desk.run(*arguments, "--config", str(self.directory / config), config=False)
        assert (ran.code, "METERING_NOW" in ran.err) == (code, False), (arguments, ran)
        return ran

    def numbers(self) -> dict[str, str]:
        """A final invoice, a void one and the credit note that cancels it."""
        found = self.run("invoices", self.month, "--format", "json").json["invoices"]
        kinds = {"credit_note" if row.get("kind") == "credit_note" else row["status"]: row["number"] for row in found}
        assert kinds.keys() == {"final", "void", "credit_note"}
        return kinds


def month_that_settled(now: datetime) -> str:
    """The previous month; in the first hours of a month, when that is not settled, the one before."""
    first = floor_month(now)
    is_fresh = now < first + timedelta(hours=3)
    return month_name(month_of(first - timedelta(days=35 if is_fresh else 1)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """`init`, then everything that writes, in the order in which a platform would."""
    directory = tmp_path_factory.mktemp("now")
    fleet = Fleet.around(real_time(), projects=PROJECTS)
    neon = create_app(fleet, Clock(real_time), limits=UNLIMITED, exact_hours=True)
    with ExitStack() as up:
        api = up.enter_context(serve(neon))
        hook = up.enter_context(serve(receiver.app(HOOK_SECRET, receiver.Received())))
        desk = Desk(directory=directory, neon=PlainNeon(), environment={})
        found = World(desk=desk, directory=directory, month=month_that_settled(real_time()), ran={})
        assert desk.run("init", str(directory)).code == 0
        _configure(directory, api.url, hook.root_url + "/", never_named(fleet))
        _live(found)
        yield found


def never_named(fleet: Fleet) -> list[str]:
    """Projects that were gone before the first poll: they pay under their ids."""
    gone = ((project.id, project.deleted_at) for project in fleet.projects.values())
    return [project for project, at in gone if at is not None and at + RECOVERABLE <= real_time()]


def _configure(directory: Path, api: str, hook: str, gone: Sequence[str]) -> None:
    names = {"paid": PAID_ORGANIZATION, "sponsored": SPONSORED_ORGANIZATION}
    text = CONFIG.format(now="now", path="config.toml", base_url=api, receiver=hook, **names)
    text += "\n[schedule]\nsettle_hours = 1\nclose_day = 0\n"
    (directory / "config.toml").write_text(text)
    (directory / "with-a-gap.toml").write_text(text + UNREAD)
    (directory / "customers.csv").write_text(customers(PROJECTS, gone))
    for name, secret in (("sandbox-key", PERSONAL_KEY), ("webhook-secret", HOOK_SECRET)):
        write_secret(directory / name, secret)
    write_secret(directory / "link-secret", "a-link-secret-of-a-test-0123456789")


def _live(found: World) -> None:
    steps: tuple[tuple[str, ...], ...] = (
        ("check",),
        ("backfill",),
        ("poll",),
        ("tick",),
        ("close", found.month, "--allow-incomplete", "the month ended a moment ago"),
    )
    for step in steps:
        found.ran[step[0]] = found.run(*step)
    number = found.ran["close"].json["issued"][0]
    found.ran["void"] = found.run("void", number, "--reason", "a test of the clock")
    found.ran["close again"] = found.run("close", found.month)
    found.ran["verify"] = found.run("verify")


def test_everything_that_writes_ends_well(world: World) -> None:
    assert list(world.ran) == ["check", "backfill", "poll", "tick", "close", "void", "close again", "verify"]
    assert "everything agrees" in world.ran["verify"].out
    assert len(world.ran["close"].json["issued"]) > 5
    assert len(world.ran["close again"].json["issued"]) == 1


def test_no_moment_of_the_journal_has_a_fraction_of_a_second(world: World) -> None:
    records = list(journal.read(world.directory / "var" / "journal"))
    assert {"page", "walk", "cycle", "close", "void", "alert"} <= {record.kind for record in records}
    ours = [record.body for record in records if record.kind != "page"]
    heads = [json.dumps([record.at, record.data]).encode() for record in records]
    assert not [text for text in (*heads, *ours) if FRACTION.search(text)]


@pytest.mark.parametrize(
    "command",
    [
        ("usage", "current"),
        ("usage", "current", "--by", "hour"),
        ("quota", "--all", "--cost"),
        ("invoices", "current"),
        ("invoices", "previous"),
        ("status", "--projects"),
        ("alerts", "list"),
        ("forecast",),
        ("quotas", "plan"),
    ],
)
def test_what_only_reads_prints_whole_seconds(world: World, command: tuple[str, ...]) -> None:
    for form in ("json", "csv", "table"):
        ran = world.run(*command, "--format", form)
        assert ran.out
        assert not FRACTION.search(ran.out.encode())


def test_a_gap_that_status_lists_is_told_by_status(world: World) -> None:
    gaps = world.run("status", "--format", "json", config="with-a-gap.toml").json["gaps"]
    never = {gap["organization"] for gap in gaps if gap["reason"] != "inventory"}
    assert never == {"org-never-read-00000001"}


def test_an_invoice_a_void_one_and_a_credit_note_print_as_pdf_and_page_and_are_explained(world: World) -> None:
    for number in world.numbers().values():
        _prints(world, number)


def _prints(world: World, number: str) -> None:
    pdf, page = world.directory / f"{number}.pdf", world.directory / f"{number}.html"
    world.run("invoice", number, "--pdf", str(pdf), "--html", str(page))
    assert pdf.read_bytes().startswith(b"%PDF")
    assert number in page.read_text()
    assert world.run("explain", number).json
    line = world.run("invoice", number, "--format", "json").json["lines"][0]["key"]
    assert world.run("explain", number, line).json


@pytest.mark.parametrize("month", ["closed", "current"])
def test_a_report_of_a_closed_and_of_the_running_month_is_written_in_every_format(world: World, month: str) -> None:
    name = world.month if month == "closed" else "current"
    paths = [Path(line) for line in world.run("report", name, "--format", ",".join(REPORTS)).out.splitlines()]
    assert {path.suffix[1:] for path in paths} >= set(REPORTS)
    assert all(path.stat().st_size for path in paths)


@pytest.mark.parametrize("form", FORMATS)
def test_the_closed_month_is_exported(world: World, form: str) -> None:
    target = world.directory / f"month-{form}.{SUFFIXES.get(form, 'out')}"
    world.run("export", form, world.month, "-o", str(target))
    assert target.stat().st_size


def addresses(world: World) -> Iterator[str]:
    """Every page of the dashboard, and every document below /api."""
    number = world.numbers()["final"]
    invoice = world.run("invoice", number, "--format", "json").json
    line, customer = invoice["lines"][0], invoice["customer"]["id"]
    of_customer = {"month": world.month, "id": customer}
    of_project = {"month": world.month, "id": line["project_id"]}
    given = {
        "/customer": of_customer,
        "/project": of_project,
        "/invoice": {"number": number},
        "/explain": {"number": number, "line": line["key"]},
        "/page": {"seq": "1"},
        "/api/invoice": {"number": number},
        "/api/explain": {"number": number, "line": line["key"]},
        "/api/timeline": {"project": line["project_id"], "month": world.month},
    }
    alerts = world.run("alerts", "list", "--format", "json").json["alerts"]
    given["/alert"] = {"id": alerts[0]["alert_id"]}
    operator_pages = [page.path for page in every_page() if (page.method, page.is_by_link) == ("GET", False)]
    for path in (*operator_pages, *(f"/api{path}" for path in api.ANSWERS)):
        yield str(httpx.URL(path, params=given.get(path)))
    for path in ("/", "/customers", "/projects", "/invoices"):
        yield str(httpx.URL(path, params={"month": world.month}))


@contextmanager
def serving(world: World, config: str) -> Iterator[httpx.Client]:
    """`metering serve` as a process of its own."""
    command = [sys.executable, "-m", "metering", "serve", "--listen", "127.0.0.1:0"]
    environ = {name: text for name, text in os.environ.items() if not name.startswith("METERING_")}
    with subprocess.Popen(
        [*command, "--config", str(world.directory / config)], env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = next(line for line in process.stderr if "serving" in line)
            base = re.search(r"http://[^/]+", said)
            assert base
            with httpx.Client(base_url=base[0], timeout=60) as client:
                yield client
            process.terminate()
            assert "failed" not in process.stderr.read()
        finally:
            process.kill()


def pages_fail(world: World, config: str, wanted: Sequence[str]) -> dict[str, int]:
    """The addresses that are not answered with 200, and what they are answered with."""
    with serving(world, config) as client:
        answers = {path: client.get(path).status_code for path in wanted}
    return {path: code for path, code in answers.items() if code != 200}


def test_every_page_of_the_dashboard_is_served(world: World) -> None:
    assert pages_fail(world, "config.toml", list(addresses(world))) == {}


def test_the_pages_are_served_while_status_lists_a_gap(world: World) -> None:
    assert pages_fail(world, "with-a-gap.toml", ["/", "/operations", "/metrics", "/api/status"]) == {}


# -- what was stored with fractions of a second


@pytest.fixture(scope="module")
def finer(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A store beside it whose every moment has microseconds, as those written before moments were whole seconds."""
    directory = tmp_path_factory.mktemp("finer")
    for name in ("config.toml", "customers.csv", "sandbox-key", "webhook-secret", "link-secret"):
        (directory / name).write_bytes((world.directory / name).read_bytes())
        (directory / name).chmod(0o600)
    (directory / "with-a-gap.toml").write_bytes((world.directory / "with-a-gap.toml").read_bytes())
    month = world.month
    _closed_by_a_finer_clock(directory, month_of(parse_time(f"{month}-01T00:00:00Z")))
    return World(desk=world.desk, directory=directory, month=month, ran={})


def _closed_by_a_finer_clock(directory: Path, month: Period) -> None:
    found = read(
        directory / "config.toml",
        environ={},
        card_faults=lambda card: validation.faults(card.plans, meters.catalogue(card.meters)),
    )
    book = Books(found.store.directory, PAID_ORGANIZATION)
    names = {"calm-dawn-1": "acme-cust1-pro-1", "calm-dawn-2": "acme-cust2-business-1"}
    used = {"compute_unit_seconds": 3_600_000, "public_network_transfer_bytes": 10**12}
    usage = {project: {f"{month.start:%Y-%m-%d}T10": used} for project in names}
    span = {"since": f"{month.start:%Y-%m-%d}", "until": f"{month.end:%Y-%m-%d}"}
    with book.open() as books:
        book.inventory(books, names, at=f"{month.start:%Y-%m-%d}")
        book.at = month.end + timedelta(hours=1, seconds=1, microseconds=654321)
        book.inventory(books, names)
        book.history(books, usage, **span)
        closed = close.close(books, found, month, book.at, waivers=Waivers(incomplete="the clock is finer"))
        void(books, closed.issued[0], "a test of the clock", book.at)
        close.close(books, found, month, book.at, waivers=Waivers(incomplete="the clock is finer"))
        at = stamp(book.at)
        counted = {"requests": 1, "pages": 1, "changes": 1, "outcome": "complete", "faults": []}
        books.record("cycle", {"command": "poll", "started_at": at, "ended_at": at, **counted})


def test_a_document_dated_with_microseconds_prints_as_pdf_and_page_and_is_explained(finer: World) -> None:
    for number in finer.numbers().values():
        assert finer.run("invoice", number, "--format", "json").json["issued_at"].endswith(":01.654321Z")
        _prints(finer, number)


@pytest.mark.parametrize("form", FORMATS)
def test_a_month_closed_at_a_microsecond_is_exported(finer: World, form: str) -> None:
    target = finer.directory / f"month-{form}.{SUFFIXES.get(form, 'out')}"
    finer.run("export", form, finer.month, "-o", str(target))
    assert target.stat().st_size


def test_a_month_closed_at_a_microsecond_is_reported_and_verified(finer: World) -> None:
    finer.run("report", finer.month, "--format", ",".join(REPORTS))
    assert "everything agrees" in finer.run("verify").out
    assert finer.run("status", "--format", "json").json["last_cycle"]["started_at"].endswith(":01.654321Z")


def test_the_pages_of_a_store_with_microseconds_are_served(finer: World) -> None:
    number = finer.numbers()["final"]
    line = finer.run("invoice", number, "--format", "json").json["lines"][0]["key"]
    wanted = [
        *("/", "/operations", "/customers", "/projects", "/quotas", "/alerts", "/metrics", "/api/status"),
        *(f"{path}?month={finer.month}" for path in ("/", "/customers", "/projects", "/invoices")),
        *(f"/invoice?number={number}" for number in finer.numbers().values()),
        str(httpx.URL("/explain", params={"number": number, "line": line})),
    ]
    assert pages_fail(finer, "with-a-gap.toml", wanted) == {}


# -- moments that somebody types


def test_a_fraction_of_a_second_in_metering_now_is_cut_off(finer: World) -> None:
    ran = finer.desk.run(
        *("status", "--format", "json", "--config", str(finer.directory / "config.toml")),
        config=False,
        env={"METERING_NOW": "2027-01-15T10:05:59.999999+00:00"},
    )
    assert ran.code == 0
    assert ran.json["as_of"] == "2027-01-15T10:05:59Z"
    assert ran.err == "metering: rehearsing at 2027-01-15T10:05:59Z (METERING_NOW)\n"
