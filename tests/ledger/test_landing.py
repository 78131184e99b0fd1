"""Projection of pages into rows: changes, omissions, gaps, sightings. Pages and rows are literals."""

import json
from collections.abc import Iterator

import pytest

from metering.core.errors import StoreDamagedError
from metering.core.period import parse_time
from tests.support.scribe import (
    BIG,
    Memory,
    Scribe,
    certified,
    count,
    frame,
    history_bodies,
    inventory_body,
    rows,
    values,
)

CPU = "compute_unit_seconds"
ROOT = "root_branch_bytes_month"


@pytest.fixture
def book() -> Iterator[Memory]:
    memory = Memory()
    yield memory
    memory.store.connection.close()


@pytest.fixture
def scribe(book: Memory) -> Scribe:
    return Scribe(record=book.record)


def changes(book: Memory) -> int:
    return count(book.store, "observation") + count(book.store, "observation_other")


def fault(book: Memory) -> list[str]:
    return [row[0] for row in book.store.connection.execute("select fault from page where fault <> ''").fetchall()]


# -- changes


def test_a_first_sight_is_kept_and_polling_again_adds_nothing(book, scribe):
    page = {"a": [("2026-10-05T03", {CPU: 5, ROOT: 0}), ("2026-10-05T04", {CPU: 7})], "b": []}
    scribe.history(page)
    assert changes(book) == 2
    scribe.history(page)
    scribe.of(sent="2026-10-05T13:00").history(page)
    assert changes(book) == 2
    assert values(book.store) == {("a", "2026-10-05T03"): 5, ("a", "2026-10-05T04"): 7}


def test_a_zero_is_no_change(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 0, ROOT: 0})]})
    assert changes(book) == 0


def test_a_page_ledger_row_says_how_much_the_page_changed(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})]}, {"b": [("2026-10-05T03", {CPU: 0})]})
    assert [row[-4:] for row in rows(book.store, "page")] == [(1, [CPU], [0], None), (0, [CPU], [0], None)]


def test_a_value_revised_upward_keeps_the_difference_and_the_page_that_showed_it(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})]})
    last = scribe.history({"a": [("2026-10-05T03", {CPU: 9})]})
    assert values(book.store) == {("a", "2026-10-05T03"): 9}
    trail = book.store.connection.execute("select seq, change from observed_value order by seq").fetchall()
    assert trail == [(1, 5), (last - 1, 4)]


def test_a_value_revised_downward_counts_as_the_last_one_observed(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 9})]})
    scribe.history({"a": [("2026-10-05T03", {CPU: 2})]})
    assert values(book.store) == {("a", "2026-10-05T03"): 2}


def test_each_metric_of_a_bucket_changes_on_its_own(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 9, ROOT: 100})]})
    scribe.history({"a": [("2026-10-05T03", {CPU: 9, ROOT: 70})]})
    assert values(book.store, CPU) == {("a", "2026-10-05T03"): 9}
    assert values(book.store, ROOT) == {("a", "2026-10-05T03"): 70}


def test_a_bucket_in_two_neon_periods_counts_in_both_parts(book, scribe):
    body = history_bodies({"a": {"one": [("2026-10-05T03", {CPU: 4})], "two": [("2026-10-05T03", {CPU: 6})]}})
    scribe.history(body)
    assert values(book.store) == {("a", "2026-10-05T03"): 10}
    assert count(book.store, "neon_period") == 2
    body = history_bodies({"a": {"one": [("2026-10-05T03", {CPU: 1})], "two": [("2026-10-05T03", {CPU: 6})]}})
    scribe.history(body)
    assert values(book.store) == {("a", "2026-10-05T03"): 7}


def test_the_same_project_in_two_organizations_has_a_row_in_each(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})]})
    scribe.of(organization="org-b").history({"a": [("2026-10-05T04", {CPU: 6})]})
    assert [row[1:] for row in rows(book.store, "project")] == [("org-a", "a"), ("org-b", "a")]


