"""Reports and invoices on paper, by the commands and from outside: what a customer is sent, and what finance opens."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import polars as pl
import pypdf
import pytest

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, copied

HOUR = 3600
CUSTOMERS = (
    "customer,name,address,country,tax_id,tax_rate_percent,tax_name,locale\n"
    'ant-1,"Ameise & Söhne","Gasse 1\n1010 Wien",AT,ATU12345678,20,USt,de-AT\n'
)
SELLER = '[seller]\nname = "Acme Platforms Ltd"\naddress = "1 Example Street"\ncountry = "BE"\n'


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """September 2026 of two customers, closed."""
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for project, hours in (("bee-1", 101), ("ant-1", 102)):
            fleet.project(project)
            fleet.use(project, "2026-09-10", grain="daily", compute_unit_seconds=hours * HOUR)
        desk = Desk(
            directory=tmp_path_factory.mktemp("kept"),
            neon=neon,
            now="2026-10-02T12:00:00Z",
            default_plan="pro",
            customers=CUSTOMERS,
            more=SELLER,
        )
        desk.good("backfill")
        desk.good("close", "2026-09")
        yield desk


@pytest.fixture
def desk(kept: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A copy of it for each test."""
    with copied(kept, tmp_path) as found:
        yield found


def text_of(path: Path) -> str:
    joined = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(path.read_bytes())).pages)
    return re.sub(r"[\s\u200b]", "", joined)


def test_the_days_on_an_invoice_are_in_the_unit_in_which_they_were_read(desk: Desk, tmp_path: Path) -> None:
    desk.more = (
        SELLER
        + """
[[meters]]
id = "compute"
metrics = ["compute_unit_seconds"]
unit = "CU-hour"
divisors = [{ valid_from = 2024-03-01, divisor = "3600" }, { valid_from = 2026-10-03, divisor = "3600000" }]
"""
    )
    desk.good("void", "INV-2026-000001", "--reason", "once more")
    desk.now = "2026-10-03T12:00:00Z"  # Neon's unit is another by now
    (invoice,) = (row for row in desk.good("close", "2026-09")["invoices"] if row["number"] == "INV-2026-000003")
    assert [line["quantity"] for line in invoice["lines"] if line["kind"] == "usage"] == ["2"]
    page = tmp_path / "out.html"
    assert desk.run("invoice", "INV-2026-000003", "--html", str(page)).code == 0
    assert "102,000" in page.read_text()
    assert "0,102" not in page.read_text()


def test_an_invoice_is_written_as_pdf_and_page_in_its_customers_locale(desk: Desk, tmp_path: Path) -> None:
    pdf, page = tmp_path / "out.pdf", tmp_path / "out.html"
    ran = desk.run("invoice", "INV-2026-000001", "--pdf", str(pdf), "--html", str(page))
    assert (ran.code, ran.out) == (0, "")
    assert "BETaxid" not in text_of(pdf), "the seller has none"
    for words in ("Ameise&Söhne", "Gasse1", "1010Wien", "TaxidATU12345678", "AcmePlatformsLtd", "USt20%of20,32"):
        assert words in text_of(pdf)
    html = page.read_text()
    for words in ("Ameise &amp; Söhne", "1010 Wien", "24,38", "01.09.2026 – 30.09.2026", "Usage per day", "102,000"):
        assert words in html
    assert pdf.stat().st_mode & 0o077 == 0


def test_writing_it_again_gives_the_same_bytes(desk: Desk, tmp_path: Path) -> None:
    desk.run("invoice", "INV-2026-000001", "--pdf", str(tmp_path / "a.pdf"))
    desk.run("invoice", "INV-2026-000001", "--pdf", str(tmp_path / "b.pdf"))
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_a_closed_invoice_keeps_the_address_that_it_was_closed_with(desk: Desk, tmp_path: Path) -> None:
    desk.customers = CUSTOMERS.replace("Gasse 1", "Platz 9")
    desk.run("invoice", "INV-2026-000001", "--pdf", str(tmp_path / "a.pdf"))
    assert "Gasse1" in text_of(tmp_path / "a.pdf")


def test_a_closed_invoice_keeps_what_was_used_when_it_was_closed(desk: Desk, tmp_path: Path) -> None:
    before, after = tmp_path / "before.pdf", tmp_path / "after.pdf"
    desk.run("invoice", "INV-2026-000001", "--pdf", str(before))
    desk.neon.fleet("org-a").use("ant-1", "2026-09-30T10:00:00Z", compute_unit_seconds=8 * HOUR)
    desk.now = "2026-10-03T12:00:00Z"
    desk.good("poll")
    assert {row["quantity"] for row in desk.good("usage", "2026-09")["usage"]} == {"110", "101"}
    desk.run("invoice", "INV-2026-000001", "--pdf", str(after))
    desk.run("report", "2026-09", "--format", "pdf")
    reported = desk.directory / "var" / "reports" / "2026-09" / "invoices" / "INV-2026-000001.pdf"
    assert before.read_bytes() == after.read_bytes() == reported.read_bytes()


def test_an_invoice_that_is_issued_anew_has_the_corrected_address(desk: Desk, tmp_path: Path) -> None:
    desk.good("void", "INV-2026-000001", "--reason", "wrong address")
    desk.customers = CUSTOMERS.replace("Gasse 1", "Platz 9")
    desk.good("close", "2026-09")
    for number, address in (("INV-2026-000001", "Gasse1"), ("CN-2026-000001", "Gasse1"), ("INV-2026-000003", "Platz9")):
        desk.run("invoice", number, "--pdf", str(tmp_path / f"{number}.pdf"))
        assert address in text_of(tmp_path / f"{number}.pdf"), number


