"""Renders an invoice, draft or credit note as a self-contained HTML page and as a PDF."""

from collections.abc import Callable
from datetime import datetime

from metering.core.invoice import Invoice
from metering.core.period import parse_time
from metering.invoicing.printed.sheet import sheet
from metering.invoicing.printed.sheet_usage import Background
from metering.rendering.charts import standing_alone
from metering.rendering.templates import template
from metering.rendering.typeset import Typesetter


def page_writer(background: Background) -> Callable[[Invoice], str]:
    """Returns a function that renders an invoice as an HTML page."""
    written = template("invoice.html.j2")

    def page(invoice: Invoice) -> str:
        return written.render(sheet(invoice, background))

    return page


def invoice_pdf(invoice: Invoice, background: Background, typesetter: Typesetter) -> bytes:
    """The invoice as PDF/A-3b. Equal arguments give equal bytes. One typesetter can be used for many invoices."""
    found = sheet(invoice, background)
    charts = found["charts"]
    assert isinstance(charts, list), "a list of rows"
    found["charts"] = [{**row, "svg": standing_alone(str(row["svg"])) if row["svg"] else None} for row in charts]
    return typesetter.pdf("invoice.typ", found, made_at(invoice))


def made_at(invoice: Invoice) -> datetime:
    """Timestamp of the PDF: `issued_at`, or `as_of` for a draft."""
    return parse_time(invoice.issued_at or invoice.as_of or invoice.period.end)