def test_buckets_outside_the_window_asked_for_are_left_aside(book, scribe):
    early, first, last, behind = "2026-10-04T23", "2026-10-05T00", "2026-10-05T11", "2026-10-05T12"
    scribe.history({"a": [(start, {CPU: 1}) for start in (early, first, last, behind)]})
    assert list(values(book.store)) == [("a", first), ("a", last)]


# -- omissions


def test_what_a_complete_walk_omits_in_a_certified_hour_is_zero_and_listed(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5}), ("2026-10-05T04", {CPU: 7})]})
    scribe.history({"a": [("2026-10-05T04", {CPU: 7})]})
    assert values(book.store) == {("a", "2026-10-05T04"): 7}
    listed = book.store.query("operations/revised_to_zero").select("project_id", "metric", "value").rows()
    assert [(project, metric, int(value)) for project, metric, value in listed] == [("a", CPU, 5)]


def test_a_metric_omitted_from_one_bucket_leaves_the_others_of_the_bucket(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5, ROOT: 8})], "b": [("2026-10-05T03", {CPU: 1})]})
    scribe.history({"a": [("2026-10-05T03", {ROOT: 8})], "b": [("2026-10-05T03", {CPU: 1})]})
    assert values(book.store, CPU) == {("b", "2026-10-05T03"): 1}
    assert values(book.store, ROOT) == {("a", "2026-10-05T03"): 8}


def test_null_is_not_reported(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})], "b": [("2026-10-05T03", {CPU: 1})]})
    scribe.history({"a": [("2026-10-05T03", {CPU: None})], "b": [("2026-10-05T03", {CPU: 1})]})
    assert values(book.store) == {("b", "2026-10-05T03"): 1}


def test_an_omission_counts_only_at_the_end_of_its_walk(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})], "b": [("2026-10-05T03", {CPU: 1})]})
    walk = scribe.begin()
    scribe.page(walk, {"a": []})
    book.flush()
    assert values(book.store) == {("a", "2026-10-05T03"): 5, ("b", "2026-10-05T03"): 1}
    scribe.page(walk, {"b": [("2026-10-05T03", {CPU: 1})]})
    scribe.end(walk)
    assert values(book.store) == {("b", "2026-10-05T03"): 1}


@pytest.mark.parametrize("kind", ["broken", "unavailable", "credentials"])
def test_what_a_broken_walk_omits_stands(book, scribe, kind):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})]})
    scribe.history({"a": []}, kind=kind)
    assert values(book.store) == {("a", "2026-10-05T03"): 5}
    assert count(book.store, "omission") == 0
    assert certified(book.store) == [(0, "2026-10-05T00", "2026-10-05T11")]  # by the first walk


def test_pages_of_a_broken_walk_are_kept_and_certify_nothing(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})]}, kind="broken")
    assert values(book.store) == {("a", "2026-10-05T03"): 5}
    assert certified(book.store) == []


def test_a_refused_page_makes_its_walk_incomplete_and_lands_nothing_of_itself(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})], "b": [("2026-10-05T03", {CPU: 1})]})
    good = {"a": []}
    bad = history_bodies({"b": {"p": [("2026-10-05T03", {CPU: 9})]}, "c": {"p": [("2026-10-05T03", {CPU: -1})]}})
    scribe.history(good, bad)
    assert values(book.store) == {("a", "2026-10-05T03"): 5, ("b", "2026-10-05T03"): 1}
    assert rows(book.store, "walk")[1][-3:] == (False, fault(book)[0], "refused")


