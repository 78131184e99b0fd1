"""The workbook, read back by another library: typed cells, totals of one currency, nothing that could be a formula."""

import io
import zipfile
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

import openpyxl
import pytest

from metering.rendering.workbook import single_sheet, spreadsheet_number
from metering.reporting.build import build
from metering.reporting.columns import COLUMNS
from metering.reporting.workbook import workbook
from tests.reporting.test_report import poisoned
from tests.support.sample_month import facts


def opened(content):
    return openpyxl.load_workbook(io.BytesIO(content))


def made(month):
    return workbook(build(month), month.invoices)


@pytest.fixture(scope="module")
def september():
    return opened(made(facts()))


def columns_of(sheet):
    return [cell.value for cell in sheet[1]]


def column(sheet, heading):
    at = columns_of(sheet).index(heading)
    return [row[at] for row in sheet.iter_rows(min_row=2, values_only=True)]


def test_there_is_a_summary_and_a_sheet_for_every_table(september):
    assert september.sheetnames[0] == "Summary"
    assert len(september.sheetnames) == len(COLUMNS) + 1
    assert {"Customers", "Plans", "Lines", "Usage", "Changes", "Organizations"} <= set(september.sheetnames)


def test_a_draft_says_so_on_every_page_of_a_print_and_a_final_report_does_not(september):
    draft = opened(made(replace(facts(), is_closed=False, accepted=(("hours that nobody read", "=late"),))))
    assert {sheet.oddHeader.center.text for sheet in draft.worksheets} == {"Draft"}
    assert {sheet.oddHeader.center.text for sheet in september.worksheets} == {None}
    told = [tuple(cell.value for cell in row[:3]) for row in draft["Summary"].iter_rows()]
    assert ("State", "draft", "") in told
    assert ("Closed all the same", "hours that nobody read", "=late") in told


def test_every_sheet_keeps_its_header_in_sight(september):
    assert {sheet.freeze_panes for sheet in september.worksheets[1:]} == {"B2"}
    assert columns_of(september["Totals"])[:3] == ["Currency", "Invoices", "Customers"]
    assert all(sheet.column_dimensions["A"].width > 5 for sheet in september.worksheets)


def test_money_quantities_counts_and_times_are_typed_with_their_formats(september):
    lines = september["Lines"]
    headings = columns_of(lines)
    row = next(row for row in lines.iter_rows(min_row=2) if row[headings.index("Meter")].value == "compute")
    cells = dict(zip(headings, row, strict=True))
    assert cells["Amount"].data_type == cells["Quantity"].data_type == cells["Unit price"].data_type == "n"
    assert cells["Amount"].number_format == "#,##0.00"
    assert cells["From (UTC)"].value == datetime(2026, 9, 1)  # noqa: DTZ001 - a spreadsheet's times have no zone
    assert cells["Number"].data_type == "s"
    assert isinstance(september["Days"]["A2"].value, datetime)
    assert september["Customers"]["E2"].number_format == "#,##0"


def test_sums_of_the_cells_are_the_reports_to_the_cent(september):
    report = build(facts())
    wanted = Decimal(report["totals"][0]["subtotal"])
    for sheet, heading in (("Customers", "Subtotal"), ("Plans", "Amount"), ("Lines", "Amount"), ("Billed", "Amount")):
        table = september[sheet]
        names = column(table, columns_of(table)[0])
        numbers = column(table, heading)[: names.index(None)]
        assert sum(Decimal(str(number)) for number in numbers) == wanted, sheet
    assert Decimal(str(september["Totals"]["D2"].value)) == wanted


def test_totals_are_formulas_over_one_currency_with_their_values():
    yen = {**facts().invoices[0], "number": "INV-JP-1", "currency": "JPY", "customer": {"id": "jun", "name": "Jun"}}
    yen["lines"] = [{**line, "amount": "1500", "unit_price": "1500"} for line in yen["lines"][:1]]
    yen |= {"subtotal": "1500", "total": "1500", "taxes": []}
    content = made(replace(facts(), invoices=[*facts().invoices[1:], yen]))
    formulas, values = opened(content)["Customers"], openpyxl.load_workbook(io.BytesIO(content), data_only=True)
    totals = {
        row[0]: row for row in formulas.iter_rows(min_row=2, values_only=True) if str(row[0]).startswith("Total ")
    }
    at = columns_of(formulas).index("Subtotal")
    assert sorted(totals) == ["Total JPY", "Total USD"]
    assert totals["Total JPY"][at] == '=SUMIF(C2:C60,"JPY",H2:H60)'
    shown = {row[0]: row[at] for row in values["Customers"].iter_rows(min_row=2, values_only=True)}
    assert shown["Total JPY"] == 1500
    usd = sum(Decimal(row["subtotal"]) for row in facts().invoices[1:])
    assert Decimal(str(shown["Total USD"])) == usd
    jun = next(row for row in formulas.iter_rows(min_row=2) if row[0].value == "jun")
    assert jun[at].number_format == "#,##0"