def test_an_address_in_parts_stands_on_a_closed_invoice(desk: Desk, tmp_path: Path) -> None:
    desk.customers = "customer,name,street,postcode,city\nant-1,Ameise,Gasse 1,1010,Wien\n"
    desk.run("invoice", "INV-2026-000002", "--pdf", str(tmp_path / "other.pdf"))
    desk.good("void", "INV-2026-000001", "--reason", "wrong address")
    desk.good("close", "2026-09")
    desk.run("invoice", "INV-2026-000003", "--pdf", str(tmp_path / "a.pdf"))
    assert "Gasse1" in text_of(tmp_path / "a.pdf")
    assert "Gasse1" not in text_of(tmp_path / "other.pdf")


@pytest.mark.parametrize(
    ("row", "is_said"),
    [
        ("AE,,,Reverse charge", True),
        ("AE,,article 196 says who pays,article 196 says who pays", True),
        ("AE,0,,Reverse charge", True),
        (",20,article 196 says who pays,article 196 says who pays", False),
        (",,,Reverse charge", False),
    ],
)
def test_an_invoice_without_tax_says_why(desk: Desk, tmp_path: Path, row: str, is_said: bool) -> None:
    category, rate, note, said = row.split(",")
    desk.good("void", "INV-2026-000001", "--reason", "tax")
    desk.customers = f"customer,name,tax_category,tax_rate_percent,tax_note\nant-1,Ameise,{category},{rate},{note}\n"
    desk.good("close", "2026-09")
    desk.run("invoice", "INV-2026-000003", "--pdf", str(tmp_path / "a.pdf"), "--html", str(tmp_path / "a.html"))
    assert (said.replace(" ", "") in text_of(tmp_path / "a.pdf")) is is_said
    assert (said in (tmp_path / "a.html").read_text()) is is_said


def test_a_credit_note_is_written_too(desk: Desk, tmp_path: Path) -> None:
    desk.good("void", "INV-2026-000001", "--reason", "wrong price")
    desk.run("invoice", "CN-2026-000001", "--pdf", str(tmp_path / "note.pdf"))
    text = text_of(tmp_path / "note.pdf")
    for words in ("CreditnoteCN-2026-000001", "CancelsINV-2026-000001", "Reasonwrongprice", "-USD24,38"):
        assert words in text


def test_an_unknown_number_writes_nothing(desk: Desk, tmp_path: Path) -> None:
    ran = desk.run("invoice", "INV-2026-000099", "--pdf", str(tmp_path / "a.pdf"))
    assert ran.code == 1
    assert not (tmp_path / "a.pdf").exists()


def test_the_report_is_written_in_every_format_and_all_agree(desk: Desk) -> None:
    ran = desk.run("report", "2026-09", "--format", "html,pdf,xlsx,csv,json,parquet")
    assert ran.code == 0
    directory = desk.directory / "var" / "reports" / "2026-09"
    names = {Path(line).relative_to(directory).as_posix() for line in ran.out.splitlines()}
    invoice = "invoices/INV-2026-000001"
    assert {"report.html", "report.pdf", "report.xlsx", "report.json", f"{invoice}.pdf", f"{invoice}.html"} <= names
    report = json.loads((directory / "report.json").read_text())
    assert report["totals"][0]["subtotal"] == "40.48"  # 20.00 + 2 x 0.16, 20.00 + 1 x 0.16
    totals = openpyxl.load_workbook(directory / "report.xlsx")["Totals"]
    assert str(totals["D2"].value) == "40.48"
    assert str(pl.read_parquet(directory / "customers.parquet")["subtotal"].sum()) == "40.480000000000"
    assert "Revenuebeforetax40.48" in text_of(directory / "report.pdf")


def test_the_report_shows_the_last_comparison_with_neons_invoice(desk: Desk) -> None:
    desk.run("report", "2026-09", "--format", "json")
    told = desk.good("reconcile", "2026-09", "--total", "30.00")
    desk.run("report", "2026-09", "--format", "html,pdf,json,csv")
    directory = desk.directory / "var" / "reports" / "2026-09"
    report = json.loads((directory / "report.json").read_text())
    assert report["reconciliation"] == told
    assert told["computed"] == report["costs"]["total"]
    assert "InvoicedbyNeon30.00" in text_of(directory / "report.pdf")
    assert "Invoiced by Neon" in (directory / "report.html").read_text()
    assert len((directory / "reconciliation.csv").read_text().splitlines()) == 2


def test_a_locale_that_is_none_is_a_fault_with_its_key(desk: Desk) -> None:
    desk.more = SELLER + '[invoices]\nlocale = "klingon"\n'
    desk.customers = CUSTOMERS.replace("de-AT", "de_XX_1")
    ran = desk.run("invoices", "2026-09")
    assert ran.code == 4
    assert "invoices.locale: 'klingon' is no locale" in ran.err
    assert "customers.csv row 1 (line 2), locale: 'de_XX_1' is no locale" in ran.err


def test_a_directory_of_fonts_that_is_missing_is_told(desk: Desk, tmp_path: Path) -> None:
    desk.more = SELLER + '[invoices]\nfonts = "fonts"\n'
    ran = desk.run("invoice", "INV-2026-000001", "--pdf", str(tmp_path / "a.pdf"))
    assert ran.code == 1
    assert "there is no directory of fonts" in ran.err