def test_an_hour_that_is_not_certified_yet_is_not_revised_to_zero(book, scribe):
    page = {"a": [("2026-10-05T09", {CPU: 5}), ("2026-10-05T10", {CPU: 6}), ("2026-10-05T11", {CPU: 7})]}
    scribe.history(page, kind="broken")
    scribe.of(sent="2026-10-05T11:59").history({"a": [("2026-10-05T09", {CPU: 5})]})
    assert values(book.store) == {
        ("a", f"2026-10-05T{hour}"): value for hour, value in (("09", 5), ("10", 6), ("11", 7))
    }
    scribe.of(sent="2026-10-05T12:00").history({"a": [("2026-10-05T09", {CPU: 5})]})
    assert values(book.store) == {("a", "2026-10-05T09"): 5, ("a", "2026-10-05T11"): 7}


def test_a_project_that_a_walk_does_not_list_keeps_its_values(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})], "b": [("2026-10-05T03", {CPU: 1})]})
    scribe.history({"b": [("2026-10-05T03", {CPU: 1})]})
    assert values(book.store) == {("a", "2026-10-05T03"): 5, ("b", "2026-10-05T03"): 1}


def test_a_value_revised_to_zero_comes_back_when_it_is_reported_again(book, scribe):
    page = {"a": [("2026-10-05T03", {CPU: 5})], "b": [("2026-10-05T03", {CPU: 1})]}
    scribe.history(page)
    scribe.history({**page, "a": []})
    scribe.history(page)
    assert values(book.store) == {("a", "2026-10-05T03"): 5, ("b", "2026-10-05T03"): 1}


# -- one project on two pages of a walk


def test_a_project_on_two_pages_counts_once_with_the_last_value(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})]}, {"a": [("2026-10-05T03", {CPU: 6})]})
    assert values(book.store) == {("a", "2026-10-05T03"): 6}


@pytest.mark.parametrize("is_first_empty", [True, False])
def test_a_value_that_one_page_of_a_walk_shows_is_not_omitted_by_another(book, scribe, is_first_empty):
    shown = {"a": [("2026-10-05T03", {CPU: 5})]}
    scribe.history(shown)
    pages = ({"a": []}, shown) if is_first_empty else (shown, {"a": []})
    scribe.history(*pages)
    assert values(book.store) == {("a", "2026-10-05T03"): 5}
    assert count(book.store, "omission") == 0


def test_what_both_pages_of_a_project_omit_is_zero(book, scribe):
    page = {"a": [("2026-10-05T03", {CPU: 5}), ("2026-10-05T04", {CPU: 6}), ("2026-10-05T05", {CPU: 7})]}
    scribe.history(page)
    scribe.history({"a": [("2026-10-05T04", {CPU: 6})]}, {"a": [("2026-10-05T05", {CPU: 7})]})
    assert values(book.store) == {("a", "2026-10-05T04"): 6, ("a", "2026-10-05T05"): 7}


def test_walks_of_two_organizations_may_take_turns(book, scribe):
    other = scribe.of(organization="org-b")
    one, two = scribe.begin(), other.begin()
    for number in range(3):
        scribe.page(one, {f"a{number}": [("2026-10-05T03", {CPU: 5})]})
        other.page(two, {f"b{number}": [("2026-10-05T03", {CPU: 6})]})
    scribe.end(one)
    other.end(two)
    assert sorted(values(book.store).values()) == [5, 5, 5, 6, 6, 6]
    assert certified(book.store) == certified(book.store, "org-b") == [(0, "2026-10-05T00", "2026-10-05T11")]


# -- a metric that disappears


def test_a_known_metric_absent_from_a_whole_organization_is_unknown_and_a_gap_until_it_is_seen_again(book, scribe):
    page = {"a": [("2026-10-05T03", {CPU: 5, ROOT: 8})]}
    scribe.history(page)
    before = certified(book.store)
    later = scribe.of(window=("2026-10-05T00", "2026-10-05T14"), sent="2026-10-05T14:00")
    later.history({"a": [("2026-10-05T03", {ROOT: 8})]})
    assert values(book.store, CPU) == {("a", "2026-10-05T03"): 5}
    assert certified(book.store) == before
    assert [row[:2] for row in rows(book.store, "missing_metric")] == [("org-a", CPU)]
    later.of(sent="2026-10-05T15:00").history({"a": [("2026-10-05T03", {ROOT: 8}), ("2026-10-05T04", {CPU: 1})]})
    assert values(book.store, CPU) == {("a", "2026-10-05T04"): 1}
    assert certified(book.store) == [(0, "2026-10-05T00", "2026-10-05T14")]
    assert count(book.store, "missing_metric") == 0


