import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.cli import cli
from metering.core.errors import UsageError
from metering.core.period import month_of
from metering.invoicing import outlook as month_outlook
from metering.quotas import status
from metering.reporting import gather
from metering.store import snapshots
from metering.usage import forecast
from metering.usage.forecast import Outlook
from tests.support.books import Books, configured, when

MONDAY = datetime(2026, 9, 7, tzinfo=UTC)
END = datetime(2026, 10, 1, tzinfo=UTC)
COMPUTE = "compute_unit_seconds"


def slots(values):
    """{slot: value over all weeks}, as SLOTS of one project."""
    rows = [("p", "q", slot, value * forecast.PARTS) for slot, value in values.items()]
    return pl.DataFrame(rows, schema=forecast.SLOTS, orient="row")


def rest(values, now, end=END):
    schema = {"project_id": pl.String, "quota": pl.String, "period_end": pl.Datetime("us", "UTC")}
    ends = pl.DataFrame([("p", "q", end)], schema=schema, orient="row")
    return forecast.rests(slots(values), ends, now)["rest"].sum()


# -- the hours that are left


def test_a_week_has_every_hour_once():
    assert forecast.hours_left(MONDAY, MONDAY + timedelta(weeks=1)) == (1,) * 168


def test_only_hours_that_have_not_begun_are_left():
    left = forecast.hours_left(MONDAY + timedelta(minutes=1), MONDAY + timedelta(hours=3))
    assert [slot for slot, count in enumerate(left) if count] == [1, 2]
    assert sum(forecast.hours_left(END, END)) == 0


@given(st.integers(0, 10**6), st.integers(0, 1500))
def test_the_hours_left_are_as_many_as_there_are(minutes, hours):
    now = MONDAY + timedelta(minutes=minutes)
    first = now if minutes % 60 == 0 else now + timedelta(minutes=60 - minutes % 60)
    assert sum(forecast.hours_left(now, first + timedelta(hours=hours))) == hours


# -- what is expected


def test_an_hour_of_the_week_is_as_it_was():
    # Mondays at 9, Tuesdays at 10; from Monday the 7th to October are left: four Mondays, four Tuesdays.
    values = {9: 30, 24 + 10: 7}
    assert forecast.outlook(100, rest(values, MONDAY), 1, None, 576) == Outlook(
        expected=100 + 4 * 30 + 4 * 7, low=None, high=None
    )
    assert forecast.outlook(100, rest(values, MONDAY), 2, None, 576).expected == 100 + (4 * 30 + 4 * 7) // 2


def test_weeks_that_are_alike_leave_no_range():
    assert forecast.outlook(5, rest({0: 40}, MONDAY), 4, 0, 576) == Outlook(expected=45, low=45, high=45)


def test_weeks_that_differ_give_a_range_that_never_falls_below_what_was_used():
    found = forecast.outlook(1000, rest({0: 40}, MONDAY), 4, 10**9, 576)
    assert found.low == 1000
    assert found.high is not None and found.high > found.expected == 1040


def test_the_range_is_exact():
    # Two weeks, one weekday with 10 and 30: spread = 2 * (100 + 900) - 40 * 40 = 400; a day's variance = 400 / 14.
    # One day is left, seen over 14: 400 / 14 * (1 + 1 / 14) * (7 / 4) ** 2 = 93.7..., whose root is 9.68.
    assert forecast.outlook(0, 24 * 2 * 100, 2, 400, 24) == Outlook(expected=100, low=91, high=109)


def test_spread_counts_days_without_usage_as_zero():
    days = pl.DataFrame(
        [("p", "q", 1, 40, 1000), ("p", "q", 2, 5, 25)],
        schema=["project_id", "quota", "weekday", "total", "squares"],
        orient="row",
    )
    weeks = pl.DataFrame([("p", 2)], schema=["project_id", "weeks"], orient="row")
    # 10 and 30 on Mondays, 5 and nothing on Tuesdays.
    assert forecast.spread_of(days, weeks)["spread"].to_list() == [2 * 1000 - 1600 + 2 * 25 - 25]


