"""Reads an issued document and the background of its page and PDF. Writes nothing."""

from datetime import datetime

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config import Config
from metering.core.invoice import Invoice
from metering.core.period import Period, parse_time
from metering.invoicing.closing import month_invoices
from metering.invoicing.issued import invoice
from metering.invoicing.printed.printing import background
from metering.invoicing.printed.sheet_usage import Background
from metering.store.database import Store


def printable(store: Store, config: Config, number: str, now: datetime) -> tuple[Invoice, Background]:
    """An issued invoice or credit note and its background. Raises MeteringError for an unknown number."""
    found = invoice(store, number).invoice
    period = Period(start=parse_time(found.period.start), end=parse_time(found.period.end))
    month = Month(recorded=Recorded(store=store), terms=terms.of(config), period=period, now=now)
    return found, background(month, config, month_invoices(month).documents)
