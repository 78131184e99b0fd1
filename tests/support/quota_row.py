"""A quota row from the document that commands print of it."""

from metering.core.period import Period, parse_time
from metering.quotas.rows import Forecast, QuotaRow


def quota_row(document: dict) -> QuotaRow:
    start, end = document["period"]["start"], document["period"]["end"]
    return QuotaRow(
        **{
            "partial": False,
            **document,
            "used": None if document["used"] is None else int(document["used"]),
            "limit": None if document["limit"] is None else int(document["limit"]),
            "observed_at": document["observed_at"] and parse_time(document["observed_at"]),
            "period": Period(start=parse_time(start), end=parse_time(end)),
            "forecast": document["forecast"] and _forecast(document["forecast"]),
        }
    )


def _forecast(document: dict) -> Forecast:
    reaches = document["reaches_100_at"]
    return Forecast(
        percent_at_period_end=document["percent_at_period_end"],
        reaches_at={100: reaches and parse_time(reaches)},
        method="linear",
    )