def test_a_days_bucket_is_spread_over_its_hours():
    profile = pl.DataFrame(
        [("p", 1, 0, 7, 0), ("p", 0, 3, 2, 1)],
        schema={
            "project_id": pl.String, "grain": pl.UInt8, "slot": pl.Int64,
            "compute_time_seconds": pl.Decimal(38, 0), "data_transfer_bytes": pl.Decimal(38, 0),
        },
        orient="row",
    )  # fmt: skip

    found = {(quota, slot): value for _, quota, slot, value in forecast.slots_of(profile).iter_rows()}

    assert sum(value for (quota, _), value in found.items() if quota == "compute_time_seconds") == 24 * (7 + 2)
    assert found["compute_time_seconds", 3] == 7 + 24 * 2
    assert found["data_transfer_bytes", 3] == 24


# -- when


def reached(target, used=0, values=None, now=MONDAY, weeks=1):
    found = {slot: value * forecast.PARTS for slot, value in (values or {9: 30}).items()}
    return forecast.reached_at(used, target, found, weeks, now, END)


def test_a_target_is_reached_at_the_end_of_the_hour_that_brings_it():
    assert reached(30) == MONDAY + timedelta(hours=10)
    assert reached(31) == MONDAY + timedelta(days=7, hours=10)
    assert reached(120) == MONDAY + timedelta(days=21, hours=10)
    assert reached(121) is None
    assert reached(15, weeks=2) == MONDAY + timedelta(hours=10)


def test_a_target_behind_us_is_not_ahead():
    assert reached(30, used=30) is None


# -- from the store


PLAN = """
[[plans]]
id = "pro"
currency = "USD"
[plans.quota]
compute_time_seconds = 360000
"""


def office(first, days, value):
    """Nine hours a day from Monday to Friday."""
    start = when(first)
    return {
        (start + timedelta(days=day, hours=hour)).strftime("%Y-%m-%dT%H"): {COMPUTE: value}
        for day in range(days)
        for hour in range(8, 17)
        if (start + timedelta(days=day)).weekday() < 5
    }


def forecasts(tmp_path, now, *, since, created="2026-01-01", value=1800):
    found = configured(tmp_path, PLAN, default_plan="pro")
    books = Books(found.store.directory)
    with books.open() as ledger:
        books.inventory(ledger, {"a": ("a", created)}, at=now)
        days = (when(now) - when(since)).days
        usage = office(since, days, value)
        books.history(ledger, {"a": usage}, since=since, until=now, at=now)
    with snapshots.open_reader(found.store.directory) as reader:
        rows = status.quota_rows(status.running(reader, terms.of(found), when(now)), (80, 95))
    return {row.quota: row.document() for row in rows}["compute_time_seconds"]


def test_four_weeks_of_office_hours_are_carried_on(tmp_path):
    row = forecasts(tmp_path, "2026-09-12", since="2026-08-10")  # a Saturday

    # Nine office days are behind in September, thirteen ahead, nine half CU-hours each.
    assert row["used"] == str(9 * 9 * 1800)
    assert row["forecast"]["method"] == "profile of 4 weeks"
    assert row["forecast"]["percent_at_period_end"] == "99.00"  # 22 x 9 x 1800 of 360000; a line would say 110.45
    assert (row["forecast"]["percent_low"], row["forecast"]["percent_high"]) == ("99.00", "99.00")
    # 80 % are 288000: 7 more of the 16 half hours of a day ... reached on the 24th, 95 % on the 29th.
    assert row["forecast"]["reaches_80_at"] == "2026-09-24T15:00:00Z"
    assert row["forecast"]["reaches_95_at"] == "2026-09-30T09:00:00Z"
    assert row["forecast"]["reaches_100_at"] is None


