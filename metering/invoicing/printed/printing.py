"""Collects what printed invoices show in addition to the document: parties, project names, usage, daily charts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache

import polars as pl

from metering.billing import profile
from metering.billing.month import Month
from metering.billing.usage_document import Usage, usage
from metering.config import Config
from metering.core.money import quantity_text
from metering.core.period import DAY
from metering.core.rows import Row, every_day
from metering.invoicing.issued import Document, read
from metering.invoicing.lines import tax
from metering.invoicing.printed.paper import Paper, Papers, papers
from metering.invoicing.printed.sheet_usage import Background, MeterDays, own_usage

_OWNED = ("project_id", "metric", "customer", "meter")


def background(
    month: Month, config: Config, documents: Sequence[Document], known: Papers | None = None, used: Usage | None = None
) -> Background:
    """The background of the month's documents. `known` and `used` save reading what the caller has read already.

    An invoice and its credit note use the pricing terms of the closing and the usage known then, so that they print the
    same at any time. A draft uses `month`.
    """
    found = known or papers(month.recorded.store, config, month.period)
    printed: dict[int, Background] = {}
    by_number: dict[str, Background] = {}
    for document in read(documents):
        closed = found.closing(document)
        if closed is None or document.number is None:
            continue
        if closed.seq not in printed:
            then = replace(month, terms=closed.terms, now=closed.as_of, recorded=month.recorded.at(closed.as_of_seq))
            printed[closed.seq] = _background(then, config, closed.paper, usage(then))
        by_number[document.number] = printed[closed.seq]
    if by_number and len(by_number) == len(documents):
        return replace(next(iter(by_number.values())), by_number=by_number)
    return replace(_background(month, config, found.today, used or usage(month)), by_number=by_number)


def _background(month: Month, config: Config, paper: Paper, used: Usage) -> Background:
    own = own_usage(used.rows(), month.projects.payers())
    return Background(
        seller=paper.seller.model_dump(),
        rounding=month.terms.card.rounding,
        locale=paper.locale,
        fonts=config.invoices.fonts,
        customers=_customers(paper, month.period.end - DAY),
        project_names=month.projects.names(),
        usage=own,
        days=_customer_days(month, own, used.coverage.gaps),
    )


def _customers(paper: Paper, last_day: datetime) -> dict[str, Row]:
    """Customer id -> its row of customers.csv; `tax_note` is the reason if there is no tax."""
    known = (row.at(last_day) for row in paper.customers.values())
    return {
        row.id: {
            **row.model_dump(),
            "taxes": row.taxes,
            "tax_note": row.tax_note or tax.UNTAXED.get(row.tax_category or ""),
        }
        for row in known
    }


def _customer_days(
    month: Month, own: Mapping[str, Sequence[Row]], gaps: Sequence[Row]
) -> Callable[[str], list[MeterDays]]:
    """Customer -> its usage by meter and day. Read on the first call; rows are built for one customer at a time."""
    meters = {meter.id: meter for meter in month.terms.card.meters}

    @cache
    def sums() -> dict[tuple[object, ...], pl.DataFrame]:
        return _sums_by_day(month, own)

    def of(customer: str) -> list[MeterDays]:
        found = sums().get((customer,))
        used = (
            (meters[meter], day, read_at, value)
            for _, meter, day, read_at, value in (found.iter_rows() if found is not None else ())
        )
        return [
            MeterDays(
                meter=meter.id,
                unit=meter.unit,
                days=every_day(
                    month.period,
                    month.now,
                    gaps,
                    (
                        {"day": f"{day:%Y-%m-%d}", "quantity": quantity_text(quantity)}
                        for day, quantity in known.items()
                    ),
                ),
            )
            for meter, known in profile.quantities(used, month.now).items()
        ]

    return of


def _sums_by_day(month: Month, own: Mapping[str, Sequence[Row]]) -> dict[tuple[object, ...], pl.DataFrame]:
    """(customer,) -> customer, meter, day, read_at, value."""
    owned = [
        (row["project_id"], row["metric"], row["customer"], row["meter"])
        for rows in own.values()
        for row in rows
        if row["meter"] is not None
    ]
    pairs = pl.DataFrame(owned, schema=dict.fromkeys(_OWNED, pl.String), orient="row").unique()
    days = month.usage.buckets(pairs.select("project_id", "metric"), every=DAY, read_at=month.terms.dated_metrics)
    sums = (
        days.join(pairs, on=["project_id", "metric"])
        .group_by("customer", "meter", "read_at", day=pl.col("start").dt.truncate("1d"))
        .agg(pl.col("value").sum())
        .select("customer", "meter", "day", "read_at", "value")
        .sort("customer", "meter", "day")
    )
    return sums.partition_by("customer", as_dict=True)
