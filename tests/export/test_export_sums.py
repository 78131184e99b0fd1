"""Every export of money adds up to the documents, to the cent: tax, no tax, credit, adjustment, currencies."""

import csv
import io
import json
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.config import ExportsConfig
from metering.core.invoice import converted
from metering.core.money import amount_text, parse_amount
from metering.export import beancount, focus, focus_columns, hledger, quickbooks, stripe, xero
from metering.export.shares import payable, shares
from metering.invoicing.lines import tax
from tests.support.documents import lines_of, printed
from tests.support.issued import CUSTOMERS, POISON, TOTALS, book, document, documents, line, poisoned

STRIPE_DIGITS = {"usd": 2, "eur": 2, "jpy": 0, "kwd": 3}


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def totals(rows, number, currency, *amounts):
    """Document -> `121.00 USD`, the sum of these columns with the digits that they were written with."""
    sums, currencies = defaultdict(Decimal), {}
    for row in rows:
        sums[row[number]] += sum(Decimal(row[amount]) for amount in amounts)
        currencies[row[number]] = row[currency]
    return {name: f"{total} {currencies[name]}" for name, total in sums.items()}


def posted(text, account):
    """Sums of an account per document in a journal, as `121.00 USD`."""
    sums = {}
    for block in text.split("\n\n"):
        for number in TOTALS:
            for said in block.splitlines() if number in block else ():
                if said.split("  ;")[0].strip().startswith(account):
                    parts = said.split("  ;")[0].split()
                    amount, currency = sorted(parts[1:], key=str.isalpha)
                    sums[number] = f"{amount} {currency}"
    return sums


def test_xero_adds_up():
    rows = rows_of(xero.file(book()))
    assert totals(rows, "*InvoiceNumber", "Currency", "*UnitAmount", "TaxAmount") == TOTALS
    assert {row["*Quantity"] for row in rows} == {"1"}


def test_quickbooks_adds_up():
    rows = rows_of(quickbooks.file(book()))
    assert totals(rows, "InvoiceNo", "Currency", "ItemAmount", "ItemTaxAmount") == TOTALS
    assert all(row["ItemRate"] == row["ItemAmount"] for row in rows)


@pytest.mark.parametrize("journal", [beancount, hledger], ids=lambda module: module.__name__)
def test_the_journals_add_up(journal):
    assert posted(journal.file(book()), "Assets:Receivable") == TOTALS


def test_focus_adds_up_with_its_tax_rows():
    rows = rows_of(focus_columns.csv_text(focus.charges(book(), lambda _: {})))
    assert totals(rows, "InvoiceId", "BillingCurrency", "BilledCost") == TOTALS
    taxes = {row["InvoiceId"]: row["BilledCost"] for row in rows if row["ChargeCategory"] == "Tax"}
    assert taxes == {
        "INV-2026-000001": "21.00",
        "CN-2026-000001": "-21.00",
        "INV-2026-000002": "9.72",
        "INV-2026-000003": "700",
        "INV-2026-000005": "0.00",
    }


def test_focus_as_parquet_holds_the_same_numbers():
    made = focus.charges(book(), lambda _: {})
    frame = pl.read_parquet(io.BytesIO(focus_columns.parquet_bytes(made)))
    assert frame.columns == list(focus_columns.COLUMNS)
    assert frame["BilledCost"].to_list() == [Decimal(row["BilledCost"]) for row in made]
    assert frame["BillingPeriodStart"].unique().dt.to_string("iso:strict").to_list() == [
        "2026-09-01T00:00:00.000000+00:00"
    ]


def test_stripes_items_add_up():
    sums = defaultdict(int)
    currencies = {}
    for item in stripe.items(book()):
        sums[item["params"]["metadata"]["invoice"]] += item["params"]["amount"]
        currencies[item["params"]["metadata"]["invoice"]] = item["params"]["currency"]
    whole = {
        number: f"{Decimal(total).scaleb(-STRIPE_DIGITS[currencies[number]])} {currencies[number].upper()}"
        for number, total in sums.items()
    }
    assert whole == TOTALS


