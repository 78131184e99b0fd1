"""Invoices and the report as PDF: valid PDF/A by Typst's own judgement, the same bytes for the same facts, and every
name as it came, whatever is in it."""

import io
import re
from dataclasses import replace

import pypdf
import pytest

from metering.core.errors import MeteringError
from metering.core.invoice import converted
from metering.core.period import parse_time
from metering.core.text import visible
from metering.invoicing.printed.documents import invoice_pdf
from metering.invoicing.printed.sheet_usage import MeterDays
from metering.rendering.typeset import Typesetter
from metering.reporting.build import build
from metering.reporting.paper import paper
from metering.reporting.write import write
from tests.reporting.test_report import POISON, around, poisoned
from tests.support.sample_month import facts

NAMES = {
    "Typst's markup": '#panic("no") *bold* _em_ $x^2$ @ref <label> `raw` \\ // /* ~ -- [x] = head',
    "Greek": "Ελληνική Εταιρεία",
    "Cyrillic": "Українська компанія",
    "Arabic": "شركة محدودة",
    "Hebrew": "חברה בעמ",
    "Latin of all kinds": "Žluťoučký kůň, İstanbul, Þórður, Đặng, ﬁ",
}


@pytest.fixture(scope="module")
def typesetter():
    return Typesetter()


@pytest.fixture(scope="module")
def sample():
    return facts()


def of_customer(sample, name, **more):
    invoice = next(row for row in sample.invoices if row["number"] == "INV-2026-000009")
    return {**invoice, "customer": {"id": "c-1", "name": name}, **more}


def pdf_of(invoice, background, typesetter):
    """The PDF of an invoice that is written as JSON."""
    return invoice_pdf(converted(invoice), background, typesetter)


def read(pdf):
    return pypdf.PdfReader(io.BytesIO(pdf))


def text_of(pdf):
    """What stands there, without the blanks and breaks that setting it put in."""
    joined = "".join(page.extract_text() for page in read(pdf).pages)
    return re.sub(r"[\s\u200b\u200e\u200f\xad]", "", joined)


def squeezed(text):
    return re.sub(r"\s", "", text)


def test_an_invoice_is_pdf_a_3b_and_says_who_what_and_when(sample, typesetter):
    invoice = of_customer(sample, "Tandem Logistics")
    found = read(pdf_of(invoice, around(sample), typesetter))
    metadata = found.trailer["/Root"]["/Metadata"].get_data().decode()
    assert "<pdfaid:part>3</pdfaid:part>" in metadata
    assert "<pdfaid:conformance>B</pdfaid:conformance>" in metadata
    assert found.metadata.title == "Invoice INV-2026-000009"
    assert found.metadata.author == "Acme Platforms Ltd"
    assert found.metadata.creation_date == parse_time(invoice["issued_at"])
    text = "".join(page.extract_text() for page in found.pages)
    for words in ("Tandem Logistics", "USD 671.47", "metering explain INV-2026-000009", "Nov 2, 2026"):
        assert words in text.replace("\xa0", " ")


def test_all_fonts_are_in_the_file(sample, typesetter):
    for page in read(pdf_of(of_customer(sample, "Ελλάς"), around(sample), typesetter)).pages:
        for font in page["/Resources"]["/Font"].values():
            (held,) = font["/DescendantFonts"]
            assert {"/FontFile2", "/FontFile3"} & set(held["/FontDescriptor"])


def test_every_line_and_total_stands_in_the_pdf(sample, typesetter):
    invoice = of_customer(sample, "Tandem Logistics")
    text = text_of(pdf_of(invoice, around(sample), typesetter))
    for line in invoice["lines"]:
        assert squeezed(f"{line['description']}") in text
        assert f"{line['quantity'].partition('.')[2]}{squeezed(line['unit'])}" in text


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_printed_as_it_is(sample, typesetter, name):
    text = text_of(pdf_of(of_customer(sample, name), around(sample), typesetter))
    letters = sorted(squeezed(name).replace("ﬁ", "fi"))
    # Words written from right to left are extracted in another order: the letters are all there.
    assert squeezed(name) in text or all(text.count(letter) >= letters.count(letter) for letter in letters)


