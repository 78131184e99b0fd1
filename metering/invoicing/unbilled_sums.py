"""Sums of unbilled value per currency. Pure."""

from collections.abc import Sequence

from metering.core.rows import Row, Table, column_sum
from metering.rendering.figures import money_text


def worth(rows: Sequence[Row]) -> Table:
    """Value and number of rows per currency; currency None counts the rows that no plan prices."""
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