def test_lines_of_several_projects_are_split_in_focus_only():
    (split,) = [found for found in documents() if found["number"] == "INV-2026-000002"]
    assert [(share.project_id, share.net_text) for share in shares(converted(split), by_project=True)][3:5] == [
        ("project-1", "4.21"),
        ("project-2", "8.19"),
    ]
    assert len(shares(converted(split))) == len(split["lines"])


def test_prices_that_include_the_tax_are_taken_apart_to_the_cent():
    lines = [
        line("usage", amount, meter=f"m{number}") for number, amount in enumerate(["0.01", "0.01", "0.01", "-0.01"])
    ]
    found = document("N", "acme", "USD", lines, ("0.02", [("VAT", "21", "0.02", "0.00")], "0.02"), tax_inclusive=True)
    assert [(share.net, share.tax) for share in shares(converted(found))] == [(1, 0), (1, 0), (1, 0), (-1, 0)]
    lines = [line("usage", "10.00", meter=f"m{number}") for number in range(3)]
    found = document(
        "N", "acme", "USD", lines, ("24.79", [("VAT", "21", "24.79", "5.21")], "30.00"), tax_inclusive=True
    )
    assert [(share.net, share.tax) for share in shares(converted(found))] == [(827, 173), (826, 174), (826, 174)]


@settings(deadline=None)
@given(
    amounts=st.lists(
        st.tuples(st.integers(-10_000, 10_000), st.sampled_from([None, "0", "5.5", "10", "21", "100"])),
        min_size=1,
        max_size=12,
    ),
    is_inclusive=st.booleans(),
    currency=st.sampled_from(["USD", "JPY", "KWD"]),
    mode=st.sampled_from(["half_up", "half_even"]),
)
def test_whatever_the_lines_their_shares_sum_to_the_document_and_each_tax_is_its_own(
    amounts, is_inclusive, currency, mode
):
    found = mixed([(amount_text(one, currency), rate) for one, rate in amounts], currency, mode, is_inclusive)
    parts = shares(converted(found))
    assert sum(part.net for part in parts) == parse_amount(found["subtotal"], currency)
    assert sum(part.net + part.tax for part in parts) == payable(converted(found))
    for entry in found["taxes"]:
        mine = [part for part in parts if part.line.tax_rate_percent == entry["rate_percent"]]
        assert sum(part.net for part in mine) == parse_amount(entry["base"], currency)
        assert sum(part.tax for part in mine) == parse_amount(entry["amount"], currency)
    for part, (gross, rate) in zip(parts, amounts, strict=True):
        percent = Fraction(rate or 0)
        exact = gross * percent / ((100 + percent) if is_inclusive and found["taxes"] else 100)
        assert abs(part.tax - exact) < 1
        assert part.net + (part.tax if is_inclusive and found["taxes"] else 0) == gross


def mixed(
    amounts: list[tuple[str, str | None]], currency: str = "EUR", mode: str = "half_up", is_inclusive: bool = False
) -> dict:
    """A document with a line at each (amount, rate)."""
    lines = [
        {**line("usage", amount, tier=str(tier)), "tax_rate_percent": rate, "tax_name": rate and "VAT"}
        for tier, (amount, rate) in enumerate(amounts, start=1)
    ]
    totals = printed(tax.totals(lines_of(lines), currency, mode, is_inclusive=is_inclusive))
    return {**document("N", "acme", currency, lines, ("0", [], "0")), **totals}


