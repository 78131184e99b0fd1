"""Sums of unbilled value per currency. Pure."""

from collections.abc import Sequence

from metering.core.rows import Row, Table, column_sum
from metering.rendering.figures import money_text


def worth(rows: Sequence[Row]) -> Table:
    """What unbilled usage would be worth, per currency, and how many rows have no price anywhere (currency null)."""
    currencies = sorted({row["currency"] for row in rows if row.get("currency")})
    return [
        {
            "currency": currency,
            "rows": len(mine),
            "worth": money_text(column_sum(mine, "worth"), currency) if currency else None,
        }
        for currency in (*currencies, None)
        if (mine := [row for row in rows if row.get("currency") == currency])
    ]
