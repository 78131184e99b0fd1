"""CSV files of spreadsheets: accepted where they are unambiguous, else refused with fitting advice."""

from datetime import UTC, datetime

import pytest

from metering.config import read as read_config
from metering.core.errors import ConfigError
from metering.provisioning import subscription_file
from metering.provisioning.subscription_file import Choice

UTF8 = 'save it as "CSV UTF-8 (Comma delimited)" in Excel, as "Text CSV" with the character set "Unicode (UTF-8)" and'
COMMAS = (
    'save it with commas: in LibreOffice tick "Edit filter settings" and choose the field delimiter ","; Excel takes'
)
TEXT = "customer,name\nmüller,Müller\n"
PLAIN = "customer,name,tax_rate_percent\na,Ant,21\nb,Bee,5.5\n"


def read(directory, customers: bytes = b"customer\n", subscriptions: bytes = b"project_id,customer,plan\n"):
    (directory / "config.toml").write_text(
        '[customers]\nfile = "customers.csv"\nsubscriptions = "subscriptions.csv"\n'
        '[[plans]]\nid = "pro"\ncurrency = "USD"\n'
    )
    (directory / "customers.csv").write_bytes(customers)
    (directory / "subscriptions.csv").write_bytes(subscriptions)
    return read_config(directory / "config.toml", environ={})


def faults(directory, **files: bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(directory, **files)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.removesuffix("\n").encode(),
        b"\n , ,\n" + PLAIN.encode() + b"\n,,\n , ,\n",
        b"customer,name,tax_rate_percent,,\na,Ant,21,,\nb,Bee,5.5,,\n",
        b"customer,name,tax_rate_percent\na,Ant,21,,,\nb,Bee,5.5,\n",
        b'customer , name,"tax_rate_percent "\n="a",Ant,="21"\n"=""b""",Bee,5.5\n',
        "customer,\u00a0name,tax_rate_percent\n\u00a0a\u00a0,Ant,21\u00a0\nb\u200b,Bee,5.5\n".encode(),
        "customer,name,tax_rate_percent\n\ufeffa, Ant ,21\n\u2060b,Bee,5.5\n".encode(),
    ],
    ids=[
        "plain",
        "mark",
        "crlf",
        "cr",
        "no end",
        "blank lines",
        "blank columns",
        "blank cells",
        "text",
        "nbsp",
        "zero",
    ],
)
def test_what_has_one_meaning_only_is_read(tmp_path, text):
    rows = read(tmp_path, customers=text).customer_rows
    assert [(row.id, row.name, str(row.tax_rate_percent)) for row in rows] == [("a", "Ant", "21"), ("b", "Bee", "5.5")]


