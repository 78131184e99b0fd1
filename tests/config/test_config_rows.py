"""customers.csv and subscriptions.csv: their rows, and every fault with file, row and key."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from metering.config import read as read_config
from metering.core.errors import ConfigError

CONFIG = """
[customers]
file = "customers.csv"
subscriptions = "subscriptions.csv"
[[plans]]
id = "pro"
currency = "USD"
[[plans]]
id = "euro"
currency = "EUR"
"""
NO_CUSTOMERS = b"customer\n"
NO_SUBSCRIPTIONS = b"project_id,customer,plan\n"


def read(directory, customers=NO_CUSTOMERS, subscriptions=NO_SUBSCRIPTIONS):
    (directory / "config.toml").write_text(CONFIG)
    (directory / "customers.csv").write_bytes(customers)
    (directory / "subscriptions.csv").write_bytes(subscriptions)
    return read_config(directory / "config.toml", environ={})


def faults(directory, **files):
    with pytest.raises(ConfigError) as caught:
        read(directory, **files)
    return [str(fault) for fault in caught.value.faults]


def test_only_the_customer_column_is_needed_and_the_id_is_the_name(tmp_path):
    rows = read(tmp_path, customers=b"customer\nacme\n").customer_rows
    assert [(row.id, row.name, row.currency, row.tax_rate_percent) for row in rows] == [("acme", "acme", None, None)]


def test_customers_are_read_with_mark_quotes_and_windows_line_ends(tmp_path):
    text = (
        "\ufeffcustomer,name,currency,tax_rate_percent,tax_name,address,locale\r\n"
        'acme,"Acme, ""Ltd""",USD,21.00,VAT,"1 Street\r\n1000 Town",de-BE\r\n'
        "\r\n"
        "beta, Beta ,,,,,\r\n"
    )
    acme, beta = read(tmp_path, customers=text.encode()).customer_rows
    assert acme.name == 'Acme, "Ltd"'
    assert acme.address == "1 Street\r\n1000 Town"
    assert (str(acme.tax_rate_percent), acme.locale) == ("21.00", "de-BE")
    assert (beta.name, beta.currency, beta.tax_rate_percent) == ("Beta", None, None)
    assert (acme.line, beta.line) == (2, 5)


def test_subscriptions_take_dates_times_and_open_ends(tmp_path):
    text = (
        b"project_id,customer,plan,valid_from,valid_to\n"
        b"p1,acme,pro,,2026-03-01\n"
        b"p1,acme,pro,2026-03-01T00:00:00Z,2026-04-01T02:00:00+02:00\n"
        b"p1,beta,pro,2026-04-01,\n"
    )
    rows = read(tmp_path, subscriptions=text).subscription_rows
    assert [(row.valid_from, row.valid_to) for row in rows] == [
        (None, datetime(2026, 3, 1, tzinfo=UTC)),
        (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)),
        (datetime(2026, 4, 1, tzinfo=UTC), None),
    ]
    assert [row.line for row in rows] == [2, 3, 4]


@pytest.mark.parametrize(
    ("customers", "fault"),
    [
        (b"customer,nmae\na,b\n", "customers.csv line 1: 'nmae' is not a known column; did you mean name?"),
        (
            b"name\na\n",
            "customers.csv line 1: the column customer is missing; the first line names the columns: customer,",
        ),
        (b"", "customers.csv line 1: the column customer is missing"),
        (b"customer;name\na;b\n", "customers.csv line 1: is separated by semicolons"),
        (b"customer,name,name\na,b,c\n", "customers.csv line 1: the column name stands there 2 times"),
        (
            b"customer,name\na,b\nc\n",
            "customers.csv row 2 (line 3): has 1 fields; the header has 2; write a comma for every",
        ),
        (b"customer,name\na,b\n,c\n", "customers.csv row 2 (line 3), customer: is missing; this key must be given"),
        (b"customer\na\nb\na\n", "customers.csv row 3 (line 4), customer: 'a' stands in line 2 already; keep one row"),
        (b"customer,currency\na,usd\n", "customers.csv row 1 (line 2), currency: 'usd' is no currency"),
        (b"customer,currency\na,XYZ\n", "customers.csv row 1 (line 2), currency: 'XYZ' is no currency in use"),
        (b"customer,tax_rate_percent\na,21%\n", "customers.csv row 1 (line 2), tax_rate_percent: '21%' is not a plain"),
        (b"customer,tax_rate_percent\na,101\n", "customers.csv row 1 (line 2), tax_rate_percent: is 101; write a perc"),
        (b"customer,tax_rate_percent\na,-1\n", "customers.csv row 1 (line 2), tax_rate_percent: is -1, below zero"),
        (b'customer,name\na,"b\n', "customers.csv: is not CSV: unexpected end of data; close every quote"),
        (
            b"customer,name\na,b\nc,M\xfcller\n",
            "customers.csv line 3: is not UTF-8 (in Windows-1252 the byte 0xfc would be 'ü'); save it as",
        ),
        (b'customer,name\na,"two\nlines"\nb,c,d\n', "customers.csv row 2 (line 4): has 3 fields"),
    ],
)
def test_a_faulty_customer_is_named_with_file_row_and_column(tmp_path, customers, fault):
    found = faults(tmp_path, customers=customers)
    assert any(line.startswith(fault) for line in found), found


