"""An issued document never changes, whatever changes in any file after its issue."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config import Config, read
from metering.core.period import month_of
from metering.export import rendering
from metering.export.rendering import FORMATS, Wanted
from metering.invoicing.printed.documents import invoice_pdf, page_writer
from metering.invoicing.printed.printable import printable
from metering.rendering.typeset import Typesetter
from metering.store import database as store
from metering.store import snapshots
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import PRO, Desk

pytest.importorskip("facturx", reason="the extra einvoice is not installed")

HOUR = 3600
NOW = datetime(2026, 10, 2, 12, tzinfo=UTC)
SEPTEMBER = month_of(datetime(2026, 9, 1, tzinfo=UTC))
COLUMNS = (
    "customer,name,currency,tax_rate_percent,tax_name,tax_inclusive,email,address,tax_id,country,locale,street,city,"
    "postcode,tax_category,tax_note,stripe_customer\n"
)
ANT = "ant,Ameise & Söhne,USD,21,BTW,,ap@ant.example,,BE0987654394,BE,nl-BE,Street 1,Ghent,9000,S,,cus_ant\n"
BEE = "bee,Bee GmbH,USD,,,,ap@bee.example,,FR40303265045,FR,fr-FR,Rue 2,Paris,75001,AE,Reverse charge applies,cus_bee\n"
CUSTOMERS = COLUMNS + ANT + BEE
SUBSCRIPTIONS = "project_id,customer,plan,valid_from,valid_to\nant-1,ant,pro,,\nbee-1,bee,pro,,\n"
SELLER = """
[seller]
name = "Acme Platforms Ltd"
street = "1 Example Street"
city = "Brussels"
postcode = "1000"
country = "BE"
tax_id = "BE0123456749"
email = "billing@acme.example"

[invoices]
locale = "de"

[[discounts]]
customer = "ant"
name = "Launch offer"
percent = "10"
valid_from = 2026-09-01
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """September is closed; ant's invoice was voided and issued again, with another street."""
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for number, name in enumerate(("ant", "bee")):
            fleet.project(f"{name}-1", f"shop of {name}")
            fleet.use(f"{name}-1", "2026-09-10", grain="daily", compute_unit_seconds=(133 + number) * HOUR)
        found = Desk(directory=tmp_path_factory.mktemp("desk"), neon=neon, now="2026-10-02T12:00:00Z")
        found.plans, found.more = PRO, SELLER
        found.customers, found.subscriptions = CUSTOMERS.replace("Street 1", "Street 0"), SUBSCRIPTIONS
        found.good("backfill")
        found.good("close", "2026-09")
        found.good("void", "INV-2026-000001", "--reason", "wrong street")
        found.customers = CUSTOMERS
        found.good("close", "2026-09")
        yield found


@pytest.fixture(autouse=True)
def _files_as_they_were(desk: Desk) -> Iterator[None]:
    kept = (desk.plans, desk.more, desk.customers, desk.subscriptions, desk.now)
    yield
    desk.plans, desk.more, desk.customers, desk.subscriptions, desk.now = kept


NUMBERS = ("CN-2026-000001", "INV-2026-000001", "INV-2026-000002", "INV-2026-000003")


def rendered(desk: Desk, directory: Path) -> dict[str, bytes]:
    """Every export, page and PDF of the month, by the command line."""
    out: dict[str, bytes] = {}
    for form in FORMATS:
        file = directory / f"{form}{'.zip' if form in {'ubl', 'facturx'} else '.txt'}"
        assert desk.run("export", form, "2026-09", "-o", str(file)).code == 0, form
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                out |= {f"{form} {name}": archive.read(name) for name in archive.namelist()}
        else:
            out[form] = file.read_bytes()
    for number in NUMBERS:
        pdf, page, cii = directory / "out.pdf", directory / "out.html", directory / "out.xml"
        assert desk.run("invoice", number, "--pdf", str(pdf), "--html", str(page)).code == 0
        assert desk.run("export", "facturx", "2026-09", "--number", number, "-o", str(cii)).code == 0
        out |= {f"{path.suffix} of {number}": path.read_bytes() for path in (pdf, page, cii)}
    return out


