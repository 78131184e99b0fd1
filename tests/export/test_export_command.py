"""The command `metering export`: a closed month with a void and adjustments in every format, and its sums."""

import csv
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from metering.cli import cli
from metering.cli.exporting import _refuse_leftovers
from metering.core.errors import MeteringError, UsageError
from metering.export.rendering import FORMATS
from tests.support.books import Books, configured
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import PRO, Desk

HOUR = 3600
YEN = PRO.replace('id = "pro"', 'id = "yen"').replace("USD", "JPY").replace('"20.00"', '"3000"').replace("0.16", "17")
DINAR = (
    PRO.replace('id = "pro"', 'id = "dinar"')
    .replace("USD", "KWD")
    .replace('"20.00"', '"5.000"')
    .replace("0.16", "0.01")
    .replace('included = "100"', 'included = "100"\nscope = "customer"')
)
PATTERN = r"(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\d+)"
CUSTOMERS = (
    "customer,name,tax_rate_percent,tax_name,tax_inclusive,street,city,postcode,country,tax_id,stripe_customer\n"
    'ant,"=Ant, ""Inc""",21,VAT,,Street 1,Ghent,9000,BE,BE0987654394,cus_ant\n'
    "bee,ビー,10,消費税,true,Street 2,Tokyo,100-0001,JP,,cus_bee\n"
    "cat,Cat,,,,Street 3,Kuwait,13001,KW,,cus_cat\n"
)
SELLER = """
[seller]
name = "Acme Platforms Ltd"
street = "1 Example Street"
city = "Brussels"
postcode = "1000"
country = "BE"
tax_id = "BE0123456749"
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[Desk]:
    """September is closed, ant's invoice voided and issued anew; October, closed too, adjusts September."""
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for number, (customer, plan) in enumerate((("ant", "pro"), ("bee", "yen"), ("cat", "dinar"))):
            fleet.project(f"{customer}-1", f"acme-{customer}-{plan}-1756684800")
            fleet.use(f"{customer}-1", "2026-09-10", grain="daily", compute_unit_seconds=(133 + number) * HOUR)
        fleet.project("cat-2", "acme-cat-dinar-1756684801")
        fleet.use("cat-2", "2026-09-11", grain="daily", compute_unit_seconds=2 * HOUR)
        found = Desk(directory=tmp_path_factory.mktemp("desk"), neon=neon, now="2026-10-02T12:00:00Z", pattern=PATTERN)
        found.plans, found.customers, found.more = f"{PRO}{YEN}{DINAR}", CUSTOMERS, SELLER
        found.good("backfill")
        found.good("close", "2026-09")
        found.good("void", "INV-2026-000001", "--reason", "=wrong")
        found.good("close", "2026-09")
        fleet.use("ant-1", "2026-09-28T10:00:00Z", compute_unit_seconds=10 * HOUR)
        found.now = "2026-10-03T13:00:00Z"
        found.good("poll")
        fleet.use("ant-1", "2026-10-20", grain="daily", compute_unit_seconds=200 * HOUR)
        found.now = "2026-11-03T12:00:00Z"
        found.good("backfill")
        found.good("close", "2026-10")
        yield found


def exported(desk: Desk, *asked: str) -> str:
    ran = desk.run("export", *asked)
    assert ran.code == 0, ran
    return ran.out


def totals(desk: Desk, month: str) -> dict[str, str]:
    """Number -> `121.00 USD`, as `invoices` says."""
    return {one["number"]: f"{one['total']} {one['currency']}" for one in desk.good("invoices", month)["invoices"]}


def added(text: str, number: str, currency: str, *amounts: str) -> dict[str, str]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    currencies = {}
    for row in csv.DictReader(io.StringIO(text, newline="")):
        sums[row[number]] += sum(Decimal(row[amount]) for amount in amounts)
        currencies[row[number]] = row[currency]
    return {name: f"{total} {currencies[name]}" for name, total in sums.items()}


def test_the_months_are_as_they_should_be(desk: Desk) -> None:
    assert list(totals(desk, "2026-09")) == [
        *("CN-2026-000001", "INV-2026-000001", "INV-2026-000004", "INV-2026-000002", "INV-2026-000003")
    ]
    (october, *_) = desk.good("invoices", "2026-10")["invoices"]
    assert [one["kind"] for one in october["lines"]].count("adjustment") == 1


@pytest.mark.parametrize("month", ["2026-09", "2026-10"])
def test_the_files_of_money_add_up_to_what_invoices_says(desk: Desk, month: str) -> None:
    told = totals(desk, month)
    assert added(exported(desk, "focus", month), "InvoiceId", "BillingCurrency", "BilledCost") == told
    assert added(exported(desk, "xero", month), "*InvoiceNumber", "Currency", "*UnitAmount", "TaxAmount") == told
    assert added(exported(desk, "quickbooks", month), "InvoiceNo", "Currency", "ItemAmount", "ItemTaxAmount") == told


