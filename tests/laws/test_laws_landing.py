"""Laws of landing: what is asked twice, in other pages, in another order or at another moment is landed the same."""

import os
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.ledger.landing import Landing
from metering.store import database
from metering.store.database import Store
from tests.support.blank import blank_store
from tests.support.scribe import BIG, Memory, Page, Scribe, count, frame, rows

TIMES = int(os.environ.get("METERING_EXAMPLES_TIMES", "1"))
SLOW = settings(
    max_examples=5 * TIMES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
METRICS = ("compute_unit_seconds", "root_branch_bytes_month", "nobody_knows")
VALUES = st.one_of(st.none(), st.sampled_from([0, 0, 1, 5, BIG - 1, BIG, 2**70]), st.integers(0, 2**40))
HOURS = [f"2026-10-05T{hour:02}" for hour in range(4)]
BUCKET = st.dictionaries(st.sampled_from(METRICS), VALUES, max_size=3)
BUCKETS = st.dictionaries(st.sampled_from(HOURS), BUCKET, max_size=4).map(lambda found: list(found.items()))
PROJECTS = [f"p{number}" for number in range(5)]
FLEET = st.dictionaries(st.sampled_from(PROJECTS), BUCKETS, min_size=1)
KINDS = st.sampled_from(["", "", "broken"])


def paged(fleet: Page, sizes: Sequence[int], order: Sequence[str]) -> list[Page]:
    """The fleet's projects in this order, cut into pages of these sizes (the last takes the rest)."""
    left = [project for project in order if project in fleet]
    pages = []
    for size in sizes:
        pages.append({project: fleet[project] for project in left[:size]})
        left = left[size:]
    return [*pages, {project: fleet[project] for project in left}]


def facts(found: Store) -> list[list[tuple[Any, ...]]]:
    """What a reader could ask, by names: no journal numbers, which differ with the pages."""
    return [
        frame(found, text).rows()
        for text in (
            "select organization, project_id, metric, grain, timeframe_start, value from bucket_value"
            " where value <> 0 order by all",
            "select * from coverage_stretch order by all",
            "select organization, metric from missing_metric order by all",
            "select organization, project_id, metric, day_start, value, certified_value from usage_day order by all",
        )
    ]


def lived(walks: Sequence[tuple[Page, str]], sizes: Sequence[int] = (), order: Sequence[str] = PROJECTS) -> Memory:
    book = Memory()
    scribe = Scribe(record=book.record)
    for fleet, kind in walks:
        scribe.history(*paged(fleet, sizes, order), kind=kind)
    return book


@SLOW
@given(FLEET, st.lists(st.tuples(FLEET, KINDS), max_size=2))
def test_asking_again_changes_nothing(fleet, before):
    book = lived([*before, (fleet, "")])
    changes = count(book.store, "observation"), count(book.store, "observation_other")
    known = facts(book.store)
    Scribe(record=book.record, walks=[100]).history(fleet)
    assert (count(book.store, "observation"), count(book.store, "observation_other")) == changes
    assert facts(book.store) == known


@SLOW
@given(
    st.lists(st.tuples(FLEET, KINDS), min_size=1, max_size=3),
    st.lists(st.integers(0, 3), max_size=3),
    st.permutations(PROJECTS),
)
def test_the_size_and_order_of_pages_change_nothing(walks, sizes, order):
    assert facts(lived(walks, sizes, order).store) == facts(lived(walks).store)


@SLOW
@given(st.lists(FLEET, min_size=2, max_size=2), st.data())
def test_organizations_may_take_turns_in_any_way(fleets, data):
    apart, together = Memory(), Memory()
    for book in (apart, together):
        scribes = [Scribe(record=book.record, organization=name) for name in ("org-a", "org-b")]
        scribes[1].walks = scribes[0].walks
        left = [paged(fleet, [1, 1], PROJECTS) for fleet in fleets]
        numbers = [scribe.begin() for scribe in scribes]
        turns = [0] * len(left[0]) + [1] * len(left[1])
        for turn in turns if book is apart else data.draw(st.permutations(turns)):
            scribes[turn].page(numbers[turn], left[turn].pop(0))
        for scribe, number in zip(scribes, numbers, strict=True):
            scribe.end(number)
    assert facts(together.store) == facts(apart.store)


@SLOW
@given(
    st.lists(st.tuples(FLEET, KINDS), min_size=1, max_size=3),
    st.lists(st.integers(0, 3), max_size=3),
    st.sets(st.integers(0, 12)),
    st.integers(1, 20),
)
def test_where_a_batch_ends_and_where_the_process_restarts_changes_no_row(walks, sizes, flushes, restart):
    whole = lived(walks, sizes)
    pieces = blank_store()
    landing = Landing(pieces)
    for number, record in enumerate(whole.records):
        landing.apply(record)
        if number in flushes:
            landing.flush()
        if number == restart:
            landing.flush()
            landing = Landing(pieces)
    landing.flush()
    whole.flush()
    for table in database.tables(pieces):
        assert rows(pieces, table) == rows(whole.store, table), table


@SLOW
@given(st.lists(st.tuples(FLEET, KINDS), min_size=1, max_size=4), st.integers(0, 30))
def test_a_project_may_stand_on_several_pages_and_a_rebuild_is_the_same_row_by_row(walks, repeated):
    book = Memory()
    scribe = Scribe(record=book.record)
    for number, (fleet, kind) in enumerate(walks):
        pages = paged(fleet, [1, 2], PROJECTS)
        again = {PROJECTS[repeated % 5]: fleet.get(PROJECTS[repeated % 5], [])}
        scribe.history(*pages, again if repeated >> number & 1 else pages[0], kind=kind)
    rebuilt = blank_store()
    Landing(rebuilt).apply_all(book.records)
    for table in database.tables(rebuilt):
        assert rows(rebuilt, table) == rows(book.store, table), table


@SLOW
@given(st.lists(st.tuples(FLEET, KINDS), min_size=1, max_size=4))
def test_the_last_value_observed_counts_and_zero_only_where_a_whole_walk_left_it_out(walks):
    """An oracle in plain dictionaries: contract 5.2 for certified hours, without a batch, a frame or a database."""
    book = lived(walks)
    value: dict[tuple[str, str, str], int] = {}
    missing: set[str] = set()
    for fleet, kind in walks:
        shown = {
            (project, hour, metric): amount
            for project, buckets in fleet.items()
            for hour, metrics in buckets
            for metric, amount in metrics.items()
            if amount is not None
        }
        reported = {metric for _, _, metric in shown}
        held = dict(value)
        value.update(shown)
        if kind:
            continue
        omitted = {key for key, amount in held.items() if amount and key[0] in fleet and key not in shown}
        missing = (missing | {key[2] for key in omitted if key[2] != "nobody_knows"}) - reported
        value.update(dict.fromkeys((key for key in omitted if key[2] not in missing), 0))
    known = frame(
        book.store,
        """select project_id, strftime(timeframe_start at time zone 'UTC', '%Y-%m-%dT%H'), metric, value
           from bucket_value where value <> 0""",
    ).rows()
    expected = {key: amount for key, amount in value.items() if amount}
    assert {row[:3]: int(row[3]) for row in known} == expected