@pytest.mark.parametrize(
    ("customers", "fault"),
    [
        (TEXT.encode("utf-16"), f"customers.csv: is UTF-16, what spreadsheets call Unicode Text; {UTF8}"),
        (
            b"\xfe\xff" + TEXT.encode("utf-16-be"),
            f"customers.csv: is UTF-16, what spreadsheets call Unicode Text; {UTF8}",
        ),
        (TEXT.encode("utf-16-le"), f"customers.csv: holds bytes of zero, as UTF-16 and workbooks do; {UTF8}"),
        (b"PK\x03\x04\x14\x00", f"customers.csv: is a workbook (XLSX or ODS), not CSV; {UTF8}"),
        (b"\xd0\xcf\x11\xe0\xa1", f"customers.csv: is a workbook (XLS), not CSV; {UTF8}"),
        (
            TEXT.encode("windows-1252"),
            f"customers.csv line 2: is not UTF-8 (in Windows-1252 the byte 0xfc would be 'ü'); {UTF8}",
        ),
        (b"customer;name\na;b\n", f"customers.csv line 1: is separated by semicolons; {COMMAS}"),
        (b"customer\tname\na\tb\n", f"customers.csv line 1: is separated by tabs; {COMMAS}"),
        (
            b"sep=;\ncustomer;name\na;b\n",
            f"customers.csv line 1: is 'sep=;', a line that only Excel understands; take it out, and {COMMAS}",
        ),
        (
            b"sep=,\ncustomer,name\na,b\n",
            "customers.csv line 1: is 'sep=,', a line that only Excel understands; take it out",
        ),
        (b"customer,,name\na,,b\n", "customers.csv line 1: column 2 has no name; name it, or take the column out"),
        (b"customer,name, name \na,b,c\n", "customers.csv line 1: the column name stands there 2 times; once is right"),
        (
            b"customer,name\na,b\ncustomer,name\nc,d\n",
            "customers.csv row 2 (line 3): repeats the names of the columns; keep the first line alone",
        ),
        (
            b"customer,tax_rate_percent\na,21,0\n",
            "customers.csv row 1 (line 2): has 3 fields; the header has 2; write numbers with a point (21.0), or quote",
        ),
        (
            b'customer,tax_rate_percent\na,"21,0"\n',
            "customers.csv row 1 (line 2), tax_rate_percent: '21,0' is not a plain decimal number;"
            ' write a point for the comma: "21.0"',
        ),
        (
            b"customer,tax_rate_percent\na,21%\n",
            "customers.csv row 1 (line 2), tax_rate_percent: '21%' is not a plain decimal number; write \"21\"",
        ),
        (
            'customer,tax_rate_percent\na,"5,5\u00a0%"\n'.encode(),
            "customers.csv row 1 (line 2), tax_rate_percent: '5,5\\xa0%' is not a plain decimal number;"
            ' write a point for the comma: "5.5"',
        ),
        (
            b"customer,name\n1.23457E+11,Ant\n",
            "customers.csv row 1 (line 2), customer: '1.23457E+11' is a number that a spreadsheet rounded;"
            " write the digits, and format the column as text before saving",
        ),
    ],
)
def test_what_could_mean_two_things_is_refused_with_the_advice_that_fits(tmp_path, customers, fault):
    (told,) = faults(tmp_path, customers=customers)
    assert told.startswith(fault)


@pytest.mark.parametrize("written", ["2026-03-01", "2026-03-01 00:00", "2026-03-01 00:00:00"])
def test_a_date_that_a_spreadsheet_made_a_midnight_of_is_that_date(tmp_path, written):
    text = f"project_id,customer,plan,valid_from\np1,a,pro,{written}\n".encode()
    assert read(tmp_path, subscriptions=text).subscription_rows[0].valid_from == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "written", ["01/02/2026", "1/2/26", "01.02.2026", "2026/02/01", "01-02-2026", "01/02/2026 00:00"]
)
def test_a_date_whose_day_and_month_could_be_swapped_is_refused(tmp_path, written):
    text = f"project_id,customer,plan,valid_from\np1,a,pro,{written}\n".encode()
    assert faults(tmp_path, subscriptions=text) == [
        f"subscriptions.csv row 1 (line 2), valid_from: {written!r} is not a date; write year, month and day"
        " (2026-01-31): in a spreadsheet, format the column as YYYY-MM-DD before saving"
    ]


def test_a_time_of_day_without_a_zone_is_still_refused(tmp_path):
    text = b"project_id,customer,plan,valid_from\np1,a,pro,2026-03-01 09:00\n"
    (told,) = faults(tmp_path, subscriptions=text)
    assert told.startswith(
        "subscriptions.csv row 1 (line 2), valid_from: '2026-03-01 09:00' is not a date; write a date"
    )


def test_a_plan_is_changed_in_a_file_that_a_spreadsheet_saved():
    text = '\ufeff\rproject_id,customer,plan,valid_from,valid_to,,\r="p1",\u00a0a\u00a0,pro,2026-01-01,,,\r'
    now, after = datetime(2026, 3, 1, tzinfo=UTC), Choice(project_id="p1", customer="a", plan="team")
    whole, new = subscription_file.switched(text, None, after, now)
    assert whole == (
        "\ufeff\rproject_id,customer,plan,valid_from,valid_to,,\r"
        "p1,a,pro,2026-01-01,2026-03-01T00:00:00Z\rp1,a,team,2026-03-01T00:00:00Z,\r"
    )
    assert new == ["p1,a,team,2026-03-01T00:00:00Z,"]