def test_a_line_of_several_projects_is_a_row_for_each_in_focus(desk: Desk) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(desk, "focus", "2026-09"), newline="")))
    shared = [row for row in rows if row["x_Customer"] == "cat" and row["SkuMeter"] == "compute"]
    # 137 CU-hours, 100 of them included: 37 at 0.01 KWD, of which cat-1 has 135/137.
    assert [(row["SubAccountId"], row["BilledCost"]) for row in shared] == [("cat-1", "0.365"), ("cat-2", "0.005")]
    (line,) = [
        row for row in csv.DictReader(io.StringIO(exported(desk, "xero", "2026-09"))) if row["*UnitAmount"] == "0.370"
    ]
    assert line["TrackingOption1"] == ""


def test_voided_invoice_and_credit_note_stand_beside_each_other(desk: Desk) -> None:
    found = totals(desk, "2026-09")
    assert Decimal(found["CN-2026-000001"].split()[0]) == -Decimal(found["INV-2026-000001"].split()[0])
    rows = list(csv.DictReader(io.StringIO(exported(desk, "focus", "2026-09"), newline="")))
    assert {(row["InvoiceId"], row["x_Status"], row["x_DocumentKind"]) for row in rows} >= {
        ("CN-2026-000001", "final", "credit_note"),
        ("INV-2026-000001", "void", "invoice"),
        ("INV-2026-000004", "final", "invoice"),
    }


def test_importers_get_names_as_they_are_and_people_get_them_guarded(desk: Desk) -> None:
    assert '\n"=Ant, ""Inc""",' in exported(desk, "xero", "2026-09")
    assert ",=wrong," in exported(desk, "quickbooks", "2026-09")
    assert "'=Ant" in exported(desk, "focus", "2026-09")


def test_quickbooks_of_more_than_a_hundred_is_numbered_files_or_a_zip_and_no_standard_output(tmp_path: Path) -> None:
    rows = "".join(f"p-{number},c{number:03},pro\n" for number in range(101))
    pro = '[[plans]]\nid = "pro"\ncurrency = "USD"\nbase_fee = "1.00"\n'
    config = configured(tmp_path, pro, subscriptions=f"project_id,customer,plan\n{rows}")
    books = Books(tmp_path / "var")
    with books.open() as found:
        projects = {f"p-{number}": "name" for number in range(101)}
        books.inventory(found, projects, at="2026-10-03")
        books.history(found, {name: {} for name in projects}, since="2026-09-01", until="2026-10-01")

    def run(*arguments: str) -> Result:
        given = [*arguments, "--config", str(config.path)]
        return CliRunner().invoke(cli, given, env={"METERING_NOW": "2026-10-03T00:00:00Z"})

    assert run("close", "2026-09").exit_code == 0
    refused = run("export", "quickbooks", "2026-09")
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception) == "quickbooks takes no more of 2026-09 at once: it comes in 2 files"
    assert (refused.stdout, refused.exception.exit_code) == ("", 2)

    out = tmp_path / "out"
    out.mkdir()
    written = run("export", "quickbooks", "2026-09", "-o", str(out / "q.csv"))
    assert (written.exit_code, written.stdout) == (0, f"{out / 'q-1.csv'}\n{out / 'q-2.csv'}\n")
    assert sorted(path.name for path in out.iterdir()) == ["q-1.csv", "q-2.csv"]
    assert [(out / f"q-{number}.csv").read_text().count("INV-2026-") for number in (1, 2)] == [100, 1]
    assert run("export", "quickbooks", "2026-09", "-o", str(out / "q.zip")).stdout == ""
    with zipfile.ZipFile(out / "q.zip") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert parts == {f"quickbooks-{number}.csv": (out / f"q-{number}.csv").read_bytes() for number in (1, 2)}
    assert run("export", "quickbooks", "2026-09", "--number", "INV-2026-000101").stdout.count("INV-2026-") == 1


@pytest.mark.parametrize(
    ("left", "named", "count"),
    [
        (["q-3.csv", "q-4.csv"], ["q-3.csv"], 2),
        (["q.csv"], ["q.csv"], 2),
        (["q-1.csv", "q-2.csv"], ["q-1.csv", "q-2.csv"], 1),
        (["q-2.csv"], ["q-2.csv"], 1),
    ],
)
def test_files_left_over_from_another_export_are_told_before_any_is_written(tmp_path: Path, left, named, count) -> None:
    for name in left:
        (tmp_path / name).write_text("old")

    with pytest.raises(MeteringError) as refused:
        _refuse_leftovers(tmp_path / "q.csv", count)

    assert str(refused.value) == "left over from an earlier export, and no part of this one: " + ", ".join(
        str(tmp_path / name) for name in named
    )
    assert "take those files and any that follow them away" in refused.value.hint


