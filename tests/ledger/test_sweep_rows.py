from collections.abc import Iterator
from typing import Any

import pytest

from metering.store.database import Store
from tests.support.scribe import ORGANIZATION, Memory, Scribe, certified, count, frame, inventory_body, values

COMPUTE = "compute_unit_seconds"
BRANCHES = "extra_branches_month"


@pytest.fixture
def book() -> Iterator[tuple[Memory, Scribe]]:
    memory = Memory()
    yield memory, Scribe(record=memory.record)
    memory.store.connection.close()


def faults(store: Store) -> dict[str, int]:
    names = ("omissions_end_with_their_walk", "no_bucket_below_zero", "pages_count_their_changes")
    return {name: store.check(name).height for name in (*names, "observations_have_a_page") if store.check(name).height}


def reads(store: Store) -> dict[str, str]:
    text = "strftime(read_at at time zone 'UTC', '%dT%H:%M')"
    return dict(frame(store, f"select project_id, {text} from project_read join project using (project_key)").rows())


def test_a_batch_proves_what_it_leaves_out_of_its_projects_and_certifies_no_hour(book: tuple[Memory, Scribe]):
    memory, scribe = book
    scribe.history({name: [("2026-10-05T03", {COMPUTE: 7, BRANCHES: 1})] for name in "abc"})
    before = certified(memory.store)
    hour = "2026-10-05T03"
    scribe.of(sent="2026-10-05T14:00").batch({"a": [(hour, {BRANCHES: 1})], "b": [(hour, {COMPUTE: 9})]})
    assert values(memory.store) == {("b", hour): 9, ("c", hour): 7}
    assert values(memory.store, BRANCHES) == {("a", hour): 1, ("c", hour): 1}
    assert certified(memory.store) == before
    assert faults(memory.store) == {}


def test_a_metric_that_a_batch_shows_of_nobody_is_not_taken_for_zero(book: tuple[Memory, Scribe]):
    memory, scribe = book
    scribe.history({"a": [("2026-10-05T03", {COMPUTE: 7, BRANCHES: 1})]})
    scribe.of(sent="2026-10-05T14:00").batch({"a": [("2026-10-05T03", {BRANCHES: 1})]})
    assert values(memory.store) == {("a", "2026-10-05T03"): 7}
    assert count(memory.store, "omission") == 0


def test_a_batch_that_broke_proves_nothing(book: tuple[Memory, Scribe]):
    memory, scribe = book
    scribe.history({name: [("2026-10-05T03", {COMPUTE: 7})] for name in "ab"})
    scribe.of(sent="2026-10-05T14:00").batch({"a": [], "b": [("2026-10-05T03", {COMPUTE: 7})]}, kind="broken")
    assert values(memory.store) == {(name, "2026-10-05T03"): 7 for name in "ab"}
    assert count(memory.store, "omission") == 0


def test_what_a_sweep_left_out_outlives_the_cycle_and_counts_at_its_end(book: tuple[Memory, Scribe]):
    memory, scribe = book
    hour = "2026-10-05T03"
    scribe.history({name: [(hour, {COMPUTE: 7})] for name in "ab"})
    later = scribe.of(sent="2026-10-05T14:00")
    walk = later.begin()
    later.sweep(walk, {"a": []}, cursor="a")
    later.cycle()
    assert values(memory.store) == {("a", hour): 7, ("b", hour): 7}
    assert count(memory.store, "sweep") == count(memory.store, "sweep_page") == 1
    later.sweep(walk, {"b": [(hour, {COMPUTE: 7})]})
    later.end(walk)
    later.cycle()
    assert values(memory.store) == {("b", hour): 7}
    assert count(memory.store, "sweep") == count(memory.store, "sweep_page") == count(memory.store, "walk_project") == 0
    assert faults(memory.store) == {}