def test_what_no_font_has_is_printed_as_its_code(sample, typesetter):
    text = text_of(pdf_of(of_customer(sample, "山田 Ltd 👩"), around(sample), typesetter))
    assert "[U+5C71][U+7530]Ltd[U+1F469]" in text


def test_what_was_learned_of_one_document_changes_no_other(sample, typesetter):
    plain = of_customer(sample, "Plain")
    fresh = Typesetter().pdf("invoice.typ", *_parts(plain, sample))
    pdf_of(of_customer(sample, "山田"), around(sample), typesetter)
    assert typesetter.pdf("invoice.typ", *_parts(plain, sample)) == fresh


def _parts(invoice, sample):
    from metering.invoicing.printed.sheet import sheet

    return sheet(converted(invoice), around(sample)), parse_time(invoice["issued_at"])


def test_the_same_invoice_gives_the_same_bytes_and_another_moment_does_not(sample, typesetter):
    invoice = of_customer(sample, "Same")
    first = pdf_of(invoice, around(sample), typesetter)
    assert pdf_of(invoice, around(sample), Typesetter()) == first
    later = {**invoice, "issued_at": "2026-10-04T00:00:00Z"}
    assert pdf_of(later, around(sample), typesetter) != first


def test_a_credit_note_a_void_invoice_and_a_draft_say_what_they_are(sample, typesetter):
    def printed(**more):
        return text_of(pdf_of(of_customer(sample, "Ann", **more), around(sample), typesetter))

    note = printed(kind="credit_note", number="CN-2026-000001", credits="INV-2026-000009", reason="wrong price")
    assert "CreditnoteCN-2026-000001" in note
    assert "CancelsINV-2026-000009" in note
    assert "Reasonwrongprice" in note
    assert "Due" not in note
    assert "Thisinvoiceisvoid.Donotpayit." in printed(status="void")
    draft = printed(status="draft", number=None, issued_at=None, due_at=None)
    assert "NotnumberedyetDRAFT" in draft
    assert "Itisnotademandforpayment" in draft


def test_an_invoice_is_printed_in_its_customers_locale_at_its_customers_address(sample, typesetter):
    german = {"c-1": {"locale": "de-DE", "address": "Hauptstraße 1\n10115 Berlin", "tax_id": "DE123456789"}}
    invoice = of_customer(sample, "Beispiel GmbH")
    text = text_of(pdf_of(invoice, around(sample, customers=german), typesetter))
    for words in ("671,47USD", "01.09.2026–30.09.2026", "Hauptstraße110115Berlin", "TaxidDE123456789"):
        assert words in text


def test_prices_that_include_tax_say_so(sample, typesetter):
    taxes = [{"name": "VAT", "rate_percent": "21", "base": "554.93", "amount": "116.54"}]
    invoice = of_customer(sample, "Ann", tax_inclusive=True, subtotal="554.93", taxes=taxes)
    text = text_of(pdf_of(invoice, around(sample), typesetter))
    for words in ("taxincluded", "Ofthetotal,beforetax554.93", "VAT21%of554.93116.54", "USD671.47"):
        assert words in text


def test_days_are_drawn_where_they_are_known(sample, typesetter):
    days = [MeterDays(meter=row["meter"], unit=row["unit"], days=row["days"]) for row in build(sample)["meters"]]
    text = text_of(pdf_of(of_customer(sample, "Ann"), around(sample, days=lambda _: days), typesetter))
    assert "UsageperdayComputeinCU-hour" in text
    assert "Usageperday" not in text_of(pdf_of(of_customer(sample, "Ann"), around(sample), typesetter))