def test_a_metric_that_is_null_everywhere_is_absent(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5, ROOT: 8})]})
    scribe.history({"a": [("2026-10-05T03", {CPU: None, ROOT: 8})]})
    assert values(book.store, CPU) == {("a", "2026-10-05T03"): 5}
    assert count(book.store, "missing_metric") == 1


def test_a_metric_that_was_never_above_zero_is_not_missed(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5, ROOT: 0})]})
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})]})
    assert count(book.store, "missing_metric") == 0
    assert certified(book.store) == [(0, "2026-10-05T00", "2026-10-05T11")]


def test_a_metric_absent_only_from_hours_that_are_not_certified_is_not_missed(book, scribe):
    scribe.history({"a": [("2026-10-05T11", {CPU: 5}), ("2026-10-05T03", {ROOT: 8})]})
    scribe.history({"a": [("2026-10-05T03", {ROOT: 8})]})
    assert values(book.store, CPU) == {("a", "2026-10-05T11"): 5}
    assert count(book.store, "missing_metric") == 0


@pytest.mark.parametrize(("projects", "missed"), [(9, 0), (10, 1)])
def test_a_fleet_that_falls_silent_at_once_is_missed_a_single_project_is_not(book, scribe, projects, missed):
    before = scribe.of(window=("2026-10-04T00", "2026-10-05T00"))
    names = [f"a{number}" for number in range(projects)]
    before.history({name: [("2026-10-04T20", {CPU: 5, ROOT: 1})] for name in names})
    scribe.history({name: [("2026-10-05T03", {ROOT: 1})] for name in names})
    assert count(book.store, "missing_metric") == missed


def test_another_organization_does_not_miss_the_metric(book, scribe):
    page = {"a": [("2026-10-05T03", {CPU: 5, ROOT: 8})]}
    other = scribe.of(organization="org-b")
    scribe.history(page)
    other.history(page)
    scribe.history({"a": [("2026-10-05T03", {ROOT: 8})]})
    other.history({"a": [("2026-10-05T03", {CPU: 5})], "c": [("2026-10-05T03", {ROOT: 8})]})
    assert [row[:2] for row in rows(book.store, "missing_metric")] == [("org-a", CPU)]


# -- numbers beyond 63 bits, unknown metrics

DIGITS_38 = 10**38 - 1


@pytest.mark.parametrize("value", [BIG - 1, BIG, 2**64, DIGITS_38])
def test_a_large_value_is_kept_to_the_digit(book, scribe, value):
    scribe.history({"a": [("2026-10-05T03", {CPU: value})]})
    assert values(book.store) == {("a", "2026-10-05T03"): value}


def test_a_value_of_39_digits_refuses_its_page_and_stops_nothing(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: DIGITS_38 + 1})]})
    assert fault(book) == ["a value has more than 38 digits"]
    scribe.history({"a": [("2026-10-05T03", {CPU: 1})]})
    assert values(book.store) == {("a", "2026-10-05T03"): 1}


