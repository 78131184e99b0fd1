"""Every statement in sql/ runs; checks hold on a real store and fail on a manipulated one; views agree."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import polars as pl
import pytest

from metering.core.files import data_directory
from metering.core.grain import GRAINS
from metering.core.period import Period, days, month_of
from metering.store import database
from metering.store.database import Store
from metering.usage.coverage import certified_of, selection
from tests.support import lived
from tests.support.scribe import Memory, Scribe, frame, moment

SQL = data_directory("sql")
QUERIES = sorted(f"{path.parent.name}/{path.stem}" for path in (SQL / "queries").rglob("*.sql"))
WRITES = sorted(path.stem for path in (SQL / "writes").glob("*.sql"))
CHECKS = sorted(path.stem for path in (SQL / "checks").glob("*.sql"))
VIEWS = sorted(path.stem for path in (SQL / "views").glob("*.sql"))
CPU = "compute_unit_seconds"
MONTH = Period(start=datetime(2026, 10, 1, tzinfo=UTC), end=datetime(2026, 11, 1, tzinfo=UTC))

# Values for parameters, by name; every name that a query uses is here.
PARAMETERS: dict[str, Any] = {
    "rules": 2,
    "as_of_seq": 2**63,
    "since_seq": 0,
    "seq": 1,
    "until_seq": 2**62,
    "settled": ["2026-10"],
    "walk": 1,
    "kind": "close",
    "most": 5,
    "organization": "org-a",
    "other": "org-b",
    "prefix": "not counted: ",
    "project_id": "project-1",
    "alert_id": "x",
    "only": None,
    "alarm_id": "x",
    "hours": 6,
    "customer": "x",
    "endpoint": "x",
    "endpoints": ["x"],
    "number": "x",
    "series": "x",
    "month": "2026-10",
    "metric": "compute_unit_seconds",
    "grain": 0,
    "grains": [0, 1, 2],
    "with_unchanged": True,
    "length": 3_600_000_000,
    "after": 0,
    "rolled_seq": 0,
    "now": MONTH.start,
    "since": MONTH.start,
    "before": MONTH.end,
    "moved_since": MONTH.start,
    "until": MONTH.end,
    "period_start": MONTH.start,
    "period_end": MONTH.end,
    "start": MONTH.start,
    "end": MONTH.end,
}


@pytest.fixture(scope="module")
def lived_in() -> Iterator[Store]:
    memory = Memory()
    for seed in range(6):
        lived.a_cycle(memory.record, int(memory.store.query("polling/next_walk").item()), seed)
    yield memory.store
    memory.store.connection.close()


@pytest.fixture
def book() -> Iterator[Memory]:
    memory = Memory()
    yield memory
    memory.store.connection.close()


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_finds_nothing_in_a_lived_in_store(lived_in, name):
    assert lived_in.check(name).rows() == []


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_can_be_read(lived_in, name):
    assert frame(lived_in, f"select * from {name}").width > 1


# Each statement violates one check, which must detect it.
TAMPERED = {
    "no_bucket_below_zero": "update observation set compute_unit_seconds = -1",
    "observations_have_a_page": "update observation set seq = 999999",
    "observations_have_a_neon_period": "delete from neon_period",
    "buckets_begin_where_their_grain_does": "update observation set grain = 2",
    "pages_count_their_changes": "update page set changes = changes + 1",
    "coverage_comes_from_complete_walks": "update coverage set period_end = period_end + interval 1 hour",
    "walks_count_their_pages": "update walk set pages = pages + 1",
    "omissions_end_with_their_walk": "update omission set is_applied = false",
    "keys_name_one_thing": "update project set project_id = 'project-1'",
    "nothing_is_ahead_of_the_position": "update position set seq = seq - 1",
    "there_is_one_position": "insert into position select * from position",
    "invoice_numbers_have_no_gaps": "insert into invoice values ('INV-2', 1, '2026-10', 'c', 'final', 'USD', '1.00',"
    " timestamptz '2026-11-03 00:00+00', 'invoice 2026', 2, '{}')",
    "invoices_add_up": "insert into invoice values ('INV-1', 1, '2026-10', 'c', 'final', 'USD', '1.01',"
    ' timestamptz \'2026-11-03 00:00+00\', \'invoice 2026\', 1, \'{"lines": [{"amount": "0.70"}, {"amount": "0.30"}],'
    ' "subtotal": "1.00", "taxes": [], "total": "1.01"}\')',
    "taxes_are_of_their_lines": "insert into invoice values ('INV-1', 1, '2026-10', 'c', 'final', 'USD', '1.19',"
    ' timestamptz \'2026-11-03 00:00+00\', \'invoice 2026\', 1, \'{"lines": [{"amount": "1.00",'
    ' "tax_rate_percent": "16", "tax_name": "VAT"}], "subtotal": "1.00", "total": "1.19",'
    ' "taxes": [{"name": "VAT", "rate_percent": "19", "base": "1.00", "amount": "0.19"}]}\')',
    "invoices_belong_to_a_closing": "insert into invoice values ('INV-1', 1, '2026-10', 'c', 'final', 'USD', '1.00',"
    " timestamptz '2026-11-03 00:00+00', 'invoice 2026', 1, '{}')",
    "one_valid_invoice_per_customer_and_month": "insert into invoice select 'INV-' || n, 1, '2026-10', 'c', 'final',"
    " 'USD', '1.00', timestamptz '2026-11-03 00:00+00', 'invoice 2026', n, '{}' from range(2) as r(n)",
    "deliveries_belong_to_alerts": "insert into outbox values ('gone', 'https://example.com', 'pending', 0,"
    " timestamptz '2026-11-03 00:00+00', null, '')",
}


def test_every_check_is_tried_on_a_store_that_breaks_its_law():
    assert sorted(TAMPERED) == CHECKS


@pytest.mark.parametrize("name", sorted(TAMPERED))
def test_a_check_finds_what_breaks_its_law(lived_in, name):
    connection = lived_in.connection
    connection.execute("begin")
    try:
        connection.execute(TAMPERED[name])
        assert lived_in.check(name).height > 0
    finally:
        connection.execute("rollback")


@pytest.mark.parametrize("text", ['"taxes": [{"amount": "0.19"}], "total": "1.19"', '"taxes": [], "total": "1.00"'])
def test_an_invoice_that_adds_up_is_no_finding(lived_in, text):
    connection = lived_in.connection
    document = '{"lines": [{"amount": "1.30"}, {"amount": "-0.30"}], "subtotal": "1.00", ' + text + "}"
    total = text[-5:-1]
    connection.execute("begin")
    try:
        connection.execute(
            "insert into invoice values ('INV-1', 1, '2026-10', 'c', 'final', 'USD', $total,"
            " timestamptz '2026-11-03 00:00+00', 'invoice 2026', 1, $document)",
            {"total": total, "document": document},
        )
        assert lived_in.check("invoices_add_up").rows() == []
        assert lived_in.check("invoice_numbers_have_no_gaps").rows() == []
        assert frame(lived_in, "select amount::varchar from invoice_lines").rows() == [("1.3000",), ("-0.3000",)]
    finally:
        connection.execute("rollback")


# -- queries

MOMENT = pl.Datetime("us", "UTC")
FRAMES = {
    # What callers register beside the tables, with every column that any of them gives.
    "batch_projects": pl.Schema({"project_key": pl.UInt32(), "page_seq": pl.UInt64()}),
    "newly_read": pl.Schema({"project_key": pl.UInt32(), "read_at": MOMENT}),
    "only_project": pl.Schema({"project_id": pl.String()}),
    "headers": pl.Schema(
        {"seq": pl.UInt64(), "sha256": pl.String(), "request_id": pl.String(), "received_at": pl.String()}
    ),
    "wanted": pl.Schema({"project_key": pl.UInt32(), "project_id": pl.String(), "metric": pl.String()}),
    "stretch": pl.Schema(
        {"stretch_no": pl.UInt32(), "project_key": pl.UInt32(), "period_start": MOMENT, "period_end": MOMENT}
    ),
    "counted": pl.Schema({"project_key": pl.UInt32(), "grain": pl.UInt8(), "counts_from": MOMENT, "counts_to": MOMENT}),
    "part": pl.Schema(
        {
            "organization": pl.String(),
            "grain": pl.UInt8(),
            "part_no": pl.UInt32(),
            "period_start": MOMENT,
            "period_end": MOMENT,
        }
    ),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_is_one_question_whose_parameters_are_known(name):
    statements = duckdb.extract_statements((SQL / "queries" / f"{name}.sql").read_text())
    assert [statement.type for statement in statements] == [duckdb.StatementType.SELECT]
    assert statements[0].named_parameters - PARAMETERS.keys() == set(), "say in PARAMETERS what it may be"


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_runs_on_an_empty_and_on_a_lived_in_store(lived_in, name):
    named = duckdb.extract_statements((SQL / "queries" / f"{name}.sql").read_text())[0].named_parameters
    given = {parameter: PARAMETERS[parameter] for parameter in named}
    frames = {frame_name: schema.to_frame() for frame_name, schema in FRAMES.items()}
    empty = database.in_memory()
    for found in (empty, lived_in):
        with found.frames(**frames):
            found.query(name, **given)
    empty.connection.close()


# -- writes

MODULES = sorted((SQL.parent / "metering").rglob("*.py"))
REPORTED = pl.Schema(
    {
        "project_key": pl.UInt32(),
        "neon_period_key": pl.UInt32(),
        "grain": pl.UInt8(),
        "timeframe_start": MOMENT,
        "metric": pl.String(),
    }
)
CHANGES = {duckdb.StatementType.INSERT, duckdb.StatementType.UPDATE, duckdb.StatementType.DELETE}


def test_each_write_is_called_by_its_name_and_no_other_is():
    calls = [
        node
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _last_name(node.func) in {"write", "write_each"} and node.args
    ]
    called = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    assert sorted(name for name in called if isinstance(name, str) and name.isidentifier()) == WRITES


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


@pytest.mark.parametrize("name", WRITES)
def test_a_write_changes_rows_of_tables_and_columns_that_there_are(lived_in, name):
    text = (SQL / "writes" / f"{name}.sql").read_text()
    (statement,) = duckdb.extract_statements(text)
    assert statement.type in CHANGES
    frames = {frame_name: schema.to_frame() for frame_name, schema in {**FRAMES, "reported": REPORTED}.items()}
    with lived_in.frames(**frames):  # `explain` finds every name, and changes nothing
        lived_in.connection.execute(f"explain {statement.query}", dict.fromkeys(statement.named_parameters) or None)


@pytest.mark.parametrize(("given", "named"), [({"seq": 7}, "hash"), ({"seq": 7, "hash": "h", "more": 1}, "more")])
def test_a_write_takes_neither_fewer_nor_more_parameters_than_it_names(book, given, named):
    with pytest.raises(duckdb.InvalidInputException, match=named):
        book.store.write("move_position", **given)
    assert book.store.query("store/position").rows() == [(0, "0" * 64)]


def test_a_write_for_each_row_takes_them_in_their_order(book):
    row = {"key": "k", "seq": 1, "kind": "item", "document": "{}", "at": MONTH.start, "sha256": "a"}
    book.store.write_each("try_stripe_send", [row, {**row, "seq": 2, "sha256": "b"}, {**row, "key": "l", "seq": 3}])
    rows = frame(book.store, "select key, seq, state, sha256 from stripe_send order by key").rows()
    assert rows == [("k", 2, "tried", "b"), ("l", 3, "tried", "a")]


# -- views against the pure functions


def test_the_days_of_the_view_count_in_the_grain_that_the_months_selection_takes(book):
    scribe = Scribe(record=book.record)
    windows = [
        (0, "2026-10-03", "2026-10-05T07"),
        (0, "2026-10-05T08", "2026-10-09"),
        (1, "2026-10-05", "2026-10-07"),
        (1, "2026-08-02", "2026-09-01"),
        (0, "2026-08-01", "2026-08-02"),
        (2, "2026-06-01", "2026-08-01"),
        (0, "2026-07-01", "2026-08-01"),
        (0, "2026-11-01", "2026-11-02T13"),
    ]
    for grain, start, end in windows:
        scribe.of(grain=grain, window=(start, end), sent="2026-11-20").history({"a": []})
    shown = dict(frame(book.store, "select day_start, grain from coverage_day").rows())
    certified = certified_of(book.store.query("billing/coverage_of", as_of_seq=2**63, after=0))["org-a"]
    for name in ("2026-06-01", "2026-07-01", "2026-08-01", "2026-09-01", "2026-10-01", "2026-11-01"):
        month = month_of(moment(name))
        expected = dict.fromkeys(days(month))
        for part in selection(certified, month, is_open=False):
            for day in days(part.period):
                if certified.covers(Period(start=day, end=min(month.end, next_day(day))), part.grain):
                    expected[day] = part.grain
        assert {day: shown.get(day) for day in days(month)} == expected, (name, GRAINS)


def next_day(day: datetime) -> datetime:
    return day + timedelta(days=1)


def test_usage_by_day_takes_each_day_from_one_grain_and_says_what_is_certified(book):
    scribe = Scribe(record=book.record)
    hourly = scribe.of(window=("2026-10-03", "2026-10-05"), sent="2026-10-05T00:30")
    used = {"a": [("2026-10-03T05", {CPU: 1, "odd": 2}), ("2026-10-04T05", {CPU: 10}), ("2026-10-04T23", {CPU: 20})]}
    hourly.history(used)
    scribe.of(grain=1, window=("2026-10-01", "2026-10-04"), sent="2026-10-20").history(
        {"a": [("2026-10-01", {CPU: 100}), ("2026-10-03", {CPU: 200})]}
    )
    scribe.of(grain=2, window=("2026-08-01", "2026-09-01"), sent="2026-10-20").history(
        {"a": [("2026-08-01", {CPU: 7})]}
    )
    text = """
        select strftime(day_start at time zone 'UTC', '%m-%d') as day, metric, grain,
               value::varchar, certified_value::varchar
        from usage_day order by all"""
    expected = [
        ("08-01", CPU, 2, "7", "7"),
        ("10-01", CPU, 1, "100", "100"),
        ("10-03", CPU, 0, "1", "1"),
        ("10-03", "odd", 0, "2", "2"),
        ("10-04", CPU, 0, "30", "10"),
    ]
    assert frame(book.store, text).rows() == expected
    for zone in ("America/New_York", "Asia/Kathmandu"):
        book.store.connection.execute(f"set TimeZone = '{zone}'")
        assert frame(book.store, text).rows() == expected


def test_a_bucket_ends_where_its_grain_does_in_every_time_zone(book):
    scribe = Scribe(record=book.record)
    for grain, start, end in (
        (0, "2026-10-03", "2026-10-04"),
        (1, "2026-10-03", "2026-10-04"),
        (2, "2026-02-01", "2026-03-01"),
    ):
        asking = scribe.of(grain=grain, window=(start, end), sent="2026-10-20")
        asking.history({"a": [(start, {CPU: 1})]})
    for zone in ("UTC", "America/New_York"):
        book.store.connection.execute(f"set TimeZone = '{zone}'")
        ends = frame(book.store, "select grain, epoch(timeframe_end)::bigint from bucket_value order by grain").rows()
        stamps = [int(moment(text).timestamp()) for text in ("2026-10-03T01", "2026-10-04", "2026-03-01")]
        assert ends == list(enumerate(stamps))


# -- the manual

PAGE = (data_directory("sql").parent / "docs" / "store.md").read_text()


def test_the_manual_names_every_table_and_view_and_nothing_else(lived_in):
    cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    named = re.findall(r"`(\w+)`", "".join(cells))
    there = "select table_name from duckdb_tables() union all select view_name from duckdb_views() where not internal"
    registered = {"incoming", "reported", *FRAMES}
    assert sorted(named) == sorted(set(frame(lived_in, there).to_series()) - registered)


@pytest.mark.parametrize("statement", re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL))
def test_a_question_in_the_manual_can_be_asked(lived_in, statement):
    assert frame(lived_in, statement).width > 1
