"""The dashboard over a real server: every page, every list as a file, hostile names, errors that say what to do."""

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from urllib.parse import quote

import httpx
import pytest
from openpyxl import load_workbook

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.billing.usage_document import usage
from metering.cli.reading import invoice_head
from metering.core.period import month_of
from metering.explain import explain
from metering.invoicing.closing import month_invoices
from metering.invoicing.rated_month import months_of
from metering.operations import status
from metering.quotas import status as quota_status
from metering.store import database, snapshots
from metering.web.app import application, every_page
from metering.web.desk import Desk
from metering.web.guard import Access
from metering.web.server import Listener
from metering.web.views import Views
from tests.support import web_world

LISTS = ["/customers", "/projects", "/invoices", "/quotas", "/alerts", "/operations"]

get = partial(httpx.get, timeout=60)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return web_world.lived_in(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def site(world) -> Iterator[httpx.Client]:
    views = Views(lambda: world, lambda: web_world.NOW)
    desk = Desk(views, Access(), clock=lambda: web_world.NOW)
    with (
        Listener(application(desk), "127.0.0.1:0") as server,
        httpx.Client(base_url=f"http://{server.address}", timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def reader(world):
    with snapshots.open_reader(world.store.directory) as found:
        yield found


def links(text: str) -> set[str]:
    """Where a page leads."""
    return {html.unescape(found) for found in re.findall(r'(?:href|action|hx-get)="(/[^"]*)"', text)}


def shown(text: str) -> str:
    """The words of a page."""
    return html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"\s+", " ", text)))


# -- what is shown is what the commands say


def test_every_page_leads_only_to_pages_that_are_there(site):
    seen: dict[str, int] = {}
    pages = [page.path for page in every_page() if (page.method, page.is_by_link) == ("GET", False)]
    waiting = ["/", *pages, "/?month=2026-09"]
    shapes: dict[str, int] = {}
    while waiting:
        address = waiting.pop()
        shape = re.sub(r"=[^&]*", "=", address)
        if address in seen or shapes.get(shape, 0) >= 2 or address == "/alerts/resend":
            continue
        shapes[shape] = shapes.get(shape, 0) + 1
        answer = site.get(address)
        seen[address] = answer.status_code
        if "html" in answer.headers["content-type"]:
            waiting += links(answer.text)
    bare = {"/customer", "/project", "/invoice", "/explain", "/alert", "/page"}
    assert {address: code for address, code in seen.items() if code != 200 and address not in bare} == {}
    assert {address: seen[address] for address in bare} == dict.fromkeys(bare, 404)
    assert len(seen) > 60


def test_the_pages_show_the_numbers_of_the_commands(site, world, reader):
    document = month_invoices(months_of(reader, world, web_world.NOW).of(web_world.SEPTEMBER).today).printed()
    rows = site.get("/invoices", params={"month": "2026-09", "format": "json"}).json()["rows"]
    heads = [invoice_head(invoice) for invoice in document["invoices"]]
    names = ("number", "status", "currency", "subtotal", "total", "issued_at", "due_at", "lines")
    assert [{name: row[name] for name in names} for row in rows] == [
        {name: row[name] for name in names} for row in heads
    ]
    first = document["invoices"][0]
    page = shown(site.get("/invoice", params={"number": first["number"]}).text)
    assert all(line["amount"] in page for line in first["lines"])
    assert f"{first['total']} USD" in page


def test_quotas_come_in_the_order_in_which_projects_will_be_suspended(site, world, reader):
    rows = site.get("/quotas", params={"format": "json"}).json()["rows"]
    told = [
        row.document()
        for row in quota_status.quota_rows(quota_status.running(reader, terms.of(world), web_world.NOW), (80, 95))
    ]
    assert {(row["project_id"], row["percent"]) for row in rows} == {
        (row["project_id"], row["percent"]) for row in told
    }
    assert [row["level"] for row in rows][:3] == ["exceeded", "exceeded", "critical"]
    later = [row["reaches_100_at"] for row in rows if row["level"] != "exceeded"]
    known = [moment for moment in later if moment]
    assert known == sorted(known) and later[: len(known)] == known


def test_from_an_invoice_every_line_leads_down_to_the_page_as_it_was_received(site, reader):
    total = site.get("/invoices", params={"month": "2026-09", "sort": "-total"}).text
    number = re.search(r"/invoice\?number=(INV-2026-\d+)", total)[1]
    lines = [found for found in links(site.get(f"/invoice?number={number}").text) if found.startswith("/explain")]
    usage = next(line for line in sorted(lines) if "line=2" in line)
    page = site.get(usage)
    told = explain.explain(reader, number, "2")
    assert "computed again: agrees" in page.text
    assert all(html.escape(step.strip(), quote=False)[:30] in page.text.replace("&#39;", "'") for step in told["steps"])
    seq = next(found for found in sorted(links(page.text)) if found.startswith("/page"))
    raw = site.get(seq, params={**dict(httpx.URL(seq).params), "format": "raw"})
    project = told["observations"][0]["project_id"]
    assert project in raw.text and json.loads(raw.content)["projects"]
    assert raw.headers["content-disposition"].startswith("attachment")
    assert project in site.get(seq).text