@pytest.mark.parametrize(
    ("amounts", "taxes"),
    [
        (["500.00", "-499.97"], ["105.00", "-104.99"]),  # 21 % of 0.03 is 0.0063: 0.01
        (["100.00", "-90.00"], ["21.00", "-18.90"]),
        (["333.33", "333.33", "333.34", "-990.00"], ["70.00", "70.00", "70.00", "-207.90"]),
        (["0.02", "0.02", "0.02", "-0.05"], ["0.01", "0.00", "0.00", "-0.01"]),  # 0.01 x 21 % = 0.0021: nothing
    ],
)
def test_lines_that_nearly_cancel_have_their_own_taxes(amounts, taxes):
    """Split in proportion to the sum, 500.00 and -499.97 would have 166.67 and -166.66."""
    found = mixed([(amount, "21") for amount in amounts])
    assert [share.tax_text for share in shares(converted(found))] == taxes
    month = book([found])
    assert [row["TaxAmount"] for row in rows_of(xero.file(month))] == taxes
    assert [row["ItemTaxAmount"] for row in rows_of(quickbooks.file(month))] == taxes


def test_lines_at_two_rates_each_have_the_tax_type_of_their_own():
    found = mixed([("50.00", "19"), ("100.00", "16"), ("7.00", None)])
    month = replace(book([found]), names=ExportsConfig(xero_tax_type="{rate}% sales", quickbooks_tax_code="{rate}%"))
    assert [(row["*UnitAmount"], row["*TaxType"], row["TaxAmount"]) for row in rows_of(xero.file(month))] == [
        ("50.00", "19% sales", "9.50"),
        ("100.00", "16% sales", "16.00"),
        ("7.00", "Tax Exempt", "0.00"),
    ]
    assert [(row["ItemTaxCode"], row["ItemTaxAmount"]) for row in rows_of(quickbooks.file(month))] == [
        ("19%", "9.50"),
        ("16%", "16.00"),
        ("NON", "0.00"),
    ]


def test_ledgers_have_a_posting_for_each_rate():
    found = book([mixed([("50.00", "19"), ("100.00", "16")])])
    assert [row for row in beancount.file(found).splitlines() if "Tax" in row or "tax:" in row] == [
        "  Liabilities:Tax  -9.50 EUR",
        '    tax: "VAT 19 %"',
        "  Liabilities:Tax  -16.00 EUR",
        '    tax: "VAT 16 %"',
    ]
    assert [row for row in hledger.file(found).splitlines() if "Tax" in row] == [
        "    Liabilities:Tax  EUR -9.50  ; VAT 19 %",
        "    Liabilities:Tax  EUR -16.00  ; VAT 16 %",
    ]


def test_stripe_and_focus_have_a_row_for_each_rate():
    found = book([mixed([("50.00", "19"), ("100.00", "16")])])
    assert [(one["params"]["description"], one["params"]["amount"]) for one in stripe.items(found)][2:] == [
        ("N: VAT 19 % of 50.00", 950),
        ("N: VAT 16 % of 100.00", 1600),
    ]
    rows = [row for row in focus.charges(found, lambda _: {}) if row["ChargeCategory"] == "Tax"]
    told = [(row["ChargeDescription"], row["BilledCost"]) for row in rows]
    assert told == [("VAT 19 %", "9.50"), ("VAT 16 %", "16.00")]


def test_lines_that_cancel_out_have_their_own_taxes_which_cancel_out():
    lines = [line("usage", "5.00"), line("discount", "-5.00", tier="2")]
    found = document("N", "acme", "USD", lines, ("0.00", [("VAT", "21", "0.00", "0.00")], "0.00"))
    assert [(share.net, share.tax) for share in shares(converted(found))] == [(500, 105), (-500, -105)]


@pytest.mark.parametrize("text", POISON, ids=lambda text: ascii(text)[:30])
def test_hostile_names_change_no_sum_and_no_number_of_rows(text):
    hostile = poisoned(text)
    assert totals(rows_of(xero.file(hostile)), "*InvoiceNumber", "Currency", "*UnitAmount", "TaxAmount") == TOTALS
    assert totals(rows_of(quickbooks.file(hostile)), "InvoiceNo", "Currency", "ItemAmount", "ItemTaxAmount") == TOTALS
    rows = rows_of(focus_columns.csv_text(focus.charges(hostile, lambda _: {text: text})))
    assert totals(rows, "InvoiceId", "BillingCurrency", "BilledCost") == TOTALS
    for journal in (beancount, hledger):
        assert posted(journal.file(hostile), "Assets:Receivable") == TOTALS
    assert focus_columns.parquet_bytes(focus.charges(hostile, lambda _: {text: text}))
    assert len(stripe.lines(stripe.items(hostile)).splitlines()) == len(stripe.items(book()))


