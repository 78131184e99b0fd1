"""Daily sums equal the sums of observations: for any days, at any record, with changes of any age."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from metering.core.period import Period
from tests.support import lived
from tests.support.scribe import Memory, Scribe

CPU = "compute_unit_seconds"
MONTH = Period(start=datetime(2026, 10, 1, tzinfo=UTC), end=datetime(2026, 11, 1, tzinfo=UTC))
KEYS = ["project_key", "grain", "metric"]


def sums(memory: Memory, period: Period, as_of_seq: int, rolled_seq: int) -> pl.DataFrame:
    found = memory.store.query(
        "billing/usage_sums",
        period_start=period.start,
        period_end=period.end,
        as_of_seq=as_of_seq,
        rolled_seq=rolled_seq,
    )
    return found.with_columns(pl.col("value").cast(pl.Int128)).sort([*KEYS, "first_start", "value"])


def rollup(memory: Memory, as_of_seq: int) -> int:
    return int(memory.store.query("billing/last_rollup", as_of_seq=as_of_seq).item(0, "seq"))


@pytest.fixture(scope="module")
def memory():
    memory = Memory()
    for seed in range(8):
        lived.a_cycle(memory.record, int(memory.store.query("polling/next_walk").item()), seed)
        Scribe(record=memory.record, sent=f"2026-10-{6 + seed:02d}T00:10").cycle()
    yield memory
    memory.store.connection.close()


def test_a_stretch_of_days_has_the_same_sums_with_and_without_the_rollup_at_every_record(memory):
    stretches = [MONTH, *(Period(start=MONTH.start, end=MONTH.start + timedelta(days=day)) for day in (5, 6, 7))]
    last = len(memory.records)
    assert len({rollup(memory, seq) for seq in range(last + 1)}) >= 8
    for seq in range(0, last + 1, 7):
        for stretch in stretches:
            rolled = sums(memory, stretch, seq, rollup(memory, seq))
            assert rolled.equals(sums(memory, stretch, seq, 0))
    assert sums(memory, MONTH, last, 0).height > 0


def test_the_first_cycle_of_a_day_sums_what_came_since_and_the_others_do_not():
    memory = Memory()
    scribe = Scribe(record=memory.record)
    scribe.history({"project-1": [("2026-10-05T03", {CPU: 7})]})
    scribe.of(sent="2026-10-05T23:59").cycle()
    first = rollup(memory, 99)
    scribe.history({"project-1": [("2026-10-05T03", {CPU: 9})]})
    scribe.of(sent="2026-10-05T23:59").cycle()
    assert rollup(memory, 99) == first
    scribe.of(sent="2026-10-06T00:00").cycle()
    assert rollup(memory, 99) == len(memory.records)
    rows = memory.store.connection.execute("select compute_unit_seconds from observation_day order by rolled_seq")
    assert rows.fetchall() == [(7,), (2,)]
    memory.store.connection.close()


def test_a_value_that_a_walk_over_several_days_leaves_out_goes_when_the_walk_ends_and_not_before():
    memory = Memory()
    scribe = Scribe(record=memory.record, sent="2026-10-05T14:00")
    scribe.history({"project-1": [("2026-10-05T03", {CPU: 7})], "project-2": [("2026-10-05T03", {CPU: 1})]})
    scribe.of(sent="2026-10-05T23:59").cycle()
    later = scribe.of(sent="2026-10-05T16:00")
    walk = later.begin()
    later.sweep(walk, {"project-1": []}, cursor="more")
    scribe.of(sent="2026-10-06T00:05").cycle()  # rolls up, after the page that leaves the value out
    closed_at = len(memory.records)
    later.sweep(walk, {"project-2": [("2026-10-05T03", {CPU: 1})]})
    later.end(walk)
    scribe.of(sent="2026-10-07T00:05").cycle()
    for seq, expected in ((closed_at, 8), (len(memory.records), 1)):
        for rolled in (0, rollup(memory, seq)):
            found = sums(memory, MONTH, seq, rolled).filter(pl.col("metric") == CPU)
            assert found["value"].sum() == expected
    changed = memory.store.query(
        "invoicing/is_changed_since",
        after=closed_at,
        as_of_seq=len(memory.records),
        period_start=MONTH.start,
        period_end=MONTH.end,
    )
    assert changed.item()
    shown = memory.store.connection.execute(
        "select s.page_seq from observed_value as o join shown_by as s using (seq) where o.change = -7"
    ).fetchall()
    assert shown == [(len(memory.records) - 2,)]  # the walk's last page
    memory.store.connection.close()