@pytest.fixture(scope="module")
def issued(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every rendering right after the close."""
    return rendered(desk, tmp_path_factory.mktemp("issued"))


def differing(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def test_names_streets_tax_ids_and_the_seller_may_change_and_no_rendering_does(
    desk: Desk, issued: dict[str, bytes], tmp_path: Path
) -> None:
    desk.customers = (
        CUSTOMERS.replace("Ameise & Söhne", "Ant International")
        .replace("Street 1", "Avenue 9")
        .replace("BE0987654394", "BE0000000097")
        .replace("nl-BE", "en-US")
        .replace("Reverse charge applies", "No tax")
        .replace(",21,BTW", ",6,TVA")
    )
    desk.more = SELLER.replace("Acme Platforms Ltd", "Acme Holding").replace("1 Example Street", "2 Other Road")
    desk.more = desk.more.replace("BE0123456749", "BE0000000097").replace(
        'locale = "de"', 'locale = "fr"\ndue_days = 5'
    )
    desk.plans = PRO.replace('"Pro"', '"Professional"').replace("0.16", "99")
    assert differing(issued, rendered(desk, tmp_path)) == []
    assert desk.run("verify").out.endswith("everything agrees\n")


def test_a_draft_follows_todays_files(desk: Desk) -> None:
    desk.now = "2026-10-05T12:00:00Z"
    desk.neon.fleet("org-a").use("bee-1", "2026-10-04", grain="daily", compute_unit_seconds=HOUR)
    desk.good("poll")
    for seller, name in (("Acme Platforms Ltd", "Bee GmbH"), ("Acme Holding", "Bee International")):
        desk.more = SELLER.replace("Acme Platforms Ltd", seller)
        desk.customers = CUSTOMERS.replace("Bee GmbH", name)
        drafts = csv.DictReader(io.StringIO(desk.run("export", "focus", "2026-10", "--drafts").out))
        rows = [one for one in drafts if one["BillingAccountId"] == "bee"]
        assert {(one["InvoiceIssuerName"], one["BillingAccountName"]) for one in rows} == {(seller, name)}


def test_a_customer_taken_out_of_the_files_is_exported_as_before(
    desk: Desk, issued: dict[str, bytes], tmp_path: Path
) -> None:
    desk.customers = COLUMNS + BEE
    desk.subscriptions = "project_id,customer,plan,valid_from,valid_to\nbee-1,bee,pro,,\n"
    for form in ("stripe", "xero", "quickbooks", "beancount", "hledger", "focus", "cloudevents", "lago"):
        ran = desk.run("export", form, "2026-09", "-o", str(tmp_path / form))
        assert (ran.code, (tmp_path / form).read_bytes()) == (0, issued[form]), form
    for form in ("ubl", "facturx"):
        assert desk.run("export", form, "2026-09", "-o", str(tmp_path / f"{form}.zip")).code == 0
        with zipfile.ZipFile(tmp_path / f"{form}.zip") as archive:
            for name in archive.namelist():
                assert archive.read(name) == issued[f"{form} {name}"]


def test_only_stripe_refuses_a_customer_that_has_no_id_there_today_and_exports_the_others(desk: Desk) -> None:
    desk.customers = CUSTOMERS.replace("cus_ant", "")
    ran = desk.run("export", "stripe", "2026-09")
    assert ran.code == 3
    assert {json.loads(text)["params"]["customer"] for text in ran.out.splitlines()} == {"cus_bee"}
    assert "INV-2026-000003 is left out: customers.csv, ant: is not mapped to a customer of Stripe's" in ran.err


def test_a_credit_note_is_by_the_closing_of_the_invoice_that_it_cancels(issued: dict[str, bytes]) -> None:
    for name in (
        ".html of CN-2026-000001",
        ".html of INV-2026-000001",
        "ubl CN-2026-000001.xml",
        ".xml of CN-2026-000001",
    ):
        assert b"Street 0" in issued[name], name
        assert b"Street 1" not in issued[name], name
    assert b"Street 1" in issued["ubl INV-2026-000003.xml"]


def test_a_project_that_is_renamed_later_keeps_its_name_on_what_was_issued(
    desk: Desk, issued: dict[str, bytes], tmp_path: Path
) -> None:
    desk.now = "2026-10-05T12:00:00Z"
    (project,) = [one for one in desk.neon.fleet("org-a").projects if one["id"] == "ant-1"]
    project["name"] = "renamed since"
    desk.good("poll")
    with snapshots.open_reader(read(desk.write(), environ={}).store.directory) as found:
        assert "renamed since" in found.query("ledger/latest_sightings", organization="org-a")["name"].to_list()
    assert b"shop of ant" in issued["focus"]
    assert differing(issued, rendered(desk, tmp_path)) == []


# -- the law, for every key of the configuration


@dataclass(frozen=True, kw_only=True)
class Renderings:
    """Renders the closed month in this process under any configuration."""

    store: store.Store

    def texts(self, config: Config, now: datetime) -> dict[str, bytes]:
        month = Month(recorded=Recorded(store=self.store), terms=terms.of(config), period=SEPTEMBER, now=now)
        out = {}
        for form in FORMATS:
            suffix = ".zip" if form == "ubl" else ""
            forms = Wanted(form=form, suffix=suffix, number="INV-2026-000003" if form == "facturx" else None)
            done = rendering.render(month, config, forms)
            assert not done.refused, form
            out[form] = done.content
        for number in NUMBERS:
            found, around = printable(self.store, config, number, now)
            out[f"page of {number}"] = page_writer(around)(found).encode()
        return out

    def pdf(self, config: Config, now: datetime) -> bytes:
        found, around = printable(self.store, config, "INV-2026-000003", now)
        return invoice_pdf(found, around, Typesetter(around.fonts))


@pytest.fixture(scope="module")
def as_issued(desk: Desk) -> Iterator[tuple[Renderings, Config, dict[str, bytes]]]:
    config = read(desk.write(), environ={})
    with snapshots.open_reader(config.store.directory) as found:
        renderings = Renderings(store=found)
        yield renderings, config, renderings.texts(config, NOW)


OUTSIDE = {
    "store": "where the journal is, and how long pages are kept",
    "exports": "names in somebody else's books follow today",
    "stripe": "how Stripe is reached",
    "path": "where the file is",
    "origins": "where values come from",
}
"""Sections that no document depends on being the same, and why."""
LEAVES_ALONE = {"stripe_customer", "fonts", "line", "place", "store", "id", "customer", "project_id"}
"""Stripe's names follow today; fonts are the machine's; and what says whose row it is (rows are also removed)."""


def other(value: Any) -> Any:
    """Another value of the same type; it may be an invalid one."""
    kinds: list[tuple[type, Callable[[Any], Any]]] = [
        (BaseModel, _others),
        (bool, lambda given: not given),
        (int, lambda given: given + 1),
        (Decimal, lambda given: given + 1),
        (str, lambda given: f"{given} changed"),
        (datetime, lambda given: given + timedelta(days=1)),
        (tuple, lambda given: tuple(map(other, given))),
    ]
    return next((change(value) for kind, change in kinds if isinstance(value, kind)), value)


def _others(given: BaseModel) -> BaseModel:
    names = [name for name in type(given).model_fields if name not in LEAVES_ALONE]
    return given.model_copy(update={name: other(getattr(given, name)) for name in names})


SECTIONS = sorted(Config.model_fields.keys() - OUTSIDE.keys())


@pytest.mark.parametrize("section", SECTIONS)
def test_no_key_of_any_file_changes_what_was_issued(
    section: str, as_issued: tuple[Renderings, Config, dict[str, bytes]]
) -> None:
    renderings, config, before = as_issued
    value = getattr(config, section)
    changed = config.model_copy(update={section: other(value)})
    assert differing(before, renderings.texts(changed, NOW)) == []
    if isinstance(value, tuple) and section != "customer_rows":
        assert differing(before, renderings.texts(config.model_copy(update={section: ()}), NOW)) == []


def test_everything_changed_at_once_and_a_year_later_changes_nothing_either(
    as_issued: tuple[Renderings, Config, dict[str, bytes]],
) -> None:
    renderings, config, before = as_issued
    changed = config.model_copy(update={section: other(getattr(config, section)) for section in SECTIONS})
    later = NOW + timedelta(days=400)
    assert differing(before, renderings.texts(changed, later)) == []
    assert renderings.pdf(changed, later) == renderings.pdf(config, NOW)


def test_the_names_in_somebody_elses_books_follow_today(as_issued: tuple[Renderings, Config, dict[str, bytes]]) -> None:
    renderings, config, before = as_issued
    changed = config.model_copy(update={"exports": other(config.exports)})
    followed = differing(before, renderings.texts(changed, NOW))
    assert followed == ["beancount", "focus", "hledger", "quickbooks", "xero"]


# -- one document never stops the others


def test_one_faulty_document_is_listed_and_the_others_are_written(desk: Desk, tmp_path: Path) -> None:
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for name in ("ant", "bee"):
            fleet.project(f"{name}-1", name)
            fleet.use(f"{name}-1", "2026-09-10", grain="daily", compute_unit_seconds=120 * HOUR)
        shop = Desk(directory=tmp_path, neon=neon, now="2026-10-02T12:00:00Z", more=SELLER, subscriptions=SUBSCRIPTIONS)
        shop.customers = COLUMNS + ANT.replace(",BE,nl-BE", ",,nl-BE") + BEE  # ant has no country
        shop.good("backfill")
        shop.good("close", "2026-09")
        shop.customers = CUSTOMERS  # too late: it is issued
        for form in ("ubl", "facturx"):
            file = tmp_path / f"{form}.zip"
            ran = shop.run("export", form, "2026-09", "-o", str(file))
            assert ran.code == 3
            assert "INV-2026-000001 is left out: customers.csv, ant, country: is missing" in ran.err
            with zipfile.ZipFile(file) as archive:
                assert [Path(name).stem for name in archive.namelist()] == ["INV-2026-000002"]
        alone = shop.run("export", "ubl", "2026-09", "--number", "INV-2026-000001", "-o", str(tmp_path / "one.xml"))
        assert (alone.code, (tmp_path / "one.xml").exists()) == (3, False)
