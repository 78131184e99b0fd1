"""An invoice, draft or credit note as a self-contained page and as a PDF."""

from collections.abc import Callable
from datetime import datetime

from metering.core.period import parse_time
from metering.core.rows import Row
from metering.invoicing.sheet import Background, sheet
from metering.rendering.charts import standing_alone
from metering.rendering.templates import template
from metering.rendering.typeset import Typesetter


def page_writer(background: Background) -> Callable[[Row], str]:
    """Turns invoices into HTML pages, one after the other."""
    written = template("invoice.html.j2")

    def page(invoice: Row) -> str:
        return written.render(sheet(invoice, background))

    return page


def invoice_pdf(invoice: Row, background: Background, typesetter: Typesetter) -> bytes:
    """The invoice as PDF/A-3b; the same invoice and background give the same bytes. One typesetter does for many."""
    found = sheet(invoice, background)
    found["charts"] = [
        {**row, "svg": standing_alone(str(row["svg"])) if row["svg"] else None} for row in found["charts"]
    ]
    return typesetter.pdf("invoice.typ", found, made_at(invoice))


def made_at(invoice: Row) -> datetime:
    """When the document came to be: its issue, of a draft the moment that it is as of."""
    return parse_time(invoice["issued_at"] or invoice["as_of"] or invoice["period"]["end"])
