"""Coverage, rule by rule: which hours are certified, which buckets count, what is a gap, what to read next."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.core.period import HOUR, Period, month_of
from metering.usage.coverage import (
    DAILY,
    HOURLY,
    MONTHLY,
    Certified,
    Coverage,
    Timeframes,
    certified_from,
    certified_until,
    gaps,
    selection,
)
from metering.usage.windows import Wanted, Window, windows
from tests.support.scribe import moment

OCTOBER = month_of(moment("2026-10-01"))
NOW = moment("2026-10-20T12:05")


def span(start: str, end: str) -> Period:
    return Period(start=moment(start), end=moment(end))


def hourly(*spans: tuple[str, str]) -> Certified:
    return Certified.of((HOURLY, span(*found)) for found in spans)


# -- what a walk certifies


@pytest.mark.parametrize(
    ("sent", "until"),
    [
        ("2026-10-05T13:00", "2026-10-05T12"),  # the hour 11-12 ended exactly an hour before
        ("2026-10-05T12:59:59", "2026-10-05T11"),
        ("2026-10-05T13:59:59", "2026-10-05T12"),
        ("2026-10-06T00:30", "2026-10-05T23"),
    ],
)
def test_an_hour_is_certified_by_a_request_sent_an_hour_after_its_end(sent, until):
    assert certified_until(HOURLY, moment(sent), moment("2026-10-07")) == moment(until)


@pytest.mark.parametrize(("sent", "until"), [("2026-10-06T01:00", "2026-10-06"), ("2026-10-06T00:59:59", "2026-10-05")])
def test_a_day_is_certified_by_a_request_sent_an_hour_after_its_end(sent, until):
    assert certified_until(DAILY, moment(sent), moment("2026-10-07")) == moment(until)


@pytest.mark.parametrize(("sent", "until"), [("2026-11-01T01:00", "2026-11-01"), ("2026-11-01T00:59:59", "2026-10-01")])
def test_a_month_is_certified_by_a_request_sent_an_hour_after_its_end(sent, until):
    assert certified_until(MONTHLY, moment(sent), moment("2026-12-01")) == moment(until)


def test_nothing_is_certified_that_was_not_asked_for():
    sent = moment("2026-10-20")
    assert certified_until(HOURLY, sent, moment("2026-10-05T07")) == moment("2026-10-05T07")
    assert certified_until(DAILY, sent, moment("2026-10-05T07")) == moment("2026-10-05")
    assert certified_until(MONTHLY, sent, moment("2026-10-05T07")) == moment("2026-10-01")


@pytest.mark.parametrize(
    ("grain", "asked", "first"),
    [
        (HOURLY, "2026-10-05T07", "2026-10-05T07"),
        (HOURLY, "2026-10-05T07:00:01", "2026-10-05T08"),
        (DAILY, "2026-10-05", "2026-10-05"),
        (DAILY, "2026-10-05T01", "2026-10-06"),
        (MONTHLY, "2026-10-01", "2026-10-01"),
        (MONTHLY, "2026-10-01T01", "2026-11-01"),
        (MONTHLY, "2026-02-28T23", "2026-03-01"),
        (MONTHLY, "2026-12-31", "2027-01-01"),
    ],
)
def test_a_bucket_that_began_before_the_window_is_not_certified(grain, asked, first):
    assert certified_from(grain, moment(asked)) == moment(first)


def test_stretches_that_meet_are_one_and_grains_stay_apart():
    found = Certified.of(
        [
            (HOURLY, span("2026-10-02", "2026-10-03")),
            (HOURLY, span("2026-10-01", "2026-10-02")),
            (DAILY, span("2026-10-03", "2026-10-04")),
        ]
    )
    assert found.hourly == (span("2026-10-01", "2026-10-03"),)
    assert found.daily == (span("2026-10-03", "2026-10-04"),)
    assert found.covered(OCTOBER) == [span("2026-10-01", "2026-10-04")]


# -- which buckets count


def counting(certified: Certified, *, is_open: bool = False) -> list[tuple[int, Period]]:
    return [(part.grain, part.period) for part in selection(certified, OCTOBER, is_open=is_open)]


def test_a_month_whose_hours_are_all_certified_counts_from_hours_alone():
    found = Certified.of([(HOURLY, OCTOBER), (DAILY, OCTOBER), (MONTHLY, OCTOBER)])
    assert counting(found) == [(HOURLY, OCTOBER)]


def test_a_day_with_one_hour_uncertified_counts_from_its_daily_bucket_alone():
    found = Certified.of(
        [
            (HOURLY, span("2026-10-01", "2026-10-05T07")),
            (HOURLY, span("2026-10-05T08", "2026-11-01")),
            (DAILY, OCTOBER),
        ]
    )
    assert counting(found) == [
        (HOURLY, span("2026-10-01", "2026-10-05")),
        (HOURLY, span("2026-10-06", "2026-11-01")),
        (DAILY, span("2026-10-05", "2026-10-06")),
    ]


def test_a_month_with_one_day_unknown_counts_from_its_monthly_bucket_alone():
    found = Certified.of(
        [
            (HOURLY, span("2026-10-01", "2026-10-05T07")),
            (DAILY, span("2026-10-06", "2026-11-01")),
            (MONTHLY, OCTOBER),
        ]
    )
    assert counting(found) == [(MONTHLY, OCTOBER)]


def test_without_its_monthly_bucket_a_month_counts_what_is_certified_of_it():
    found = Certified.of([(HOURLY, span("2026-10-01", "2026-10-05T07")), (DAILY, span("2026-10-06", "2026-11-01"))])
    assert counting(found) == [
        (HOURLY, span("2026-10-01", "2026-10-05T07")),
        (DAILY, span("2026-10-06", "2026-11-01")),
    ]


def test_an_open_month_also_counts_hours_that_are_not_certified():
    assert counting(hourly(("2026-10-01", "2026-10-05T07"))) == [(HOURLY, span("2026-10-01", "2026-10-05T07"))]
    assert counting(hourly(("2026-10-01", "2026-10-05T07")), is_open=True) == [(HOURLY, OCTOBER)]
    assert counting(Certified(), is_open=True) == [(HOURLY, OCTOBER)]
    assert counting(Certified()) == []


def test_coverage_of_other_months_changes_nothing():
    around = hourly(("2026-09-01", "2026-10-01"), ("2026-11-01", "2026-12-01"))
    assert counting(around) == []


STRETCHES = st.lists(
    st.tuples(
        st.sampled_from([HOURLY, DAILY, MONTHLY]),
        st.integers(min_value=-30, max_value=800),
        st.integers(min_value=1, max_value=800),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(STRETCHES)
def test_no_hour_ever_counts_in_two_grains_and_what_counts_is_certified(stretches):
    rounded = {HOURLY: 1, DAILY: 24, MONTHLY: 744}
    certified = Certified.of(
        (
            grain,
            Period(
                start=OCTOBER.start + (start // rounded[grain]) * rounded[grain] * HOUR,
                end=OCTOBER.start + (start // rounded[grain] + -(-length // rounded[grain])) * rounded[grain] * HOUR,
            ),
        )
        for grain, start, length in stretches
    )
    chosen = selection(certified, OCTOBER, is_open=False)
    for hour in (OCTOBER.start + number * HOUR for number in range(744)):
        within = [part.grain for part in chosen if part.period.contains(hour)]
        assert len(within) <= 1
        if within:
            assert certified.covers(Period(start=hour, end=hour + HOUR), within[0])


# -- gaps


def test_a_gap_is_what_ended_and_nothing_certifies():
    found = hourly(("2026-10-01", "2026-10-05"), ("2026-10-06", "2026-10-20"))
    assert gaps(found, OCTOBER, NOW) == [span("2026-10-05", "2026-10-06"), span("2026-10-20", "2026-10-20T12")]
    assert gaps(found, OCTOBER, moment("2026-10-05T00:59:59")) == []
    assert gaps(found, OCTOBER, moment("2026-10-05T01")) == [span("2026-10-05", "2026-10-05T01")]


def test_a_month_that_has_not_begun_has_no_gaps():
    assert gaps(Certified(), OCTOBER, OCTOBER.start) == []
    assert gaps(Certified(), OCTOBER, moment("2026-09-15")) == []


def test_gaps_end_with_the_month():
    assert gaps(Certified(), OCTOBER, moment("2026-12-01")) == [OCTOBER]


def test_an_hour_is_covered_where_every_organization_covers_it():
    coverage = Coverage(
        month=OCTOBER,
        certified={"a": hourly(("2026-10-01", "2026-10-03")), "b": hourly(("2026-10-02", "2026-11-01"))},
        reasons={"b": "broken"},
    )
    assert (coverage.hours(), coverage.covered_hours(), coverage.is_complete()) == (744, 24, False)
    assert coverage.gaps(moment("2026-10-04")) == [
        {
            "organization": "a",
            "start": "2026-10-03T00:00:00Z",
            "end": "2026-10-04T00:00:00Z",
            "reason": "not_read",
        },
        {"organization": "b", "start": "2026-10-01T00:00:00Z", "end": "2026-10-02T00:00:00Z", "reason": "broken"},
    ]


def test_where_only_sponsored_organizations_exist_there_is_nothing_to_cover():
    coverage = Coverage(month=OCTOBER, certified={})
    assert (coverage.hours(), coverage.covered_hours(), coverage.is_complete()) == (0, 0, True)
    assert coverage.gaps(NOW) == []


def test_a_months_grain_is_the_coarsest_that_counts_in_any_organization():
    coarse = Certified.of([(HOURLY, span("2026-10-01", "2026-10-05")), (DAILY, OCTOBER)])
    assert Coverage(month=OCTOBER, certified={"a": hourly(("2026-10-01", "2026-11-01"))}).grain() == "hourly"
    assert Coverage(month=OCTOBER, certified={"a": Certified(hourly=(OCTOBER,)), "b": coarse}).grain() == "daily"


# -- what to read next


def asked(certified: Certified, since: str, now=NOW, until: str | None = None, *, sweep: bool = False) -> list[Window]:
    wanted = Wanted(since=moment(since), until=moment(until) if until else None, sweep=sweep)
    return windows(certified, wanted, now)


def window(grain: int, start: str, end: str) -> Window:
    return Window(grain=grain, period=span(start, end))


def test_a_poll_reads_the_last_day_and_the_running_hour():
    found = hourly(("2026-10-01", "2026-10-20T11"))
    assert asked(found, "2026-10-01") == [window(HOURLY, "2026-10-19T12", "2026-10-20T13")]


def test_a_poll_may_look_back_less_far_and_still_heals_what_is_owed():
    def looks_back(certified: Certified) -> list[Window]:
        return windows(certified, Wanted(since=moment("2026-10-01"), reread_hours=3), NOW)

    assert looks_back(hourly(("2026-10-01", "2026-10-20T11"))) == [window(HOURLY, "2026-10-20T09", "2026-10-20T13")]
    assert looks_back(hourly(("2026-10-01", "2026-10-20T07"))) == [window(HOURLY, "2026-10-20T07", "2026-10-20T13")]


def test_a_poll_on_the_hour_asks_for_the_hour_that_just_began():
    found = hourly(("2026-10-01", "2026-10-20T11"))
    assert asked(found, "2026-10-01", moment("2026-10-20T12")) == [window(HOURLY, "2026-10-19T12", "2026-10-20T13")]


def test_a_hole_within_reach_is_read_again_by_the_hour():
    found = hourly(("2026-10-01", "2026-10-15T07"), ("2026-10-15T08", "2026-10-20T11"))
    assert asked(found, "2026-10-01") == [window(HOURLY, "2026-10-15T07", "2026-10-20T13")]


def test_a_sweep_asks_for_everything_that_is_kept_by_the_hour():
    found = hourly(("2026-10-01", "2026-10-20T11"))
    assert asked(found, "2026-10-01", sweep=True) == [window(HOURLY, "2026-10-13T14", "2026-10-20T13")]
    assert (moment("2026-10-20T12") - moment("2026-10-13T14")) // HOUR == 166


def test_a_hole_beyond_the_reach_of_hours_is_read_by_the_day():
    reach = "2026-10-13T14"
    found = hourly(("2026-10-01", "2026-10-05T07"), ("2026-10-05T08", "2026-10-20T11"))
    assert asked(found, "2026-10-01") == [
        window(HOURLY, "2026-10-19T12", "2026-10-20T13"),
        window(DAILY, "2026-10-05", "2026-10-06"),
    ]
    just_within = hourly(("2026-10-01", reach), ("2026-10-13T15", "2026-10-20T11"))
    assert asked(just_within, "2026-10-01")[0] == window(HOURLY, reach, "2026-10-20T13")


def test_a_day_that_the_reach_cuts_in_two_is_read_by_the_day_as_well():
    found = hourly(("2026-10-14", "2026-10-20T11"))
    assert asked(found, "2026-10-13") == [
        window(HOURLY, "2026-10-13T14", "2026-10-20T13"),
        window(DAILY, "2026-10-13", "2026-10-14"),
    ]


def test_a_day_known_by_its_daily_bucket_is_not_asked_for_again():
    found = Certified.of([(HOURLY, span("2026-10-06", "2026-10-20T11")), (DAILY, span("2026-10-01", "2026-10-06"))])
    assert asked(found, "2026-10-01") == [window(HOURLY, "2026-10-19T12", "2026-10-20T13")]


def test_days_are_asked_for_as_far_back_as_they_are_kept_and_months_beyond():
    found = hourly(("2026-10-13", "2026-10-20T11"))
    first_day = "2026-08-23"
    assert (moment("2026-10-20") - moment(first_day)) // timedelta(days=1) == 58
    assert asked(found, "2026-06-15")[1:] == [
        window(DAILY, first_day, "2026-10-13"),
        window(MONTHLY, "2026-06-01", "2026-09-01"),
    ]


def test_months_are_asked_for_eleven_months_back():
    found = hourly(("2026-10-13", "2026-10-20T11"))
    assert asked(found, "2024-03-01")[2] == window(MONTHLY, "2025-11-01", "2026-09-01")


def test_a_month_known_by_its_monthly_bucket_is_not_asked_for_again():
    found = Certified.of([(HOURLY, span("2026-10-13", "2026-10-20T11")), (MONTHLY, span("2026-06-01", "2026-09-01"))])
    assert asked(found, "2026-06-15")[1:] == [window(DAILY, "2026-09-01", "2026-10-13")]


def test_the_running_day_is_never_asked_for_by_the_day():
    assert asked(Certified(), "2026-10-20T05") == [window(HOURLY, "2026-10-19T12", "2026-10-20T13")]


def test_a_first_poll_reads_the_running_month():
    assert asked(Certified(), "2026-10-01") == [
        window(HOURLY, "2026-10-13T14", "2026-10-20T13"),
        window(DAILY, "2026-10-01", "2026-10-14"),
    ]


def test_a_backfill_to_a_moment_asks_for_nothing_behind_it():
    assert asked(Certified(), "2026-10-01", until="2026-10-03") == [window(DAILY, "2026-10-01", "2026-10-03")]
    assert asked(Certified(), "2026-10-15", until="2026-10-16T05") == [
        window(HOURLY, "2026-10-15T00", "2026-10-16T05"),
    ]


def test_timeframes_are_plain_values():
    assert selection(hourly(("2026-10-01", "2026-11-01")), OCTOBER, is_open=False) == [
        Timeframes(grain=HOURLY, period=OCTOBER)
    ]