@pytest.mark.parametrize(
    ("since", "created", "method"),
    [
        ("2026-08-10", "2026-01-01", "profile of 4 weeks"),
        ("2026-08-10", "2026-08-25", "profile of 2 weeks"),
        ("2026-09-05", "2026-01-01", "profile of 1 week"),
        ("2026-09-06", "2026-01-01", "linear"),
    ],
)
def test_only_whole_weeks_without_a_gap_count(tmp_path, since, created, method):
    assert forecasts(tmp_path, "2026-09-12", since=since, created=created)["forecast"]["method"] == method


def test_a_quota_far_from_full_keeps_the_line(tmp_path):
    # Nine days of nine hours, 52650 CU-seconds in eleven of thirty days: the line ends below 40 %.
    row = forecasts(tmp_path, "2026-09-12", since="2026-08-10", value=650)

    assert row["forecast"]["percent_at_period_end"] == "39.88"
    assert row["forecast"]["method"] == "linear"


def test_a_counter_that_history_never_showed_is_not_carried_on_from_history(tmp_path):
    found = configured(tmp_path, PLAN, default_plan="pro")
    books = Books(found.store.directory)
    with books.open() as ledger:
        books.inventory(ledger, {"a": "a"}, at="2026-09-16")
        books.history(ledger, {"a": {}}, since="2026-08-01", until="2026-09-16", at="2026-09-16")
        books.counters(ledger, "a", compute_time_seconds=180_000)
    with snapshots.open_reader(found.store.directory) as reader:
        rows = status.quota_rows(status.running(reader, terms.of(found), when("2026-09-16")), (80, 95))

    [row] = [row.document() for row in rows if row.quota == "compute_time_seconds"]
    assert row["forecast"]["percent_at_period_end"] == "100.00"
    assert row["forecast"]["reaches_80_at"] == "2026-09-25T00:00:00Z"
    assert row["forecast"]["method"] == "linear"


# -- what the month will cost

PRICED = """
[[plans]]
id = "pro"
currency = "USD"
base_fee = "20.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "graduated"
included = "100"
tiers = [{ up_to = "500", unit_price = "0.20" }, { unit_price = "0.10" }]
[[plans.prices]]
meter = "extra_branches"
valid_from = 2026-01-01
model = "per_unit"
included_per_hour = "9"
unit_price = "1.50"
"""


def steady(first, hours, **metrics):
    return {(when(first) + timedelta(hours=n)).strftime("%Y-%m-%dT%H"): metrics for n in range(hours)}


def ahead(tmp_path, usage, *, since="2026-08-18", now="2026-09-16", created="2026-01-01"):
    found = configured(tmp_path, PRICED, default_plan="pro")
    books = Books(found.store.directory)
    with books.open() as ledger:
        books.inventory(ledger, dict.fromkeys(usage, ("a", created)), at=now)
        books.history(ledger, usage, since=since, until=now, at=now)
    with snapshots.open_reader(found.store.directory) as reader:
        period = month_of(when(now))
        return month_outlook.outlook(
            Month(recorded=Recorded(store=reader), terms=terms.of(found), period=period, now=when(now))
        ).document()


def test_a_steady_project_comes_to_what_its_whole_month_costs(tmp_path):
    usage = {"a": steady("2026-08-18", 29 * 24, compute_unit_seconds=3600, extra_branches_month=11)}

    document = ahead(tmp_path, usage)

    # 15 days: 360 CU-hours less 100, and 2 branches above 9 for 360 hours; all 30 days: 620 beyond, and 720 hours.
    [row] = document["customers"]
    assert row["so_far"] == "73.45"  # 20 + 260 x 0.20 + 720 / 744 x 1.50
    assert row["expected"] == "134.90"  # 20 + 500 x 0.20 + 120 x 0.10 + 1440 / 744 x 1.50
    assert (row["low"], row["high"]) == ("134.90", "134.90")
    assert document["hours_left"] == "360"
    # Neon on its scale plan: 720 x 0.222; 24 branches are included.
    assert document["neon_cost"]["expected"] == "159.84"