DATED = b"customer,name,tax_from,tax_to,tax_rate_percent,tax_name,tax_category,tax_note,tax_id\n"


def test_a_customer_may_have_a_tax_for_each_time(tmp_path):
    rows = (
        b"a,A,2026-10-01,2027-01-01,16,VAT,S,,DE1\n"
        b"b,B,,,,,,,\n"
        b"a,A,2027-01-01,,,,AE,The buyer owes it,DE2\n"
        b"a,A,,2026-10-01,19,VAT,S,,DE1\n"
    )
    a, b = read(tmp_path, customers=DATED + rows).customer_rows
    assert (a.id, b.id, b.dated, len(a.dated)) == ("a", "b", (), 3)

    def at(*moment: int) -> tuple[object, ...]:
        found = a.tax_at(datetime(*moment, tzinfo=UTC))
        return found.tax_rate_percent, found.tax_category, found.tax_note, found.tax_id

    assert at(1, 1, 1) == at(2026, 9, 30, 23, 59, 59, 999999) == (19, "S", None, "DE1")
    assert at(2026, 10, 1) == at(2026, 12, 31, 23, 59, 59) == (16, "S", None, "DE1")
    assert at(2027, 1, 1) == at(9999, 12, 31) == (None, "AE", "The buyer owes it", "DE2")
    assert (a.tax_category, a.tax_id) == ("AE", "DE2")
    september = a.at(datetime(2026, 9, 30, tzinfo=UTC))
    assert (september.tax_rate_percent, september.tax_id, september.name) == (19, "DE1", "A")
    assert b.at(datetime(2026, 9, 30, tzinfo=UTC)) is b


def test_a_tax_may_begin_or_end_once_and_there_is_none_before_and_after(tmp_path):
    (a,) = read(tmp_path, customers=DATED + b"a,A,2026-09-01,2026-10-01,19,VAT,,,\n").customer_rows
    assert a.tax_at(datetime(2026, 9, 1, tzinfo=UTC)) is not None
    assert a.tax_at(datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC)) is None
    assert a.tax_at(datetime(2026, 10, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (
            b"a,A,,2026-10-01,19,VAT,,,\na,A,2026-10-02,,16,VAT,,,\n",
            "customers.csv row 2 (line 3), tax_from: 'a' has no tax from 2026-10-01 to 2026-10-02: lines 2 and 3",
        ),
        (
            b"a,A,,2026-10-02,19,VAT,,,\na,A,2026-10-01,,16,VAT,,,\n",
            "customers.csv row 2 (line 3), tax_from: 'a' has two taxes at once: lines 2 and 3",
        ),
        (
            b"a,A,2026-10-01,,16,VAT,,,\na,A,,,19,VAT,,,\n",
            "customers.csv row 2 (line 3), customer: 'a' stands in line 2 already; keep one row, or give each its time",
        ),
        (
            b"a,A,,,19,VAT,,,\na,A,2026-10-01,,16,VAT,,,\n",
            "customers.csv row 2 (line 3), tax_from: 'a' has two taxes at once: lines 2 and 3",
        ),
        (
            b"a,A,,2026-10-01,19,VAT,,,\nb,B,,,,,,,\na,Aa,2026-10-01,,16,VAT,,,\n",
            "customers.csv row 3 (line 4), name: differs between lines 2 and 4 of 'a'; the dated rows of one customer",
        ),
        (
            b"a,A,2026-10-01,2026-10-01,19,VAT,,,\n",
            "customers.csv row 1 (line 2), tax_to: 2026-10-01 is no later than tax_from; write a date after tax_from",
        ),
        (
            b"a,A,2026-10-01T12:00:00Z,,19,VAT,,,\n",
            "customers.csv row 1 (line 2), tax_from: 2026-10-01T12:00:00Z is not the beginning of a day; write a date",
        ),
        (b"a,A,1.10.2026,,19,VAT,,,\n", "customers.csv row 1 (line 2), tax_from: '1.10.2026' is not a date"),
    ],
)
def test_dated_rows_that_contradict_each_other_are_named_with_both_lines(tmp_path, rows, fault):
    found = faults(tmp_path, customers=DATED + rows)
    assert any(line.startswith(fault) for line in found), found
    assert len(found) == 1


@pytest.mark.parametrize("column", ["currency", "tax_inclusive", "street", "locale", "stripe_customer"])
def test_dated_rows_of_one_customer_differ_only_in_their_tax(tmp_path, column):
    values = {"currency": ("USD", "EUR"), "tax_inclusive": ("true", "false"), "locale": ("de", "en")}
    first, second = values.get(column, ("x", "y"))
    rows = f"customer,tax_from,tax_to,tax_rate_percent,{column}\na,,2026-10-01,19,{first}\na,2026-10-01,,16,{second}\n"
    [fault] = faults(tmp_path, customers=rows.encode())
    assert fault.startswith(f"customers.csv row 2 (line 3), {column}: differs between lines 2 and 3 of 'a'")