@pytest.mark.parametrize(("first", "then"), [(5, BIG), (BIG, 5), (BIG, BIG + 1), (BIG - 1, BIG), (BIG, BIG - 1)])
@pytest.mark.parametrize("kind", ["", "broken"])
def test_a_value_that_crosses_63_bits_counts_once_also_in_a_walk_that_breaks(book, scribe, first, then, kind):
    scribe.history({"a": [("2026-10-05T03", {CPU: first})]})
    scribe.history({"a": [("2026-10-05T03", {CPU: then})]}, kind=kind)
    assert values(book.store) == {("a", "2026-10-05T03"): then}
    scribe.history({"a": [("2026-10-05T03", {CPU: first})]})
    assert values(book.store) == {("a", "2026-10-05T03"): first}


def test_a_value_beyond_63_bits_that_is_omitted_becomes_zero(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: BIG})], "b": [("2026-10-05T03", {CPU: 1})]})
    scribe.history({"a": [], "b": [("2026-10-05T03", {CPU: 1})]})
    assert values(book.store) == {("b", "2026-10-05T03"): 1}


def test_a_metric_that_nobody_knows_is_landed_revised_and_omitted_like_any_other(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {"llama_seconds": 5, CPU: 1})]})
    assert values(book.store, "llama_seconds") == {("a", "2026-10-05T03"): 5}
    scribe.history({"a": [("2026-10-05T03", {"llama_seconds": 3, CPU: 1})]})
    assert values(book.store, "llama_seconds") == {("a", "2026-10-05T03"): 3}
    assert count(book.store, "observation_other") == 2
    scribe.history({"a": [("2026-10-05T03", {"llama_seconds": 3, CPU: 1})]})
    assert count(book.store, "observation_other") == 2
    scribe.history({"a": [("2026-10-05T03", {CPU: 1})]})
    assert values(book.store, "llama_seconds") == {}


# -- grains


def test_a_daily_answer_to_an_hourly_question_is_landed_and_certified_as_daily(book, scribe):
    asking = scribe.of(window=("2026-10-03T05", "2026-10-05T12"))
    days = ["2026-10-03T00", "2026-10-04T00", "2026-10-05T00"]
    asking.history({"a": [(day, {CPU: 24}) for day in days], "b": []}, answered=1)
    assert values(book.store) == {}
    assert list(values(book.store, grain=1)) == [("a", day) for day in days[1:]]  # the 3rd began before the window
    assert certified(book.store) == [(1, "2026-10-04T00", "2026-10-05T00")]


def test_a_daily_answer_to_an_hourly_question_takes_no_hourly_value_off(book, scribe):
    hourly = scribe.of(window=("2026-10-04T00", "2026-10-05T12"))
    hourly.history({"a": [("2026-10-04T03", {CPU: 5})], "b": [("2026-10-04T03", {CPU: 6})]})
    hourly.history({"a": [("2026-10-04T00", {CPU: 5})]}, {"b": []}, answered=1)
    assert values(book.store) == {("a", "2026-10-04T03"): 5, ("b", "2026-10-04T03"): 6}


def test_daily_values_that_a_daily_walk_omits_are_zero_whatever_else_the_batch_holds(book, scribe):
    daily = scribe.of(window=("2026-10-01T00", "2026-10-04T00"), grain=1)
    page = {"a": [("2026-10-02T00", {CPU: 5})], "b": [("2026-10-02T00", {CPU: 6})]}
    daily.history(page)
    daily.history({"a": []}, {"b": [("2026-10-02T00", {CPU: 6})]})
    assert values(book.store, grain=1) == {("b", "2026-10-02T00"): 6}


@pytest.mark.parametrize(("asked", "answered"), [(0, (0, 1)), (1, (0,)), (2, (0,)), (2, (1,)), (1, (1, 2))])
def test_buckets_of_mixed_or_finer_length_certify_nothing_and_omit_nothing(book, scribe, asked, answered):
    asking = scribe.of(window=("2026-09-01T00", "2026-10-01T00"), grain=asked)
    asking.history({"z": [("2026-09-01T00", {CPU: 9})]})
    pages = [history_bodies({f"a{grain}": {"p": [("2026-09-01T00", {CPU: 1})]}}, grain) for grain in answered]
    asking.history({"z": []} if asked else {"y": []}, *pages)
    assert rows(book.store, "walk")[1][-1] == "refused"
    assert values(book.store, grain=asked)["z", "2026-09-01T00"] == 9
    assert count(book.store, "coverage") == 1


