"""Values above zero that a read of history left out: staged page by page, then taken off the observations or forgotten.

An omission counts as zero once its read proves complete, unless a page of another read has shown the bucket meanwhile.
Knows the table `omission`. Must not decide what is proven. The caller holds the transaction.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from metering.core.meters import KNOWN_METRICS
from metering.ledger.projections.changes import KEYS, LONG_KEYS, cancelled, for_duckdb, taken_off
from metering.ledger.projections.pages import WalkRow
from metering.neon import parse_history
from metering.store.database import Store


def outdate(store: Store, walk: int, listed: pl.DataFrame, window: Mapping[str, Any]) -> None:
    """Forgets what other open reads left out of these buckets, which this walk has seen later."""
    with store.frames(batch_projects=listed):
        store.write("outdate_omissions", walk=walk, **window)


def stage(
    store: Store, walk: int, omitted: pl.DataFrame, listed: pl.DataFrame, shown: tuple[pl.DataFrame, pl.DataFrame]
) -> None:
    """Keeps what pages left out. A project on two pages omits only what both leave out; `shown` is (wide, long)."""
    with store.frames(batch_projects=listed):
        again = store.query("ledger/walk_projects", walk=walk)
    if again.height:
        omitted = omitted.join(again, on="project_key", how="anti")
        wide, long = shown
        with store.frames(reported=_values(wide.join(again, on="project_key", how="semi"), long)):
            store.write("delete_reported_omissions", walk=walk)
    staged = omitted.join(listed, on="project_key", how="inner").select(
        pl.lit(walk, dtype=pl.UInt32).alias("walk"),
        pl.col("page_seq").alias("seq"),
        *LONG_KEYS,
        "value",
        is_applied=pl.lit(value=False),
    )
    store.insert("omission", for_duckdb(staged))


def apply(store: Store, walk: WalkRow) -> None:
    """Takes what is left off the observations, by the record of the read's end.

    The pages may be older than a closing or a rollup, whose sums must not change.
    """
    proven = store.query("ledger/proven_omissions", walk=walk.walk, seq=walk.seq).cast({"value": pl.Int128})
    if proven.is_empty():
        return
    is_wide = pl.col("metric").is_in(KNOWN_METRICS) & (pl.col("value") < pl.lit(parse_history.BIGINT_LIMIT, pl.Int128))
    store.insert("observation", cancelled(proven.filter(is_wide)))
    store.insert("observation_other", for_duckdb(taken_off(proven.filter(~is_wide))))
    store.write("apply_omissions", walk=walk.walk)


def _values(wide: pl.DataFrame, long: pl.DataFrame) -> pl.DataFrame:
    """The values that pages report, as LONG_KEYS."""
    known = (
        wide.unpivot(on=list(KNOWN_METRICS), index=list(KEYS), variable_name="metric", value_name="value")
        .filter(pl.col("value").is_not_null())
        .select(LONG_KEYS)
    )
    return pl.concat([known, long.select(LONG_KEYS)])
