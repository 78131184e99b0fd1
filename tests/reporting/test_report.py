import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from metering.core.errors import UsageError
from metering.core.invoice import converted
from metering.invoicing.printed.documents import page_writer
from metering.invoicing.printed.sheet_usage import Background, own_usage
from metering.reporting import cells, columns
from metering.reporting.build import build
from metering.reporting.facts import Facts
from metering.reporting.invoiced import by_project
from metering.reporting.write import file_stem, write
from tests.support.sample_month import SEPTEMBER, facts

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
POISON = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>' onmouseover='alert(1)",
    '=HYPERLINK("http://evil.example","click")',
    "＝1+1",
    "../../etc/passwd",
    "a\x00b\x1b[31mred\r\nSet-Cookie: x",
    "\u202egnp.exe שלום עולם",
    "{{ 7*7 }}{% raw %}${7*7}",
    "x" * 300,
    "👩\u200d🚀 Zoë",
    "lone \ud800 surrogate",
    "javascript:alert(1)",
    "]]></style><style>*{display:none}",
]


class Page(HTMLParser):
    """A page as a browser parses it: elements, texts, tables. Unclosed or stray tags are failures."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.tables: list[dict] = []
        self.feed(text)
        self.close()
        assert self.open == [], "an element was not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append({"caption": "", "rows": []})
        if tag == "tr":
            self.tables[-1]["rows"].append([])
        if tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data)
        if "caption" in self.open:
            self.tables[-1]["caption"] += data
        elif self.open and {"td", "th"} & set(self.open) and "title" not in self.open:
            self.tables[-1]["rows"][-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def table(self, caption):
        (found,) = [table for table in self.tables if table["caption"].strip().startswith(caption)]
        return [[" ".join(cell.split()) for cell in row] for row in found["rows"]]


def rendered(month, directory, formats=("html", "csv", "json", "parquet")):
    write(build(month), month.invoices, around(month), directory, formats)
    return directory


def payers(invoices):
    """Project -> the customers whose invoices name it."""
    found = {}
    for invoice in invoices:
        for line in by_project(invoice["lines"]):
            found.setdefault(line["project_id"], set()).add(invoice["customer"]["id"])
    return found


def around(month, **parts):
    names = {row["project_id"]: row["project_name"] for row in month.usage}
    own = own_usage(month.usage, payers(month.invoices))
    given = {"project_names": names, "usage": own, "rounding": month.rounding}
    return Background(seller=month.seller, **(given | parts))


def invoice_html(invoice, month, **parts):
    return page_writer(around(replace(month, invoices=[invoice]), **parts))(converted(invoice))


def page(path: Path):
    return Page(path.read_text(encoding="utf-8"))


def empty_month(**parts):
    lists = (
        "invoices",
        "previous_invoices",
        "usage",
        "previous_usage",
        "quotas",
        "alerts",
        "unassigned",
        "unpriced",
        "costs",
        "days",
    )
    return Facts(
        month=SEPTEMBER,
        as_of=datetime(2026, 10, 3, tzinfo=UTC),
        seller={"name": "Acme", "address": None, "country": None, "tax_id": None},
        coverage={"hours": 0, "covered_hours": 0, "complete": True, "gaps": []},
        **({name: [] for name in lists} | parts),
    )


def poisoned(month):
    """Every name, id and reason that comes from outside, replaced by something hostile; numbers and times stay."""
    kept = re.compile(r"-?\d+(\.\d+)?|\d{4}-\d{2}-\d{2}.*|[A-Z]{3}|[0-9a-f]{64}")
    keys = {
        "name",
        "project_name",
        "customer",
        "project_id",
        "organization",
        "reason",
        "plan",
        "description",
        "address",
        "id",
        "meter",
    }

    def turned(value, key=None):
        if isinstance(value, dict):
            return {name: turned(part, name) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [turned(part, key) for part in value]
        if isinstance(value, str) and key in keys and not kept.fullmatch(value):
            return POISON[sum(map(ord, value)) % len(POISON)] + (
                value if key in ("id", "customer", "project_id") else ""
            )
        return value

    names = [
        name
        for name in Facts.__dataclass_fields__
        if name not in ("month", "as_of", "rounding", "thresholds_percent", "cost_notes")
    ]
    return Facts(
        month=month.month,
        as_of=month.as_of,
        cost_notes=tuple(POISON),
        **{name: turned(getattr(month, name)) for name in names},
    )


@pytest.fixture(scope="module")
def september(tmp_path_factory):
    return rendered(facts(), tmp_path_factory.mktemp("september"))


@pytest.fixture(scope="module")
def poison(tmp_path_factory):
    return rendered(poisoned(facts(has_gaps=True)), tmp_path_factory.mktemp("poison"))


def test_the_tables_of_the_page_show_the_sums_of_the_invoices(september):
    sold = page(september / "report.html").table("What was sold")
    assert sold[1:] == [
        ["Base fee", "89 month", "2,281.00", "45.34 %"],
        ["Compute", "13,256.7 CU-hour", "2,149.19", "42.72 %"],
        ["Storage", "1,514.8 GB-month", "601.21", "11.95 %"],
        ["Revenue before tax", "", "5,031.40", ""],
        ["Tax", "", "591.57", ""],
        ["Invoiced", "", "5,622.97", ""],
    ]
    assert sum(cents(row["subtotal"]) for row in facts().invoices) == 503140
    assert sum(cents(row["total"]) for row in facts().invoices) == 562297


def test_a_flat_fee_and_a_correction_of_a_meter_are_called_so(tmp_path):
    sample = facts()
    first = sample.invoices[0]
    usage = next(line for line in first["lines"] if line["meter"] == "compute")
    kinds = [{**usage, "kind": kind, "quantity": "1", "unit": "month"} for kind in ("flat_fee", "adjustment")]
    month = empty_month(invoices=[{**first, "lines": [usage, *kinds]}])
    names = {row[0] for row in page(rendered(month, tmp_path, ["html"]) / "report.html").table("What was sold")}
    assert names >= {"Compute", "Compute, flat fee", "Compute, adjustment"}


def test_alerts_of_another_month_are_not_missed_beside_the_quotas_of_now(september):
    text = page(september / "report.html").text
    assert "Alerts recorded in September 2026" in text
    assert "As of 3 Oct 2026, 12:00 UTC, of the quotas’ own periods; the fullest first." in text


@pytest.mark.parametrize("table", sorted(columns.PRINTED))
def test_every_printed_column_is_of_a_kind_and_of_a_table_that_there_is(table):
    for column in columns.on_print(table, "page") + columns.on_print(table, "paper"):
        assert column.kind in cells.KINDS, column


def cents(text):
    return int(text.replace(".", "").replace(",", ""))


def test_the_page_lists_fifty_customers_and_says_how_many_more_the_csv_has(september):
    rows = page(september / "report.html").table("Per customer")
    assert len(rows) == 51
    assert "and 9 more in customers.csv" in page(september / "report.html").text
    assert len((september / "customers.csv").read_text().splitlines()) == 60


def test_every_link_of_the_page_leads_to_a_file_or_a_place_on_the_page(september):
    read = page(september / "report.html")
    places = {attributes["id"] for _, attributes in read.elements if "id" in attributes}
    targets = [attributes["href"] for tag, attributes in read.elements if tag == "a"]
    assert len(targets) > 60
    for target in targets:
        assert target[1:] in places if target.startswith("#") else (september / target).is_file(), target


def test_a_page_without_csv_beside_it_links_to_none(tmp_path):
    read = page(rendered(facts(), tmp_path, ["html"]) / "report.html")
    assert not [a for tag, a in read.elements if tag == "a" and a["href"].endswith(".csv")]
    assert "metering report 2026-09 --format csv" in read.text


@pytest.mark.parametrize("name", ["report.html", "invoices/INV-2026-000009.html"])
def test_a_page_stands_alone_and_says_its_language(september, name):
    read = page(september / name)
    tags = {tag for tag, _ in read.elements}
    assert not tags & {"script", "iframe", "object", "form", "img", "base"}
    assert [attributes["href"] for tag, attributes in read.elements if tag == "link"] == ["data:,"]
    assert ("html", {"lang": "en"}) in read.elements
    policy = next(a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert not [a for _, a in read.elements if any(name.startswith("on") or name == "style" for name in a)]
    assert "http://" not in (september / name).read_text()
    assert "https://" not in (september / name).read_text()


@pytest.mark.parametrize("name", ["report.html", "invoices/INV-2026-000009.html"])
def test_tables_charts_and_ids_are_accessible(september, name):
    read = page(september / name)
    assert all(table["caption"].strip() for table in read.tables)
    assert all("scope" in attributes for tag, attributes in read.elements if tag == "th")
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in read.elements:
        if tag == "svg":
            labels = attributes.get("aria-labelledby", "").split()
            assert attributes.get("aria-hidden") == "true" or (attributes["role"] == "img" and set(labels) <= set(ids))
    assert sum(tag == "h1" for tag, _ in read.elements) == 1


def test_an_incomplete_month_says_so_first_and_carries_the_draft_mark(tmp_path):
    read = page(rendered(facts(has_gaps=True), tmp_path) / "report.html")
    assert "Incomplete: 96.11 % of the hours are covered. 692 of 720 hours" in read.text
    assert (
        "org-paid-87654321 : 23 Sep 2026, 20:00 UTC to 24 Sep 2026, 10:00 UTC (14 hours) – 403 for this key"
        in read.text
    )
    assert ("body", {"class": "stamped", "data-stamp": "Draft"}) in read.elements
    assert (tmp_path / "invoices" / "draft-cust010.html").is_file()


def test_a_closed_month_carries_no_draft_mark(september):
    assert ("body", {}) in page(september / "report.html").elements


def test_an_incomplete_month_that_was_closed_anyway_does_not_wait_for_its_hours(tmp_path):
    closed = replace(facts(), coverage=facts(has_gaps=True).coverage)
    text = page(rendered(closed, tmp_path, ["html"]) / "report.html").text
    assert "Invoices were issued without them" in text
    assert "cannot close" not in text


def test_the_running_month_says_what_it_will_come_to(tmp_path, september):
    def told(currency, so_far, expected, low=None, high=None):
        return {"currency": currency, "so_far": so_far, "expected": expected, "low": low, "high": high}

    outlook = {
        "as_of": "2026-09-20T06:00:00Z",
        "hours_left": "258",
        "method": "mean of up to 2 whole weeks",
        "customers": [{"customer": "cust1", **told("USD", "10.00", "15.00", "14.00", "16.50")}],
        "totals": [told("USD", "12345.60", "20001.00", "19000.00", "21000.99"), told("JPY", "100", "150")],
        "neon_cost": told("USD", "1000.00", "1500.00", "1400.00", "1600.00"),
    }
    running = replace(facts(as_of=datetime(2026, 9, 20, 6, tzinfo=UTC)), outlook=outlook)
    directory = rendered(running, tmp_path)
    text = page(directory / "report.html").text
    assert "What this month will come to if its other 258 hours are like the last weeks (mean of up to 2 whole" in text
    assert "Revenue USD 12,345.60 20,001.00 19,000.00 21,000.99" in " ".join(text.split())
    assert "Revenue JPY 100 150 – –" in " ".join(text.split())
    assert "Neon cost USD 1,000.00 1,500.00 1,400.00 1,600.00" in " ".join(text.split())
    assert json.loads((directory / "report.json").read_text())["outlook"]["totals"][1]["expected"] == "150"
    assert "Outlook" not in page(september / "report.html").text


def test_an_open_month_is_called_open(tmp_path):
    open_month = facts(as_of=datetime(2026, 9, 20, 6, tzinfo=UTC))
    assert "Month still open" in page(rendered(open_month, tmp_path) / "report.html").text


def test_an_empty_month_is_a_page_of_its_own_kind(tmp_path):
    read = page(rendered(empty_month(), tmp_path) / "report.html")
    for words in (
        "No invoices this month",
        "No invoice counts in this month.",
        "No usage was seen",
        "No project has a quota.",
    ):
        assert words in read.text
    assert not (tmp_path / "invoices").exists()
    assert json.loads((tmp_path / "report.json").read_text())["totals"] == []


def test_two_currencies_have_tables_of_their_own_and_yen_have_no_decimals(tmp_path):
    sample = facts()
    yen = {
        **sample.invoices[0],
        "number": "INV-JP-1",
        "currency": "JPY",
        "customer": {"id": "jun", "name": "Jun"},
        "taxes": [],
    }
    yen["lines"] = [{**line, "amount": "1500", "unit_price": "1500"} for line in yen["lines"][:1]]
    yen |= {"subtotal": "1500", "total": "1500"}
    month = empty_month(invoices=[*sample.invoices[1:], yen], usage=sample.usage, costs=sample.costs, days=sample.days)
    read = page(rendered(month, tmp_path) / "report.html")
    assert [row[3] for row in read.table("Per customer in JPY")[1:]] == ["0"] or read.table("Per customer in JPY")[1][
        4
    ] == "1,500"
    assert len(read.table("Per customer in USD")) == 51
    assert "what is invoiced in JPY has no margin here" in read.text
    assert "JPY 1,500" in page(tmp_path / "invoices" / "INV-JP-1.html").text


def test_an_invoice_shows_what_was_frozen_digit_by_digit(september):
    invoice = next(row for row in facts().invoices if row["number"] == "INV-2026-000001")
    read = page(september / "invoices" / "INV-2026-000001.html")
    rows = read.table("What is charged")
    for line in invoice["lines"]:
        assert [line["description"], line["amount"]] in [[row[0], row[-1]] for row in rows if len(row) == 4]
        assert any(row[1] == f"{line['quantity']} {line['unit']}" for row in rows if len(row) == 4)
    sums = read.table("Totals")
    assert sums[0] == ["Subtotal", invoice["subtotal"]]
    assert sums[-1] == ["Total", f"USD {invoice['total']}"]
    assert "metering explain INV-2026-000001" in read.text
    assert "Due Nov 2, 2026" in read.text


def test_an_invoice_groups_lines_by_project_with_subtotals_and_the_rest_at_the_end():
    sample = facts()
    invoice = next(row for row in sample.invoices if row["number"] == "INV-2026-000009")
    minimum = {**invoice["lines"][0], "project_id": None, "kind": "minimum", "description": "Minimum", "amount": "1.00"}
    text = invoice_html({**invoice, "lines": [minimum, *invoice["lines"]]}, sample)
    rows = Page(text).table("What is charged")
    assert [row[0] for row in rows if len(row) == 1] == [
        "acme-cust010-scale-1756911600calm-dawn-84903659",
        "acme-cust010-scale-1756915200late-sun-57000147",
        "All projects",
    ]
    assert [row[1] for row in rows if row[0] == "Subtotal"] == ["320.12", "351.35", "1.00"]


def test_an_invoice_leaves_out_lines_that_came_to_nothing_but_not_what_is_free_of_charge():
    sample = facts()
    invoice = next(row for row in sample.invoices if row["number"] == "INV-2026-000009")
    line = {**invoice["lines"][0], "kind": "usage", "quantity": "0.01", "unit": "GB-month", "amount": "0.00"}
    nothing = {**line, "description": "Rounded to nothing", "unit_price": "0.25"}
    free = {**line, "description": "Free of charge", "unit_price": "0.00"}
    basis = {**line, "description": "Without a price", "unit_price": None}

    def shown(*lines: dict) -> list[str]:
        rows = Page(invoice_html({**invoice, "lines": list(lines)}, sample)).table("What is charged")
        names = ("Rounded to nothing", "Free of charge", "Without a price")
        return [name for name in names if any(name in cell for row in rows for cell in row)]

    assert shown(nothing, free, basis) == ["Free of charge", "Without a price"]
    assert shown(nothing) == ["Rounded to nothing"]
    assert shown({**nothing, "amount": "0.01"}, free) == ["Rounded to nothing", "Free of charge"]


def test_an_invoice_shows_used_beside_billed():
    sample = facts()
    invoice = next(row for row in sample.invoices if row["number"] == "INV-2026-000009")
    rows = Page(invoice_html(invoice, sample)).table("Used and billed")
    assert ["Compute", "1,488.038", "400.000", "1,088.038", "CU-hour"] in rows
    assert ["Instant restore", "18.523", "18.523", "0.000", "GB-month"] in rows


def test_a_project_that_moved_shows_no_customer_the_usage_of_the_other(tmp_path):
    sample = facts()
    first, second = sample.invoices[0], sample.invoices[1]
    moved = {**second, "lines": [*second["lines"], first["lines"][0]]}
    month = empty_month(invoices=[first, moved], usage=sample.usage)
    rendered(month, tmp_path, ["html"])
    project = first["lines"][0]["project_id"]
    for invoice in (first, moved):
        shown = page(tmp_path / "invoices" / f"{invoice['number']}.html")
        used = [table for table in shown.tables if table["caption"].startswith("Used and billed")]
        assert not any(project in str(table) for table in used)


def test_a_void_invoice_and_a_credit_note_say_what_they_are():
    sample = facts()
    invoice = sample.invoices[0]
    void = Page(invoice_html({**invoice, "status": "void"}, sample))
    assert ("body", {"class": "stamped", "data-stamp": "Void"}) in void.elements
    assert "This invoice is void. Do not pay it." in void.text.replace("  ", " ")
    note = {
        **invoice,
        "kind": "credit_note",
        "number": "CN-2026-000001",
        "credits": invoice["number"],
        "total": "-1.00",
    }
    read = Page(invoice_html(note, sample))
    assert "Credit note CN-2026-000001" in read.text
    assert f"Cancels {invoice['number']}" in read.text
    assert "-USD 1.00" in read.text
    assert "Due" not in read.text


def test_names_from_outside_are_inert_on_every_page(poison):
    paths = [poison / "report.html", *sorted((poison / "invoices").glob("*.html"))]
    assert len(paths) == 60
    for path in paths:
        text = path.read_text(encoding="utf-8")
        read = Page(text)
        assert not {tag for tag, _ in read.elements} & {"script", "img", "iframe"}, path
        assert not [a for _, a in read.elements if any(name.startswith("on") for name in a)]
        assert not [a for _, a in read.elements if a.get("href", "").startswith("javascript:")]
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", text)
        assert text.count("<style>") == 1


def test_hostile_names_are_shown_not_dropped(poison):
    text = page(poison / "report.html").text
    for shown in (
        "<script>alert(1)</script>",
        '=HYPERLINK("http://evil.example","click")',
        "{{ 7*7 }}",
        "x" * 300,
        "👩\u200d🚀 Zoë",
    ):
        assert shown in text


def test_no_file_leaves_the_directory_or_is_called_by_a_name_from_outside(poison):
    for path in poison.rglob("*"):
        assert path.resolve().is_relative_to(poison.resolve())
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}(\.(html|csv|json|parquet))?", path.name), path
    assert not list(poison.parent.glob("*.html"))


def test_no_cell_of_any_csv_begins_like_a_formula(poison):
    cells = 0
    for path in sorted(poison.glob("*.csv")):
        for row in csv.reader(io.StringIO(path.read_bytes().decode(), newline="")):
            for cell in row:
                cells += 1
                assert not cell.startswith(tuple("=+@\t\r＝＋－＠")), (path.name, cell)
                assert not cell.startswith("-") or re.fullmatch(r"-[0-9.]+", cell), (path.name, cell)
    assert cells > 5000


def test_json_keeps_every_name_as_it_came(poison):
    read = json.loads((poison / "report.json").read_bytes())
    expected = build(poisoned(facts(has_gaps=True)))
    assert read["customers"] == json.loads(json.dumps(expected["customers"]))
    assert any("\ud800" in row["customer_name"] for row in read["customers"])


def test_json_holds_no_float(september):
    def refuse(text):
        raise AssertionError(text)

    json.loads((september / "report.json").read_text(), parse_float=refuse)


def test_parquet_and_csv_hold_the_same_rows(september):
    for path in sorted(september.glob("*.parquet")):
        rows = list(csv.reader(io.StringIO(path.with_suffix(".csv").read_bytes().decode(), newline="")))
        frame = pl.read_parquet(path)
        assert frame.columns == rows[0]
        assert frame.height == len(rows) - 1
        assert pl.Float64 not in frame.dtypes


def test_equal_facts_give_equal_bytes(tmp_path, september):
    again = rendered(facts(), tmp_path)
    names = sorted(str(path.relative_to(september)) for path in september.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(again)) for path in again.rglob("*") if path.is_file())
    assert all((september / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_write_returns_the_paths_of_what_was_asked_for(tmp_path):
    sample = facts()
    paths = write(build(sample), sample.invoices, around(sample), tmp_path / "reports" / "2026-09", {"json"})
    assert paths == [tmp_path / "reports" / "2026-09" / "report.json"]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["report.json"]
    assert paths[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["PDF", "docx", "../html"])
def test_a_format_that_there_is_not_is_refused_before_anything_is_written(tmp_path, name):
    sample = facts()
    with pytest.raises(UsageError):
        write(build(sample), sample.invoices, around(sample), tmp_path / "out", {"html", name})
    assert not (tmp_path / "out").exists()


def test_a_draft_that_became_an_invoice_leaves_no_page_behind(tmp_path):
    rendered(facts(as_of=datetime(2026, 9, 20, tzinfo=UTC)), tmp_path, ["html"])
    assert (tmp_path / "invoices" / "draft-cust010.html").is_file()
    rendered(facts(), tmp_path, ["html"])
    assert not list((tmp_path / "invoices").glob("draft-*"))
    assert (tmp_path / "invoices" / "INV-2026-000009.html").is_file()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("INV-2026-000001", "INV-2026-000001"),
        ("a" * 63, "a" * 63),
        ("a" * 64, "a" * 40 + "-ffe054fe7ae0cb6d"),
        ("2026/0001", "2026-0001-614ce66a6d49eca1"),
        ("..", "5ec1f7e700f37c3d"),
        ("", "e3b0c44298fc1c14"),
    ],
)
def test_a_file_is_called_by_a_harmless_name_or_ends_in_its_hash(name, stem):
    assert file_stem(name) == stem
