"""Projects `not_counted` records: subtracts one organization's copy of usage that two organizations report.

The values are subtracted under billing periods of their own (NOT_COUNTED and Neon's id). So the next page is compared
with what pages have shown, and the sum of a bucket over its periods is what counts. Sends nothing, reads no clock; the
caller holds the transaction.

    not_counted  {alarm_id, organization, project_id, page_seq, values: [{period_id, plan, period_start, period_end,
                  grain, timeframe_start, metric, value}]}; values are what is added, as decimal strings
"""

from typing import Any

import polars as pl

from metering.core.meters import KNOWN_METRICS
from metering.core.period import parse_time
from metering.ledger.projections.changes import LONG, cancelled, for_duckdb, taken_off
from metering.ledger.projections.keys import RowKeys
from metering.neon import parse_history
from metering.neon.parse_history import NeonPeriod
from metering.store.database import Store
from metering.store.record import Record

NOT_COUNTED = "not counted: "


def apply_not_counted(store: Store, record: Record, keys: RowKeys) -> None:
    """Subtracts the values of one record."""
    data = record.data
    (project_key,) = keys.projects(data["organization"], [data["project_id"]])
    rows = [
        {
            "seq": record.seq,
            "project_key": project_key,
            "neon_period_key": keys.neon_period(data["organization"], _period(value)),
            "grain": value["grain"],
            "timeframe_start": parse_time(value["timeframe_start"]),
            "metric": value["metric"],
            "value": -int(value["value"]),  # the functions below subtract their arguments
        }
        for value in data["values"]
    ]
    keys.land()
    values = pl.DataFrame(rows, schema=LONG, orient="row")
    limit = pl.lit(parse_history.BIGINT_LIMIT, pl.Int128)
    is_wide = pl.col("metric").is_in(KNOWN_METRICS) & (pl.col("value") < limit) & (pl.col("value") > -limit)
    store.insert("observation", cancelled(values.filter(is_wide)))
    store.insert("observation_other", for_duckdb(taken_off(values.filter(~is_wide))))
    facts = {name: data[name] for name in ("alarm_id", "organization", "project_id", "page_seq")}
    store.write("insert_not_counted", seq=record.seq, **facts)


def _period(value: dict[str, Any]) -> NeonPeriod:
    return NeonPeriod(
        period_id=NOT_COUNTED + value["period_id"],
        plan=value["plan"],
        start=value["period_start"] and parse_time(value["period_start"]),
        end=value["period_end"] and parse_time(value["period_end"]),
    )