def test_a_finer_answer_read_twice_counts_once(book, scribe):
    asking = scribe.of(window=("2026-09-01T00", "2026-10-01T00"), grain=1)
    for _ in range(2):
        asking.history({"a": [("2026-09-01T05", {CPU: 1})]}, answered=0)
    assert values(book.store) == {("a", "2026-09-01T05"): 1}


# -- inventory and counters


def test_a_project_is_sighted_once_and_again_only_when_what_it_shows_changes(book, scribe):
    first = inventory_body({"id": "a", "name": "one", "created_at": "2026-09-01T00:00:00Z"}, {"id": "b"})
    scribe.inventory(first)
    scribe.of(sent="2026-10-05T13:00").inventory(first)
    assert count(book.store, "sighting") == 2
    scribe.of(sent="2026-10-05T14:00").inventory(inventory_body({"id": "a", "name": "two"}, {"id": "b"}))
    names = book.store.connection.execute("select name from sighting where project_id = 'a' order by seq").fetchall()
    assert names == [("one",), ("two",)]


def test_a_project_that_a_complete_inventory_lacks_is_no_longer_listed(book, scribe):
    scribe.inventory(inventory_body({"id": "a"}), inventory_body({"id": "b"}))
    scribe.inventory(inventory_body({"id": "a"}))
    listed = book.store.connection.execute("select project_id, is_listed from projects order by 1").fetchall()
    assert listed == [("a", True), ("b", False)]


def test_a_project_that_a_broken_inventory_lacks_is_still_listed(book, scribe):
    scribe.inventory(inventory_body({"id": "a"}), inventory_body({"id": "b"}))
    scribe.inventory(inventory_body({"id": "a"}), kind="broken")
    assert book.store.connection.execute("select bool_and(is_listed) from projects").fetchall() == [(True,)]


def test_a_project_that_could_not_be_shown_in_time_is_still_listed(book, scribe):
    scribe.inventory(inventory_body({"id": "a"}, {"id": "b"}))
    scribe.inventory(inventory_body({"id": "a"}, unavailable=["b"]))
    assert book.store.connection.execute("select bool_and(is_listed) from projects").fetchall() == [(True,)]


def test_the_list_of_deleted_projects_tells_when_a_project_was_deleted(book, scribe):
    deleted = inventory_body({"id": "a", "deleted_at": "2026-10-05T10:00:00Z"})
    scribe.inventory(inventory_body({"id": "a"}))
    scribe.inventory(inventory_body())
    scribe.inventory(deleted, endpoint="recoverable")
    scribe.inventory(inventory_body())
    scribe.inventory(deleted, endpoint="recoverable")
    assert count(book.store, "sighting") == 3
    shown = frame(book.store, "select is_listed, deleted_at from projects").rows()
    assert shown == [(False, parse_time("2026-10-05T10:00:00Z"))]


def test_a_faulty_inventory_page_shows_nothing_and_hides_nothing(book, scribe):
    scribe.inventory(inventory_body({"id": "a"}))
    scribe.inventory(b'{"projects": [{"id": 7}]}')
    assert book.store.connection.execute("select project_id, is_listed from projects").fetchall() == [("a", True)]
    assert len(fault(book)) == 1


def test_the_latest_counters_of_a_project_are_kept(book, scribe):
    scribe.counters("a", compute_time_seconds=5, settings={"quota": {"compute_time_seconds": 100}})
    last = scribe.counters("a", compute_time_seconds=2**64)
    book.flush()
    kept = book.store.connection.execute("select seq, compute_time_seconds, limits from counter").fetchall()
    assert kept == [(last, 2**64, "{}")]


