"""The Jinja environment of the templates under `reports/`, with the filters that print figures."""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from metering.core.files import data_directory
from metering.core.money import minor_units
from metering.core.rows import Row
from metering.core.text import visible, words
from metering.rendering import figures


def environment() -> Environment:
    """The environment: output is escaped and has no invisible characters; an unknown name is an error."""
    found = Environment(
        loader=FileSystemLoader(data_directory("reports")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters.update(
        amount=_amount,
        amount_change=lambda text, currency: figures.printed_change(text, minor_units(currency)),
        number=figures.printed,
        short=lambda text: figures.printed(text, 1 if "." in text else 0),
        change=figures.printed_change,
        day=figures.printed_day,
        moment=figures.printed_moment,
        words=lambda text: text.replace("_", " "),
        sentence=words,
        labelled=lambda rows: [(figures.label(row), row["amount"]) for row in rows],
        hidden=lambda rows, shown: figures.printed(str(len(rows) - shown)),
        largest_change=_largest_change,
        is_not_zero=lambda text: Decimal(text) != 0,
        is_above_zero=lambda text: Decimal(text) > 0,
    )
    found.globals.update(span=figures.printed_span)
    return found


@cache
def template(name: str) -> Template:
    """A template of `reports/`. A process compiles it once, which takes 40 ms."""
    return _shared().get_template(name)


_shared = cache(environment)
"""One environment for all files, because a template refers to the environment that compiled it."""


def _finalized(value: Any) -> Any:
    """Removes invisible characters from every printed text; our own markup stays unchanged."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _amount(text: str, currency: str) -> str:
    """Money with the currency's digits; Neon's cost may have more digits and is shortened only here."""
    return figures.printed(text, minor_units(currency))


def _largest_change(rows: Sequence[Row], currency: str) -> str:
    """The largest change in the currency, which is the full length of the bars."""
    changes = [str(row["change"]) for row in rows if row["currency"] == currency]
    return max(changes, key=lambda text: abs(Decimal(text)))
