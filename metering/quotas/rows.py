"""The current state of a project's quota, as commands print it, alerts judge it and reports show it. Pure.

Counts are integers; `document` writes them as the public interface does. Must not know how they are computed.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import asdict

from metering.core.period import Period, rfc3339
from metering.core.printed_texts import Figure, QuotaLevel
from metering.core.quotas import EXCEEDED_PERCENT

# Few different moments exist, and formatting one costs more than the rest of its row.
_written = lru_cache(maxsize=4096)(rfc3339)


class Forecast(Struct, frozen=True, kw_only=True):
    """The expected percentage at the period's end, and when each threshold will be reached; null: not in this period.

    `percent_low` and `percent_high` are its range where several weeks are known. `method` names the way of forecasting.
    """

    percent_at_period_end: str
    reaches_at: Mapping[int, datetime | None]
    percent_low: str | None = None
    percent_high: str | None = None
    method: str

    def document(self) -> dict[str, str | None]:
        """The keys of the public interface; 100 % is the first of the thresholds."""
        order = sorted({*self.reaches_at, EXCEEDED_PERCENT}, key=lambda percent: (percent != EXCEEDED_PERCENT, percent))
        reaches = {f"reaches_{percent}_at": _moment(self.reaches_at.get(percent)) for percent in order}
        return {
            "percent_at_period_end": self.percent_at_period_end,
            **reaches,
            "percent_low": self.percent_low,
            "percent_high": self.percent_high,
            "method": self.method,
        }


class QuotaRow(Struct, frozen=True, kw_only=True):
    """A quota of a project; `partial`: the usage contains hours that are not complete yet."""

    project_id: str
    project_name: str | None
    customer: str | None
    plan: str | None
    quota: str
    used: int | None
    limit: int | None
    limit_source: str | None
    unit: str
    percent: Figure | None
    threshold_percent: int | None
    level: QuotaLevel
    source: str | None
    observed_at: datetime | None
    period: Period
    forecast: Forecast | None
    partial: bool

    def document(self) -> dict[str, object]:
        """The keys of the public interface in their order: decimal strings, times as RFC 3339."""
        return asdict(self) | {
            "used": _digits(self.used),
            "limit": _digits(self.limit),
            "observed_at": _moment(self.observed_at),
            "period": {"start": _written(self.period.start), "end": _written(self.period.end)},
            "forecast": self.forecast and self.forecast.document(),
        }

    def reaches(self, percent: int, used: int | None = None) -> bool:
        """Whether the usage (default: the row's) reaches so many percent of the limit; false where it is unknown."""
        used = self.used if used is None else used
        return used is not None and self.limit is not None and used * 100 >= percent * self.limit


_NESTED = {
    "period": ("period.start", "period.end"),
    "forecast": ("forecast.percent_at_period_end", "forecast.reaches_100_at"),
}
COLUMNS = tuple(column for name in QuotaRow.__struct_fields__ for column in _NESTED.get(name, (name,)))
"""The columns of a table or CSV file, with rows or without."""


def percent_text(used: int, limit: int) -> str:
    """The used percentage, truncated to two places, so that only a full quota shows 100."""
    hundredths = used * 10_000 // limit
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else _written(moment)