def test_the_largest_branch_is_kept_and_whether_all_were_measured(book, scribe):
    scribe.branches("a", 5, 9, 7)
    book.flush()
    assert [row[-2:] for row in rows(book.store, "branch_size")] == [(9, True)]
    scribe.branches("a", 4, None)
    book.flush()
    assert [row[-2:] for row in rows(book.store, "branch_size")] == [(4, False)]


@pytest.mark.parametrize("is_landed_between", [False, True])
def test_pages_of_one_list_of_branches_add_up_wherever_their_landing_is_cut(book, scribe, is_landed_between):
    for cursor, size, expected in (
        (None, 2**60, (2**60, True)),
        ("more", 7, (2**60, True)),
        ("most", None, (2**60, False)),
        ("last", 2**61, (2**61, False)),
        (None, 3, (3, True)),
    ):
        last = scribe.branches("a", size, cursor=cursor)
        scribe.branches("b", 1)
        if is_landed_between:
            book.flush()
            assert kept_branches(book, "a") == (last, *expected)
    book.flush()
    assert kept_branches(book, "a") == (last, 3, True)


def kept_branches(book, project_id):
    (found,) = book.store.connection.execute(
        "select seq, logical_size_bytes, is_whole from branch_size where project_id = $id", {"id": project_id}
    ).fetchall()
    return found


# -- the order of records


def test_a_record_out_of_order_is_refused(book, scribe):
    scribe.history({"a": []})
    with pytest.raises(AssertionError, match="record 1 was to follow 2"):
        book.landing.apply(book.records[0])


def test_a_page_that_no_parser_understands_stops_nothing(book, scribe):
    hostile = [
        b"",
        b"\xff",
        b"[]",
        b'{"projects": "\\ud800"}',
        b"[" * 100_000,
        b'{"projects": [{"project_id": "a", "periods": '
        b'[{"period_id": "p", "period_end": "9999-12-31T23:59:59-10:00"}]}]}',
    ]
    for body in hostile:
        scribe.history(body)
        scribe.inventory(body)
    scribe.history({"a\x00b": [("2026-10-05T03", {CPU: 1})]})
    assert values(book.store) == {("a\x00b", "2026-10-05T03"): 1}


def test_a_store_that_failed_to_take_a_record_takes_nothing_behind_it(book, scribe):
    scribe.cycle()
    scribe.page(scribe.begin(), {"a": [("2026-10-05T03", {CPU: 5})]})
    book.store.connection.execute("alter table page rename to hidden")
    with pytest.raises(Exception, match="page"):
        scribe.cycle()
    book.store.connection.execute("alter table hidden rename to page")
    with pytest.raises(StoreDamagedError):
        scribe.cycle()
    assert book.store.query("store/position").item(0, "seq") == 1


def test_a_cycle_forgets_the_omissions_of_walks_that_never_ended(book, scribe):
    scribe.history({"a": [("2026-10-05T03", {CPU: 5})]})
    scribe.page(scribe.begin(), {"a": []})
    book.flush()
    assert (count(book.store, "omission"), count(book.store, "walk_project")) == (1, 1)
    scribe.cycle()
    assert (count(book.store, "omission"), count(book.store, "walk_project")) == (0, 0)
    assert values(book.store) == {("a", "2026-10-05T03"): 5}


def test_a_cycle_is_kept_with_its_faults(book):
    data = {
        "command": "poll",
        "started_at": "2026-10-05T12:00:00Z",
        "ended_at": "2026-10-05T12:01:00Z",
        "requests": 3,
        "pages": 2,
        "changes": 1,
        "outcome": "partial",
        "faults": ["org-a: gone"],
    }
    book.record("cycle", data)
    kept = rows(book.store, "cycle")[0]
    assert (kept[1], kept[7], json.loads(kept[8])) == ("poll", "partial", ["org-a: gone"])