@pytest.mark.parametrize("shown", [7, 9, 5])
def test_what_a_batch_shows_again_was_not_left_out_by_an_earlier_page_of_a_sweep(
    book: tuple[Memory, Scribe], shown: int
):
    memory, scribe = book
    hour = "2026-10-05T03"
    scribe.history({name: [(hour, {COMPUTE: 7})] for name in "ab"})
    walk = scribe.of(sent="2026-10-05T14:00").begin()
    scribe.of(sent="2026-10-05T14:00").sweep(walk, {"a": []}, cursor="a")
    scribe.of(sent="2026-10-05T14:15").batch({"a": [(hour, {COMPUTE: shown})]})
    last = scribe.of(sent="2026-10-05T14:00")
    last.sweep(walk, {"b": [(hour, {COMPUTE: 7})]})
    last.end(walk)
    assert values(memory.store) == {("a", hour): shown, ("b", hour): 7}
    assert faults(memory.store) == {}


def test_what_both_a_sweep_and_a_batch_left_out_is_taken_off_once(book: tuple[Memory, Scribe]):
    memory, scribe = book
    hour = "2026-10-05T03"
    scribe.history({name: [(hour, {COMPUTE: 7})] for name in "ab"})
    walk = scribe.of(sent="2026-10-05T14:00").begin()
    scribe.of(sent="2026-10-05T14:00").sweep(walk, {"a": []}, cursor="a")
    scribe.of(sent="2026-10-05T14:15").batch({"a": [], "b": [(hour, {COMPUTE: 7})]})
    last = scribe.of(sent="2026-10-05T14:00")
    last.sweep(walk, {"b": [(hour, {COMPUTE: 7})]})
    last.end(walk)
    assert values(memory.store) == {("b", hour): 7}
    assert faults(memory.store) == {}


def test_a_batch_over_other_hours_leaves_a_sweep_its_omissions(book: tuple[Memory, Scribe]):
    memory, scribe = book
    scribe.history({"a": [("2026-10-05T03", {COMPUTE: 7})], "b": [("2026-10-05T03", {COMPUTE: 7})]})
    walk = scribe.of(sent="2026-10-05T14:00").begin()
    scribe.of(sent="2026-10-05T14:00").sweep(walk, {"a": []}, cursor="a")
    narrow = scribe.of(sent="2026-10-05T14:15", window=("2026-10-05T10", "2026-10-05T15"))
    narrow.batch({"a": [("2026-10-05T11", {COMPUTE: 1})]})
    last = scribe.of(sent="2026-10-05T14:00")
    last.sweep(walk, {"b": [("2026-10-05T03", {COMPUTE: 7})]})
    last.end(walk)
    assert values(memory.store) == {("a", "2026-10-05T11"): 1, ("b", "2026-10-05T03"): 7}
    assert faults(memory.store) == {}


def test_a_project_is_read_when_a_page_lists_it_or_a_question_for_it_is_answered(book: tuple[Memory, Scribe]):
    memory, scribe = book
    scribe.history({name: [("2026-10-05T03", {COMPUTE: 7})] for name in "abc"})
    assert reads(memory.store) == dict.fromkeys("abc", "05T12:00")
    later = scribe.of(sent="2026-10-05T14:00")
    later.batch({"a": []})
    walk = later.begin()
    later._page(walk, "batch", b'{"projects": []}', {**later._span(), "params": {"project_ids": "b,nobody"}})
    later.end(walk, endpoint="batch")
    assert reads(memory.store) == {"a": "05T14:00", "b": "05T14:00", "c": "05T12:00"}


def test_freshness_names_the_median_and_the_worst_project(book: tuple[Memory, Scribe]):
    memory, scribe = book
    listed: list[dict[str, Any]] = [{"id": name} for name in "abcd"]
    scribe.inventory(inventory_body(*listed))
    scribe.history({name: [] for name in "abc"})
    scribe.of(sent="2026-10-05T14:00").batch({"a": []})
    (row,) = memory.store.query("billing/freshness").filter(organization=ORGANIZATION).to_dicts()
    assert (row["projects"], row["projects_never_read"]) == (4, 1)
    assert row["median_project_read_at"] == row["worst_project_read_at"]
    assert row["worst_project_read_at"].hour == 12