def test_the_range_is_the_quietest_and_the_busiest_week(tmp_path):
    usage = {**steady("2026-08-19", 28 * 24, compute_unit_seconds=1800)}
    usage |= steady("2026-09-09", 7 * 24, compute_unit_seconds=3600)

    document = ahead(tmp_path, {"a": usage}, since="2026-08-19")

    # So far 96 + 168 = 264 CU-hours; 360 hours are left, at 0.625 on the mean, at 0.5 or 1 in single weeks.
    [row] = document["customers"]
    assert (row["so_far"], row["expected"]) == ("52.80", "97.80")  # 164, 389 beyond
    assert (row["low"], row["high"]) == ("88.80", "122.40")  # 344, and 524 of which 24 in the second tier


def test_a_young_project_goes_on_as_it_began(tmp_path):
    usage = {"a": steady("2026-09-14", 48, compute_unit_seconds=36000)}

    document = ahead(tmp_path, usage, created="2026-09-14")

    [row] = document["customers"]
    # 480 CU-hours in two days, 3600 in the fifteen to come; the fee from the 14th on.
    assert row["expected"] == "459.33"  # 11.33 + 500 x 0.20 + 3480 x 0.10
    assert (row["low"], row["high"]) == (None, None)
    assert document["method"] == "mean of the month so far"


def test_a_month_that_is_over_has_no_forecast(tmp_path):
    found = configured(tmp_path, PRICED, default_plan="pro")
    with snapshots.open_reader(found.store.directory) as reader:
        over = Month(recorded=Recorded(store=reader), terms=terms.of(found), period=month_of(MONDAY), now=END)
        with pytest.raises(UsageError, match="2026-09 is over"):
            month_outlook.outlook(over)


def test_the_report_of_the_running_month_has_it_and_no_other(tmp_path):
    found = configured(tmp_path, PRICED, default_plan="pro")
    books = Books(found.store.directory)
    usage = {"a": steady("2026-08-18", 29 * 24, compute_unit_seconds=3600)}
    with books.open() as ledger:
        books.inventory(ledger, {"a": ("a", "2026-01-01")}, at="2026-09-16")
        books.history(ledger, usage, since="2026-08-18", until="2026-09-16", at="2026-09-16")
    now = when("2026-09-16")
    with snapshots.open_reader(found.store.directory) as reader:
        for name in ("2026-09", "2026-08"):
            gather.write(reader, found, month_of(when(f"{name}-01")), now, {"json", "html"})
    reports = found.store.directory / "reports"
    outlook = json.loads((reports / "2026-09" / "report.json").read_text())["outlook"]
    # 20 + 500 x 0.20 + 120 x 0.10 for 720 hours, of which 360 are left.
    assert (outlook["totals"][0]["expected"], outlook["hours_left"]) == ("132.00", "360")
    assert 'id="outlook"' in (reports / "2026-09" / "report.html").read_text()
    assert json.loads((reports / "2026-08" / "report.json").read_text())["outlook"] is None


def test_quota_tells_what_the_month_will_come_to_where_it_is_asked(tmp_path):
    found = configured(tmp_path, PRICED, default_plan="pro")
    books = Books(found.store.directory)
    with books.open() as ledger:
        books.inventory(ledger, {"a": ("a", "2026-01-01")}, at="2026-09-16")
        usage = {"a": steady("2026-08-18", 29 * 24, compute_unit_seconds=3600)}
        books.history(ledger, usage, since="2026-08-18", until="2026-09-16", at="2026-09-16")

    def run(*arguments):
        given = ["quota", *arguments, "--format", "json", "--config", str(found.path)]
        return json.loads(CliRunner().invoke(cli, given, env={"METERING_NOW": "2026-09-16T00:00:00Z"}).stdout)

    assert "month" not in run()
    assert run("--cost")["month"]["totals"][0]["expected"] == "132.00"