def test_a_customers_line_shows_what_each_project_has_in_it(sample, typesetter):
    invoice = of_customer(sample, "Ann")
    parts = [{"project_id": "p-1", "quantity": "1.5", "amount": "3.00"}]
    line = {**invoice["lines"][1], "project_id": None, "projects": parts}
    text = text_of(pdf_of({**invoice, "lines": [line]}, around(sample), typesetter))
    assert "p-11.53.00" in text


@pytest.mark.parametrize("number", range(0, 59, 7))
def test_hostile_invoices_become_pdf(typesetter, number):
    month = poisoned(facts(has_gaps=True))
    assert pdf_of(month.invoices[number], around(month), typesetter).startswith(b"%PDF-")


def test_every_hostile_name_can_be_read_in_the_pdf(sample, typesetter):
    for name in POISON:
        text = text_of(pdf_of(of_customer(sample, name), around(sample), typesetter))
        ascii_part = squeezed("".join(letter for letter in visible(name) if letter.isascii()))
        assert ascii_part in text or set(ascii_part) <= set(text), name


def test_files_are_called_by_no_name_from_outside(tmp_path):
    month = poisoned(facts(has_gaps=True))
    month = replace(month, invoices=month.invoices[:4])
    paths = write(build(month), month.invoices, around(month), tmp_path / "out", {"pdf", "xlsx"})
    assert len(paths) == 6
    for path in paths:
        assert path.resolve().is_relative_to(tmp_path / "out")
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}\.(pdf|xlsx)", path.name), path
        assert path.stat().st_mode & 0o077 == 0


def test_a_draft_that_became_an_invoice_leaves_no_pdf_behind(tmp_path):
    for sample in (facts(has_gaps=True), facts()):
        month = replace(sample, invoices=sample.invoices[:2])
        write(build(month), month.invoices, around(month), tmp_path, {"pdf"})
    assert sorted(path.name for path in (tmp_path / "invoices").iterdir()) == [
        "INV-2026-000001.pdf",
        "INV-2026-000002.pdf",
    ]


def test_a_directory_of_fonts_that_is_not_there_is_told(tmp_path):
    with pytest.raises(MeteringError, match="no directory of fonts"):
        Typesetter(tmp_path / "fonts")


def test_the_report_is_a_pdf_with_the_sums_of_the_page(sample, typesetter):
    report = build(sample)
    pdf = typesetter.pdf("report.typ", paper(report), sample.as_of)
    text = text_of(pdf)
    for words in ("Revenuebeforetax5,031.40", "Invoiced5,622.97", "September2026", "BaseFee"[:4], "Northwind"):
        assert words in text
    assert typesetter.pdf("report.typ", paper(build(facts())), sample.as_of) == pdf


def test_the_running_month_says_what_it_will_come_to(sample, typesetter):
    amounts = {"so_far": "10.00", "expected": "20.00", "low": "19.00", "high": None, "currency": "USD"}
    outlook = {"method": "mean of the month so far", "totals": [amounts], "neon_cost": {**amounts, "expected": "5.00"}}
    text = text_of(typesetter.pdf("report.typ", paper(build(replace(sample, outlook=outlook))), sample.as_of))
    assert "RevenueUSD10.0020.0019.00–" in text
    assert "NeoncostUSD10.005.0019.00–" in text


def test_a_hostile_report_becomes_pdf(typesetter):
    month = poisoned(facts(has_gaps=True))
    text = text_of(typesetter.pdf("report.typ", paper(build(month)), month.as_of))
    assert "<script>alert(1)</script>" in text
    assert "Incomplete:692of720hours" in text


def test_an_empty_month_becomes_pdf(sample, typesetter):
    nothing = dict.fromkeys(
        ("invoices", "previous_invoices", "usage", "previous_usage", "quotas", "alerts", "unassigned", "unpriced"), ()
    )
    month = replace(sample, **nothing, costs=(), days=())
    assert "Nothingchanged." in text_of(typesetter.pdf("report.typ", paper(build(month)), sample.as_of))