@pytest.mark.parametrize("text", POISON, ids=lambda text: ascii(text)[:30])
def test_no_cell_runs_as_a_formula_and_none_holds_a_control_character(text):
    hostile = poisoned(text)
    imported = [*rows_of(xero.file(hostile)), *rows_of(quickbooks.file(hostile))]
    opened = rows_of(focus_columns.csv_text(focus.charges(hostile, lambda _: {text: text})))
    for row in (*imported, *opened):
        for cell in row.values():
            is_number = cell.lstrip("-").replace(".", "", 1).isdigit()
            begins = not is_number and cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
            assert not begins or (row in imported and not set(cell) & set("(|!"))
            assert cell.replace("�", "").isprintable() and "\u202e" not in cell


def names_in(file: str, column: str) -> set[str]:
    return {row[column] for row in rows_of(file)}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("-Minus Ltd", "-Minus Ltd"),
        ("@home  GmbH", "@home  GmbH"),
        ("=Sum & Co", "=Sum & Co"),
        ("+49 Telefon", "+49 Telefon"),
        ("=SUM(A1)", "'=SUM(A1)"),
        ("+1 (800) 555", "'+1 (800) 555"),
        ("-2+cmd|' /C calc'", "'-2+cmd|' /C calc'"),
        ("@Sheet!A1", "'@Sheet!A1"),
        ("Smith (Bros) | Co!", "Smith (Bros) | Co!"),
        ("two\nlines", "two lines"),
    ],
)
def test_importers_find_the_name_that_the_customer_has(name, written):
    named = book(customers=(CUSTOMERS[0].model_copy(update={"name": name}), *CUSTOMERS[1:]))
    assert written in names_in(xero.file(named), "*ContactName")
    assert written in names_in(quickbooks.file(named), "Customer")


@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (1, [1]), (100, [100]), (101, [100, 1]), (200, [100, 100])])
def test_quickbooks_comes_in_files_of_at_most_100_whole_documents(count, sizes):
    lines = [line("usage", "1.00"), line("usage", "2.00", tier="2")]
    made = [document(f"INV-{n:03}", "acme", "USD", lines, ("3.00", [], "3.00")) for n in range(1, count + 1)]
    files = quickbooks.files(book(made))
    assert [len({row["InvoiceNo"] for row in rows_of(file)}) for file in files] == sizes
    assert [len(rows_of(file)) for file in files] == [2 * size for size in sizes]
    assert [row for file in files for row in rows_of(file)] == rows_of(quickbooks.file(book(made)))


def test_credit_notes_are_below_zero_and_name_what_they_cancel():
    note = [row for row in rows_of(xero.file(book())) if row["*InvoiceNumber"] == "CN-2026-000001"]
    assert [(row["*UnitAmount"], row["Reference"], row["*DueDate"]) for row in note] == [
        ("-100.00", "INV-2026-000001", "2026-10-03")
    ]
    found = [row for row in focus.charges(book(), lambda _: {}) if row["InvoiceId"] == "CN-2026-000001"]
    assert {row["ChargeClass"] for row in found} == {"Correction"}


def test_tax_codes_follow_the_rate_and_may_name_it():
    named = book()
    names = named.names.model_copy(update={"xero_tax_type": "{rate}% (VAT on Income)"})
    found = rows_of(xero.file(replace(named, names=names)))
    assert {row["*InvoiceNumber"]: row["*TaxType"] for row in found} == {
        "INV-2026-000001": "21% (VAT on Income)",
        "CN-2026-000001": "21% (VAT on Income)",
        "INV-2026-000002": "21% (VAT on Income)",
        "INV-2026-000003": "10% (VAT on Income)",
        "INV-2026-000004": "Tax Exempt",
        "INV-2026-000005": "Tax Exempt",
    }