def test_a_drafts_lines_lead_to_what_the_command_explains(site, world, reader):
    running, customer = month_of(web_world.NOW), web_world.customer(6)
    told = explain.explain_draft(reader, world, running, web_world.NOW, customer=customer, line="2")
    assert told["line"]["kind"] == "usage" and told["observations"]

    document = site.get("/invoice", params={"customer": customer, "month": "2026-10"})
    lines = {found for found in links(document.text) if found.startswith("/explain")}
    address = next(found for found in lines if "line=2" in found)
    page = site.get(address)
    assert "computed again: agrees" in page.text
    assert all(html.escape(step.strip(), quote=False)[:30] in page.text.replace("&#39;", "'") for step in told["steps"])
    assert f"/invoice?customer={quote(customer, safe='')}&month=2026-10" in links(page.text)
    observed = site.get(f"{address}&format=json").json()["rows"]
    assert [row["value"] for row in observed] == [row["value"] for row in told["observations"]]
    of_project = site.get("/project", params={"id": told["line"]["project_id"], "month": "2026-10"})
    assert address in links(of_project.text)

    asked = {"number": customer, "month": "2026-10", "line": "2"}
    assert site.get("/api/explain", params=asked).json() == told


def test_the_api_gives_the_documents_of_the_commands(site, world, reader):
    month = Month(
        recorded=Recorded(store=reader), terms=terms.of(world), period=month_of(web_world.NOW), now=web_world.NOW
    )
    assert site.get("/api/usage").json() == usage(month).document()
    assert (
        site.get("/api/status").json()["organizations"] == status.status(reader, world, web_world.NOW)["organizations"]
    )
    told = month_invoices(months_of(reader, world, web_world.NOW).of(web_world.SEPTEMBER).today).printed()
    assert site.get("/api/invoices?month=2026-09").json() == told
    number = told["invoices"][0]["number"]
    assert site.get(f"/api/invoice?number={number}").json() == told["invoices"][0]
    assert site.get(f"/api/explain?number={number}&line=1").json() == explain.explain(reader, number, "1")
    project = web_world.PROJECTS[1]
    assert site.get(f"/api/timeline?project={project}").json() == usage(month, by="day", project=project).document()


# -- lists


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_a_csv_a_json_and_an_xlsx_file_with_the_same_rows(site, path):
    month = {"month": "2026-09"}
    rows = site.get(path, params={**month, "format": "json"}).json()["rows"]
    lines = list(csv.reader(io.StringIO(site.get(path, params={**month, "format": "csv"}).text, newline="")))
    answer = site.get(path, params={**month, "format": "xlsx"})
    sheet = load_workbook(io.BytesIO(answer.content)).worksheets[0]
    assert rows and len(lines) == len(rows) + 1
    assert sheet.max_row >= len(rows) + 1
    assert lines[0] == list(rows[0])
    assert answer.content == site.get(path, params={**month, "format": "xlsx"}).content, (
        "the same figures, the same bytes"
    )


def test_a_search_a_filter_and_an_order_stand_in_the_address(site):
    rows = site.get("/customers?month=2026-09&q=CUST21&format=json").json()["rows"]
    assert [row["customer_name"] for row in rows] == ["Customer 21"]
    rows = site.get("/customers?month=2026-09&q=customer&sort=-total&format=json").json()["rows"]
    totals = [Decimal(row["total"]) for row in rows]
    assert totals == sorted(totals, reverse=True)
    assert site.get("/quotas?level=exceeded&format=json").json()["rows"][0]["level"] == "exceeded"
    page = site.get("/customers?month=2026-09&page=2").text
    assert "Page 2 of 2" in page
    assert "Page 2 of 2" in site.get("/customers?month=2026-09&page=999").text
    assert "Nothing matches" in site.get("/customers?month=2026-09&q=zzzz").text


# -- hostile names


@pytest.mark.parametrize("number", range(len(web_world.NAMES)))
def test_a_hostile_name_is_text_on_every_page_and_in_every_file(site, number):
    name, customer = web_world.name_of(number), web_world.customer(number)
    page = site.get("/customer", params={"id": customer, "month": "2026-09"})
    assert page.status_code == 200
    assert "<script>alert" not in page.text and "<b>bold" not in page.text
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202e]", page.text)
    project = site.get("/project", params={"id": web_world.PROJECTS[number]})
    assert project.status_code == 200
    listed = site.get("/projects", params={"q": web_world.PROJECTS[number], "format": "csv"})
    (row,) = csv.DictReader(io.StringIO(listed.text, newline=""))
    assert not re.match(r"\s*[=+\-@＝]", row["project_name"])
    sheet = load_workbook(
        io.BytesIO(site.get("/projects", params={"q": web_world.PROJECTS[number], "format": "xlsx"}).content)
    ).worksheets[0]
    assert all(cell.data_type != "f" for cell in sheet[2])
    told = site.get("/projects", params={"q": web_world.PROJECTS[number], "format": "json"}).json()["rows"][0]
    assert told["project_name"] == name


