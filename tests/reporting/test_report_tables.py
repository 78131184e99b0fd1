import csv
import io
from decimal import Decimal

import polars as pl
import pytest

from metering.core.errors import ExactnessError
from metering.rendering.tables import csv_text, parquet_bytes
from metering.reporting.build import build
from metering.reporting.columns import COLUMNS
from metering.reporting.tables import tables
from tests.support.sample_month import facts


def test_csv_quotes_texts_and_leaves_numbers_bare():
    columns = {"name": "text", "amount": "number", "empty": "number"}
    rows = [{"name": 'say "hi", twice', "amount": "-5.00", "empty": None}]
    assert csv_text(columns, rows) == '"name","amount","empty"\r\n"say ""hi"", twice",-5.00,\r\n'


def test_what_is_no_number_in_a_number_column_is_text_and_guarded():
    assert csv_text({"value": "number"}, [{"value": "=1"}]) == '"value"\r\n"\'=1"\r\n'
    assert csv_text({"value": "number"}, [{"value": "-1+1"}]) == '"value"\r\n"\'-1+1"\r\n'


def test_control_characters_and_lone_surrogates_do_not_reach_a_file():
    text = csv_text({"name": "text"}, [{"name": "a\x00b\rc\ud800"}])
    assert text == '"name"\r\n"a�b�c�"\r\n'
    assert text.encode("utf-8")


def test_every_table_of_a_month_reads_back_with_its_columns_and_rows():
    month = facts()
    report = build(month)
    for name, rows in tables(report, month.invoices).items():
        read = list(csv.reader(io.StringIO(csv_text(COLUMNS[name], rows), newline="")))
        assert read[0] == list(COLUMNS[name])
        assert len(read) == len(rows) + 1
        assert {len(row) for row in read} == {len(COLUMNS[name])}


def test_lines_and_invoices_add_up_to_the_totals_of_the_report():
    month = facts()
    report = build(month)
    flat = tables(report, month.invoices)
    subtotal = Decimal(report["totals"][0]["subtotal"])
    assert sum(Decimal(row["amount"]) for row in flat["lines"]) == subtotal
    assert sum(Decimal(row["subtotal"]) for row in flat["invoices"]) == subtotal
    assert sum(Decimal(row["tax"]) for row in flat["invoices"]) == Decimal(report["totals"][0]["tax"])
    assert sum(Decimal(row["subtotal"]) for row in flat["customers"]) == subtotal
    assert sum(Decimal(row["amount"]) for row in flat["plans"]) == subtotal
    assert sum(Decimal(row["amount"]) for row in flat["billed"]) == subtotal
    assert sum(Decimal(row["amount"]) for row in flat["projects"] if row["amount"]) == subtotal
    assert sum(Decimal(row["neon_cost"]) for row in flat["projects"]) == Decimal(report["costs"]["total"])


def test_parquet_holds_decimals_of_one_type_and_every_digit():
    columns = {"name": "text", "value": "number"}
    rows = [{"name": "=1", "value": "18446744073709551617.000000000001"}, {"name": None, "value": None}]
    frame = pl.read_parquet(io.BytesIO(parquet_bytes(columns, rows)))
    assert frame.schema == {"name": pl.String, "value": pl.Decimal(38, 12)}
    assert frame.rows() == [("=1", Decimal("18446744073709551617.000000000001")), (None, None)]


def test_parquet_of_a_table_without_rows_keeps_its_types():
    frame = pl.read_parquet(io.BytesIO(parquet_bytes({"name": "text", "value": "number"}, [])))
    assert frame.schema == {"name": pl.String, "value": pl.Decimal(38, 12)}


@pytest.mark.parametrize(("value", "fits"), [("9" * 26, True), ("1" + "0" * 26, False), ("0.1234567890123", False)])
def test_parquet_refuses_a_number_that_its_type_would_change(value, fits):
    if fits:
        assert parquet_bytes({"value": "number"}, [{"value": value}])
    else:
        with pytest.raises(ExactnessError):
            parquet_bytes({"value": "number"}, [{"value": value}])