@pytest.mark.parametrize(("there", "count"), [(["q-1.csv", "q-2.csv"], 2), (["q.csv"], 1), (["q-10.csv"], 2)])
def test_files_that_an_export_replaces_are_no_leftovers(tmp_path: Path, there, count) -> None:
    for name in there:
        (tmp_path / name).write_text("old")
    _refuse_leftovers(tmp_path / "q.csv", count)
    _refuse_leftovers(tmp_path / "q.zip", 2)


def test_quickbooks_writes_nothing_beside_a_file_of_a_larger_export(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "q-2.csv").write_text("old")

    ran = desk.run("export", "quickbooks", "2026-09", "-o", str(tmp_path / "q.csv"))

    assert ran.code == 1
    assert f"left over from an earlier export, and no part of this one: {tmp_path / 'q-2.csv'}" in ran.err
    assert not (tmp_path / "q.csv").exists()


def test_the_files_are_written_whole_and_by_their_ending(desk: Desk, tmp_path: Path) -> None:
    exported(desk, "focus", "2026-09", "-o", str(tmp_path / "focus.parquet"))
    exported(desk, "focus", "2026-09", "-o", str(tmp_path / "focus.csv"))
    frame = pl.read_parquet(tmp_path / "focus.parquet")
    assert (tmp_path / "focus.csv").read_text() == exported(desk, "focus", "2026-09").replace("\r\n", "\n")
    assert frame.height == len((tmp_path / "focus.csv").read_text().splitlines()) - 1
    assert {path.name for path in tmp_path.iterdir()} == {"focus.parquet", "focus.csv"}
    assert (tmp_path / "focus.csv").stat().st_mode & 0o077 == 0


def test_neons_cost_in_focus_is_what_the_report_says(desk: Desk, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(desk, "focus", "2026-09", "--cost"), newline="")))
    desk.run("report", "2026-09", "--format", "json")
    report = json.loads((desk.directory / "var" / "reports" / "2026-09" / "report.json").read_text())
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(report["costs"]["total"])
    assert {row["ProviderName"] for row in rows} == {"Neon"}


def test_drafts_come_only_when_asked_for(desk: Desk) -> None:
    ran = desk.run("export", "focus", "2026-11")
    assert ran.code == 0 and len(ran.out.splitlines()) == 1
    rows = list(csv.DictReader(io.StringIO(exported(desk, "focus", "2026-11", "--drafts"), newline="")))
    assert {(row["x_Status"], row["InvoiceId"]) for row in rows} == {("draft", "")}


def test_a_month_without_documents_says_so(desk: Desk) -> None:
    ran = desk.run("export", "beancount", "2026-08")
    assert (ran.code, ran.out) == (0, "")
    assert "2026-08 has nothing to export as beancount" in ran.err


def test_one_document_alone_by_its_number(desk: Desk) -> None:
    assert "INV-2026-000002" in exported(desk, "beancount", "2026-09", "--number", "INV-2026-000002")
    assert "INV-2026-000003" not in exported(desk, "beancount", "2026-09", "--number", "INV-2026-000002")
    ran = desk.run("export", "beancount", "2026-09", "--number", "INV-2026-000099")
    assert (ran.code, "no document of the month" in ran.err) == (1, True)


def test_e_invoices_go_into_one_archive_or_come_one_by_one(desk: Desk, tmp_path: Path) -> None:
    pytest.importorskip("facturx", reason="the extra einvoice is not installed")
    for form in ("ubl", "facturx"):
        exported(desk, form, "2026-09", "-o", str(tmp_path / "all.zip"))
        first = (tmp_path / "all.zip").read_bytes()
        exported(desk, form, "2026-09", "-o", str(tmp_path / "all.zip"))
        assert (tmp_path / "all.zip").read_bytes() == first
        with zipfile.ZipFile(tmp_path / "all.zip") as archive:
            assert len(archive.namelist()) == 5
            one = archive.read(archive.namelist()[1])
        assert one
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".pdf"}
    ran = desk.run("export", "ubl", "2026-09")
    assert (ran.code, "5 documents" in ran.err) == (2, True)
    assert exported(desk, "ubl", "2026-09", "--number", "INV-2026-000002").startswith("<?xml")