def test_a_hostile_address_is_answered_and_never_repeated_as_markup(site):
    for text in (
        "<script>alert(1)</script>",
        "' onload='x",
        "../../etc/passwd",
        "\u202e",
        "x" * 3000,
        "%00",
        "-1",
        "1e9",
    ):
        for path in (
            "/customer?id=",
            "/project?id=",
            "/invoice?number=",
            "/alert?id=",
            "/page?seq=",
            "/?month=",
            "/customers?q=",
        ):
            answer = site.get(path + quote(text))
            assert answer.status_code in {200, 404}, (path, text)
            assert "<script>alert" not in answer.text and "onload='x" not in answer.text
            assert "\u202e" not in answer.text


# -- errors


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("/customers?month=1999-01", 404, "Nothing is known of 1999-01"),
        ("/customers?month=13", 404, "'13' is not a month"),
        ("/customer?id=nobody", 404, "There is no customer 'nobody'"),
        ("/project?id=nothing", 404, "There is no project 'nothing'"),
        ("/invoice?number=INV-1", 404, "no invoice has the number 'INV-1'"),
        ("/explain?number=INV-2026-000001&line=99", 404, "has no line '99'"),
        ("/explain?customer=cust20&month=2026-10&line=99", 404, "the draft has no line '99'"),
        ("/explain?customer=nobody&month=2026-10&line=1", 404, "There is no draft for 'nobody' in 2026-10"),
        ("/page?seq=99999999", 404, "The journal has no record"),
        ("/customer?id=cust1&day=2026-10-40", 404, "is not a day"),
        ("/customers?format=exe", 404, "There is no format 'exe'"),
        ("/nothing", 404, "There is no such page"),
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(site, address, code, said):
    answer = site.get(address)
    assert answer.status_code == code
    assert said in shown(answer.text)


def test_an_error_of_the_api_is_a_problem_document(site):
    answer = site.get("/api/invoice?number=INV-1")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["status"] == 404
    assert site.get("/api/usage?month=2026-13").status_code == 400
    assert site.get("/api/usage?mnth=2026-10").json()["detail"] == "there is no parameter 'mnth'"
    assert site.get("/api/nothing").status_code == 404


TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
    "number": (int, Decimal),
}


def wrong(value, schema, schemas, at="$") -> list[str]:
    """Where a JSON value is not as its schema says."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [wrong(value, one, schemas, at) for one in schema["anyOf"]]
        return [] if [] in found else found[0]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, TYPES[kind]) for kind in kinds):
        return [f"{at}: {value!r} is no {' or '.join(kinds)}"]
    faults = [] if value in schema.get("enum", [value]) else [f"{at}: {value!r} is none of {schema['enum']}"]
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        faults.append(f"{at}: {value!r} is not {schema['pattern']}")
    if isinstance(value, list):
        faults += [fault for row in value for fault in wrong(row, schema.get("items", {}), schemas, f"{at}[]")]
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        faults += [f"{at}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name in parts.keys() & value:
            faults += wrong(value[name], parts[name], schemas, f"{at}.{name}")
    return faults


def test_every_answer_of_the_api_is_as_its_description_says(site):
    described = site.get("/api/openapi.json").json()
    schemas = described["components"]["schemas"]
    invoice = site.get("/api/invoices?month=2026-09").json()["invoices"][0]
    project = next(line["project_id"] for line in invoice["lines"] if line["project_id"])
    asked = {
        "/api/timeline": f"?month=2026-09&project={project}",
        "/api/invoice": f"?number={invoice['number']}",
        "/api/explain": f"?number={invoice['number']}",
    }
    for path, methods in described["paths"].items():
        schema = methods["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        for query in {asked.get(path, ""), asked.get(path, "?month=2026-09" if methods["get"]["parameters"] else "")}:
            answer = site.get(f"{path}{query}")
            assert answer.status_code == 200, (path, answer.text)
            assert wrong(json.loads(answer.text), schema, schemas) == [], path


def test_before_the_first_poll_the_pages_say_what_to_do(tmp_path):
    found = web_world.configured(tmp_path)
    desk = Desk(Views(lambda: found, lambda: web_world.NOW), Access(), clock=lambda: web_world.NOW)
    with Listener(application(desk), "127.0.0.1:0") as server:
        for path in ("/", "/customers", "/projects", "/quotas", "/invoices", "/alerts", "/operations", "/plans"):
            answer = get(f"http://{server.address}{path}")
            assert answer.status_code == 200, path
        assert "metering backfill" in get(f"http://{server.address}/").text
    assert not (found.store.directory / "snapshot.duckdb").exists()


def test_a_snapshot_that_cannot_be_read_is_unavailable_for_a_while(tmp_path):
    found = web_world.configured(tmp_path)
    found.store.directory.mkdir(exist_ok=True)
    (found.store.directory / database.SNAPSHOT).write_bytes(b"not a database")
    desk = Desk(Views(lambda: found, lambda: web_world.NOW), Access(), clock=lambda: web_world.NOW)
    with Listener(application(desk), "127.0.0.1:0") as server:
        for path in ("/", "/api/status"):
            answer = get(f"http://{server.address}{path}")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "20")