def test_neons_cost_is_added_over_all_rows_where_a_table_has_no_currency():
    inventory = [
        {
            **{"project_id": row["project_id"], "project_name": None, "customer": row["customer"], "plan": row["plan"]},
            **{"previous_customer": None, "previous_plan": None, "created_at": "2026-01-01T00:00:00Z"},
            **{"deleted_at": None, "last_active_at": "2026-01-02T00:00:00Z", "is_listed": True},
        }
        for row in facts().usage[::5]
    ]
    report = build(replace(facts(), inventory=inventory))
    sheet = opened(workbook(report, ()))["Idle"]
    last = [cell.value for cell in sheet[sheet.max_row]]
    assert last[0] == "Total USD"
    assert last[columns_of(sheet).index("Neon cost")] == f"=SUM(G2:G{len(report['idle']) + 1})"
    assert len(report["idle"]) == 91


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5.49", "5.49"),
        ("0", "0"),
        ("-0.005", "-0.005"),
        ("999999999999999", "999999999999999"),
        ("1234567890123456", None),
        ("18446744073709551617", None),
        ("9999999999999.99", "9999999999999.99"),
        ("99999999999999.99", None),
        ("1234.123456789012", "1234.12345678901"),
        ("0.000000000001", "0.000000000001"),
        ("34.293333333335", "34.293333333335"),
        ("100000000000000000000", "100000000000000000000"),
    ],
)
def test_a_number_of_more_than_fifteen_digits_is_a_rounded_fraction_or_no_number(text, number):
    assert spreadsheet_number(text) == (None if number is None else Decimal(number))


def test_a_value_that_a_spreadsheet_would_change_is_text():
    sheet = opened(made(facts()))["Unpriced"]
    assert "18446744073709551617" in column(sheet, "Value")
    assert 5120 in column(sheet, "Value")


def test_equal_facts_give_equal_bytes_whenever_they_are_written():
    assert made(facts()) == made(facts())
    assert opened(made(facts())).properties.created == datetime(2026, 10, 3, 12)  # noqa: DTZ001
    dated = {info.date_time for info in zipfile.ZipFile(io.BytesIO(made(facts()))).infolist()}
    assert dated == {(1980, 1, 1, 0, 0, 0)}


def test_no_name_from_outside_is_a_formula_or_a_link():
    content = made(poisoned(facts(has_gaps=True)))
    book = opened(content)
    seen = 0
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.hyperlink is None
                if cell.data_type == "f":
                    assert cell.value.startswith(("=SUMIF(", "=SUM(")), (sheet.title, cell.coordinate)
                elif isinstance(cell.value, str) and cell.value.startswith(("=", "+", "@")):
                    seen += 1
                    assert cell.data_type == "s" and cell.quotePrefix
    assert seen > 20
    assert not any("externalLink" in name for name in zipfile.ZipFile(io.BytesIO(content)).namelist())


def test_an_empty_month_is_a_workbook_of_headers():
    empty = dict.fromkeys(
        ("invoices", "previous_invoices", "usage", "previous_usage", "quotas", "alerts", "unassigned", "unpriced"), ()
    )
    book = opened(made(replace(facts(), **empty, costs=(), days=())))
    assert book["Customers"].max_row == 1
    assert book["Summary"]["B5"].value == "final"


def test_one_table_is_a_workbook_by_itself():
    rows = [{"project_id": "=1+1", "value": "12"}]
    content = single_sheet("projects", {"project_id": "text", "value": "number"}, rows, date(2026, 10, 3))
    book = opened(content)
    assert book.sheetnames == ["Projects"]
    assert [cell.value for cell in book["Projects"][2]] == ["=1+1", 12]
    assert book.properties.created == datetime(2026, 10, 3)  # noqa: DTZ001