def test_a_factur_x_is_the_printed_invoice_with_its_xml_inside(desk: Desk, tmp_path: Path) -> None:
    facturx = pytest.importorskip("facturx", reason="the extra einvoice is not installed")
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    asked = ("facturx", "2026-09", "--number", "INV-2026-000002")
    exported(desk, *asked, "-o", str(tmp_path / "one.pdf"))
    made = (tmp_path / "one.pdf").read_bytes()
    name, xml = facturx.get_xml_from_pdf(made, check_xsd=True)
    assert (name, xml.decode()) == ("factur-x.xml", exported(desk, *asked))
    read = pypdf.PdfReader(tmp_path / "one.pdf")
    assert "INV-2026-000002" in read.pages[0].extract_text()
    assert read.metadata.creation_date_raw == "D:20261002120000+00'00'"
    about = read.root_object["/Metadata"].get_object().get_data().decode()
    assert "<pdfaid:part>3<" in about and "<fx:ConformanceLevel>EN 16931<" in about
    assert "2026-10-02T12:00:00+00:00" in about


def test_events_carry_the_usage_that_usage_says(desk: Desk) -> None:
    told: dict[str, int] = {}
    for batch in exported(desk, "cloudevents", "2026-09").splitlines():
        for one in json.loads(batch):
            told[one["subject"]] = told.get(one["subject"], 0) + int(one["data"]["value"])
    used: defaultdict[str, int] = defaultdict(int)
    for row in desk.good("usage", "2026-09")["usage"]:
        used[row["customer"]] += int(row["value"])
    assert told == used
    lago = [one for text in exported(desk, "lago", "2026-09").splitlines() for one in json.loads(text)["events"]]
    assert sum(int(one["properties"]["value"]) for one in lago) == sum(told.values())


def test_stripe_items_as_a_file_add_up(desk: Desk) -> None:
    sums: defaultdict[str, int] = defaultdict(int)
    for text in exported(desk, "stripe", "2026-09").splitlines():
        item = json.loads(text)["params"]
        sums[item["metadata"]["invoice"]] += item["amount"]
    assert dict(sums) == {name: int(said.split()[0].replace(".", "")) for name, said in totals(desk, "2026-09").items()}


def test_unmapped_customers_are_listed_and_the_others_exported(desk: Desk) -> None:
    desk.customers = CUSTOMERS.replace("cus_bee", "").replace("cus_cat", "")
    ran = desk.run("export", "stripe", "2026-09")
    desk.customers = CUSTOMERS
    assert ran.code == 3
    assert {json.loads(text)["params"]["customer"] for text in ran.out.splitlines()} == {"cus_ant"}
    assert "customers.csv, bee" in ran.err and "customers.csv, cat" in ran.err and "customers.csv, ant" not in ran.err


def test_invoices_and_credit_notes_come_apart_where_an_importer_wants_them_so(desk: Desk) -> None:
    for form, column in (("xero", "*InvoiceNumber"), ("quickbooks", "InvoiceNo")):
        notes = csv.DictReader(io.StringIO(exported(desk, form, "2026-09", "--only", "credit_notes"), newline=""))
        assert {row[column] for row in notes} == {"CN-2026-000001"}
        rest = csv.DictReader(io.StringIO(exported(desk, form, "2026-09", "--only", "invoices"), newline=""))
        assert {row[column] for row in rest} == totals(desk, "2026-09").keys() - {"CN-2026-000001"}


def test_an_option_of_another_format_is_refused(desk: Desk) -> None:
    ran = desk.run("export", "xero", "2026-09", "--cost")
    assert (ran.code, "xero takes no --cost" in ran.err) == (2, True)


FORMAT_NAMES = [
    "focus",
    "stripe",
    "xero",
    "quickbooks",
    "beancount",
    "hledger",
    "ubl",
    "facturx",
    "cloudevents",
    "lago",
]


def test_an_unknown_format_is_refused_with_those_that_there_are(desk: Desk) -> None:
    ran = desk.run("export", "sap", "2026-09")
    assert ran.code == 2
    assert f"'sap' is not one of {', '.join(map(repr, FORMAT_NAMES))}" in ran.err


def test_a_missing_format_is_told_with_those_that_there_are(desk: Desk) -> None:
    ran = desk.run("export")
    assert ran.code == 2
    assert [name.strip(", ") for name in ran.err.split("Choose from:")[1].split()] == FORMAT_NAMES


def test_the_same_export_twice_is_the_same_bytes(desk: Desk) -> None:
    for form in sorted(set(FORMATS) - {"ubl", "facturx"}):
        assert exported(desk, form, "2026-09") == exported(desk, form, "2026-09")