HEADER = b"project_id,customer,plan,valid_from,valid_to\n"


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (b"p1,a,por,,\n", "subscriptions.csv row 1 (line 2), plan: there is no plan 'por'; did you mean pro?"),
        (b"p1,a,,,\n", "subscriptions.csv row 1 (line 2), plan: is empty"),
        (b",a,pro,,\n", "subscriptions.csv row 1 (line 2), project_id: is missing"),
        (b"p1,a,pro,1.1.2026,\n", "subscriptions.csv row 1 (line 2), valid_from: '1.1.2026' is not a date"),
        (b"p1,a,pro,2026-02-30,\n", "subscriptions.csv row 1 (line 2), valid_from: '2026-02-30' is not a date"),
        (
            b"p1,a,pro,2026-01-01T00:00:00,\n",
            "subscriptions.csv row 1 (line 2), valid_from: '2026-01-01T00:00:00' is not",
        ),
        (
            b"p1,a,pro,2026-01-01,2026-01-01\n",
            "subscriptions.csv row 1 (line 2), valid_to: 2026-01-01T00:00:00Z is no later than valid_from",
        ),
        (
            b"p1,a,pro,2026-01-01,\np2,b,pro,,\np1,b,pro,2026-05-01,2026-06-01\n",
            "subscriptions.csv row 3 (line 4), project_id: p1 has two subscriptions at once: lines 2 and 4",
        ),
        (
            b"p1,a,pro,2026-01-01,2026-12-01\np1,a,pro,2026-02-01,2026-03-01\np1,b,pro,2026-11-30T23:59:59Z,\n",
            "subscriptions.csv row 3 (line 4), project_id: p1 has two subscriptions at once: lines 2 and 4",
        ),
        (b"p1,a,pro,,\np1,a,pro,,\n", "subscriptions.csv row 2 (line 3), project_id: p1 has two subscriptions at once"),
    ],
)
def test_a_faulty_subscription_is_named_with_file_row_and_column(tmp_path, rows, fault):
    found = faults(tmp_path, subscriptions=HEADER + rows)
    assert any(line.startswith(fault) for line in found), found


def test_subscriptions_that_only_meet_do_not_overlap(tmp_path):
    rows = b"p1,a,pro,2026-02-01,\np1,a,pro,,2026-02-01\np2,a,pro,2026-02-01,2026-02-02\n"
    assert len(read(tmp_path, subscriptions=HEADER + rows).subscription_rows) == 3


def test_faults_of_many_rows_are_told_at_once(tmp_path):
    found = faults(
        tmp_path, customers=b"customer,currency\na,usd\nb,eur\n", subscriptions=HEADER + b"p,a,x,,\nq,a,pro,x,\n"
    )
    assert len(found) == 4


def test_a_customer_who_pays_in_another_currency_than_the_plan_is_a_fault(tmp_path):
    assert faults(tmp_path, customers=b"customer,currency\na,USD\n", subscriptions=HEADER + b"p,a,euro,,\n") == [
        "subscriptions.csv row 1 (line 2), plan: plan 'euro' is in EUR, but customer 'a' pays in USD"
        " (customers.csv row 1 (line 2)); an invoice has one currency"
    ]


def test_plans_of_two_currencies_under_one_customer_are_a_fault(tmp_path):
    assert faults(tmp_path, subscriptions=HEADER + b"p,a,euro,,\nq,a,pro,,\nr,b,pro,,\n") == [
        "subscriptions.csv row 2 (line 3), plan: plan 'pro' is in USD, but customer 'a' has plan 'euro' in EUR"
        " (line 2); an invoice has one currency"
    ]


def test_a_file_that_does_not_exist_is_named(tmp_path):
    (tmp_path / "config.toml").write_text('[customers]\nfile = "sub/none.csv"\n')
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "config.toml", environ={})
    assert str(caught.value).startswith(f"{tmp_path / 'sub/none.csv'}: cannot be read: No such file or directory")


def test_a_tax_rate_is_a_decimal_with_its_digits(tmp_path):
    row = read(tmp_path, customers=b"customer,tax_rate_percent\na,7.70\n").customer_rows[0]
    assert row.tax_rate_percent == Decimal("7.70")
    assert str(row.tax_rate_percent) == "7.70"


def test_prices_include_the_tax_where_a_customer_says_so(tmp_path):
    text = b"customer,tax_rate_percent,tax_inclusive\na,21,true\nb,21,false\nc,21,\nd,21,TRUE\n"
    assert [row.tax_inclusive for row in read(tmp_path, customers=text).customer_rows] == [True, False, False, True]
    text = b"customer,tax_rate_percent,tax_inclusive\na,21,yes\nb,,true\n"
    assert faults(tmp_path, customers=text) == [
        "customers.csv row 1 (line 2), tax_inclusive: is 'yes', neither true nor false; write true or false",
        "customers.csv row 2 (line 3), tax_inclusive: is true, but tax_rate_percent is missing; "
        "write the rate that the prices include (0 where there is none)",
    ]
