"""Certification: what a complete read of history proves."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.core.meters import KNOWN_METRICS
from metering.core.period import HOUR, Period
from metering.usage.certification import FLEET_SUDDENLY_SILENT, Ended, Evidence, Verdict, grain_fault, verdict
from tests.support.scribe import moment

CPU, ROOT = KNOWN_METRICS[:2]
ALL = frozenset(KNOWN_METRICS)
ASKED = Period(start=moment("2026-10-05T00"), end=moment("2026-10-05T12"))
HELD_NOTHING = Evidence(omitted=frozenset(), missing=frozenset(), reporters={})


def ended(*, shows=ALL, sent="2026-10-05T12:00", is_whole=True, is_legacy=False, grain=0, grains=(0,)) -> Ended:
    return Ended(
        asked=ASKED,
        grain=grain,
        first_sent_at=moment(sent),
        metrics=frozenset(shows),
        grains=grains,
        is_whole=is_whole,
        is_legacy=is_legacy,
    )


def evidence(*, omitted=(), missing=(), **reporters: int) -> Evidence:
    return Evidence(omitted=frozenset(omitted), missing=frozenset(missing), reporters=reporters)


def hours(start: str, end: str) -> Period:
    return Period(start=moment(start), end=moment(end))


def test_a_full_read_certifies_the_hours_that_had_ended_an_hour_before_it_began():
    assert verdict(ended(), HELD_NOTHING) == Verdict(
        unproven=frozenset(), certified=hours("2026-10-05T00", "2026-10-05T11")
    )


def test_a_read_that_began_before_any_hour_had_ended_certifies_nothing():
    assert verdict(ended(sent="2026-10-05T00:30"), HELD_NOTHING).certified is None


def test_a_coarser_answer_certifies_whole_days():
    found = ended(sent="2026-10-07T00:00", grains=(1,))
    assert (found.answered, verdict(found, HELD_NOTHING).certified) == (1, None)  # half a day was asked for


def test_a_read_by_project_certifies_nothing():
    assert verdict(ended(is_whole=False), HELD_NOTHING) == Verdict(unproven=frozenset(), certified=None)


@pytest.mark.parametrize(("projects", "vanishes"), [(FLEET_SUDDENLY_SILENT - 1, set()), (FLEET_SUDDENLY_SILENT, {CPU})])
def test_a_metric_that_many_projects_reported_vanishes_if_no_project_shows_it(projects, vanishes):
    found = verdict(ended(shows=ALL - {CPU}), evidence(**{CPU: projects}))
    assert (found.vanished, found.certified is None) == (vanishes, bool(vanishes))


def test_a_metric_that_was_above_zero_in_provable_hours_vanishes_and_its_values_stay():
    found = verdict(ended(shows=ALL - {CPU}), evidence(omitted={CPU, ROOT}))
    assert found == Verdict(unproven=frozenset({CPU}), vanished=frozenset({CPU}), certified=None)


def test_a_missing_metric_returns_with_the_full_read_that_shows_it():
    found = verdict(ended(), evidence(missing={CPU}))
    assert (found.returned, found.certified is not None) == ({CPU}, True)


@pytest.mark.parametrize(("is_whole", "is_legacy"), [(False, False), (True, True), (False, True)])
def test_only_a_full_read_of_todays_endpoint_changes_which_metrics_are_missing(is_whole, is_legacy):
    found = verdict(
        ended(is_whole=is_whole, is_legacy=is_legacy, shows={ROOT}), evidence(omitted={CPU}, missing={ROOT})
    )
    assert (found.vanished, found.returned) == (set(), set())
    assert found.unproven == ({CPU} if is_whole else {CPU, ROOT})


@pytest.mark.parametrize(
    ("asked", "answered", "fault"),
    [
        (0, [], ""),
        (0, [1], ""),
        (1, [1], ""),
        (1, [0], "hourly buckets where daily ones were asked for"),
        (0, [0, 1], "buckets of hourly and daily length in one answer"),
    ],
)
def test_buckets_may_be_coarser_than_asked_but_neither_finer_nor_mixed(asked, answered, fault):
    assert grain_fault(asked, answered) == fault


# -- laws

METRICS = st.frozensets(st.sampled_from([*KNOWN_METRICS, "nobody_knows"]))
KNOWN = st.frozensets(st.sampled_from(KNOWN_METRICS))
READS = st.builds(
    Ended,
    asked=st.just(ASKED),
    grain=st.just(0),
    first_sent_at=st.integers(-3, 30).map(lambda hour: ASKED.start + hour * HOUR + timedelta(minutes=20)),
    metrics=METRICS,
    grains=st.sampled_from([(), (0,), (1,)]),
    is_whole=st.booleans(),
    is_legacy=st.booleans(),
)
REPORTERS = st.dictionaries(st.sampled_from(KNOWN_METRICS), st.integers(0, 20))
EVIDENCE = st.builds(Evidence, omitted=METRICS, missing=KNOWN, reporters=REPORTERS)


@settings(deadline=None)
@given(READS, EVIDENCE)
def test_certified_hours_were_asked_for_and_were_over_an_hour_before_the_first_request(read, held):
    found = verdict(read, held).certified
    if found is not None:
        assert read.is_whole
        assert ASKED.start <= found.start < found.end <= min(ASKED.end, read.first_sent_at - HOUR)


@settings(deadline=None)
@given(READS, EVIDENCE)
def test_hours_are_certified_only_if_every_value_left_out_is_proven_to_be_zero(read, held):
    found = verdict(read, held)
    assert not (found.unproven and found.certified)
    assert found.unproven.isdisjoint(read.metrics) or not read.is_whole
    known_and_hidden = (held.omitted & set(KNOWN_METRICS)) - read.metrics
    assert known_and_hidden <= found.unproven


@settings(deadline=None)
@given(READS, EVIDENCE)
def test_a_metric_is_missing_exactly_if_it_was_or_vanished_and_did_not_return(read, held):
    found = verdict(read, held)
    missing = (held.missing | found.vanished) - found.returned
    assert found.vanished.isdisjoint(held.missing)
    assert found.returned <= held.missing & read.metrics
    if read.is_whole and not read.is_legacy:
        assert missing == found.unproven


@settings(deadline=None)
@given(READS, EVIDENCE)
def test_the_verdict_on_a_read_that_was_judged_already_changes_nothing(read, held):
    first = verdict(read, held)
    missing = (held.missing | first.vanished) - first.returned
    again = verdict(read, Evidence(omitted=held.omitted, missing=missing, reporters=held.reporters))
    assert (again.vanished, again.returned, again.certified) == (set(), set(), first.certified)


@settings(deadline=None)
@given(READS, EVIDENCE, METRICS, REPORTERS)
def test_more_evidence_against_a_read_never_makes_it_certify_more(read, held, omitted, reporters):
    most = {name: max(held.reporters.get(name, 0), reporters.get(name, 0)) for name in KNOWN_METRICS}
    worse = Evidence(omitted=held.omitted | omitted, missing=held.missing, reporters=most)
    assert verdict(read, worse).unproven >= verdict(read, held).unproven
    assert verdict(read, worse).certified in {None, verdict(read, held).certified}