def test_a_focus_row_says_quantity_and_price_where_their_product_is_the_amount():
    rows = [
        row for row in focus.charges(book(), lambda _: {"project-1": "calm"}) if row["InvoiceId"] == "INV-2026-000002"
    ]
    names = ("PricingQuantity", "PricingUnit", "ListUnitPrice", "ListCost", "BilledCost", "ConsumedQuantity")
    assert [tuple(row.get(name) for name in names) for row in rows] == [
        ("1", "Months", "20.00", "20", "20.00", None),
        ("34.293333333333", "Hours", "0.16", "5.48693333333328", "5.49", "34.293333333333"),
        # A flat fee is in it: 90 at 0.12 are 10.80.
        ("1", "Charges", "12.00", "12.00", "12.00", "90"),
        ("10.5", "GB-Months", "0.40", "4.2", "4.21", "10.5"),
        ("20.5", "GB-Months", "0.40", "8.2", "8.19", "20.5"),
        (None, None, None, "-0.62", "-0.62", None),
        (None, None, None, "-3.00", "-3.00", None),
        (None, None, None, "9.72", "9.72", None),
    ]
    assert (rows[0]["SubAccountName"], rows[4]["SubAccountName"]) == ("calm", "project-2")
    assert json.loads(rows[4]["Tags"]) == {"project": "project-2"}


def test_every_focus_column_is_there_whether_it_applies_or_not():
    header = focus_columns.csv_text([]).strip().split(",")
    assert header == list(focus_columns.COLUMNS)
    assert {"CommitmentDiscountStatus", "HostProviderName", "InvoiceDetailId", "AllocatedTags"} <= set(header)
    known = {name for row in focus.charges(book(), lambda _: {}) for name in row}
    assert known <= set(header)


def test_equal_documents_give_equal_bytes():
    for write in (xero.file, quickbooks.file, beancount.file, hledger.file):
        assert write(book()) == write(book())
    assert focus_columns.parquet_bytes(focus.charges(book(), lambda _: {})) == focus_columns.parquet_bytes(
        focus.charges(book(), lambda _: {})
    )


def with_flat_fee():
    """Acme's invoice with a tier's flat fee of 10.00 beside its usage."""
    lines = [
        line("usage", "145.38", "969.188888888889", "0.15", meter="compute", unit="CU-hour"),
        line(
            "flat_fee",
            "10.00",
            "1",
            "10.00",
            meter="compute",
            unit=None,
            tier="1/flat",
            description="Compute: flat fee",
        ),
    ]
    totals_of = ("155.38", [("VAT", "21", "155.38", "32.63")], "188.01")
    return document("INV-2026-000009", "acme", "USD", lines, totals_of)


def test_a_flat_fee_is_a_fixed_line_of_quantity_one_in_every_export():
    found = book([with_flat_fee()])

    fee = next(row for row in focus.charges(found, lambda _: {}) if row["x_LineKind"] == "flat_fee")
    assert (fee["ChargeCategory"], fee["ChargeFrequency"], fee["SkuMeter"]) == ("Purchase", "Recurring", "compute")
    assert (fee["PricingQuantity"], fee["PricingUnit"], fee["ListUnitPrice"], fee["ListCost"]) == (
        *("1", "Charges", "10.00", "10"),
    )
    assert (fee["ConsumedQuantity"], fee["SkuPriceId"]) == (None, "pro/compute/1/flat")
    assert totals(rows_of(xero.file(found)), "*InvoiceNumber", "Currency", "*UnitAmount", "TaxAmount") == {
        "INV-2026-000009": "188.01 USD"
    }
    assert totals(rows_of(quickbooks.file(found)), "InvoiceNo", "Currency", "ItemAmount", "ItemTaxAmount") == {
        "INV-2026-000009": "188.01 USD"
    }
