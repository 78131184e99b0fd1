"""An issued document with all that its page and its PDF are made from. Reads the store, writes nothing."""

from datetime import datetime

from metering.billing import terms
from metering.billing.month import Month
from metering.config.models import Config
from metering.core.period import Period, parse_time
from metering.core.rows import Json
from metering.invoicing.closing import month_invoices
from metering.invoicing.issued import invoice
from metering.invoicing.printing import background
from metering.invoicing.sheet import Background
from metering.store.database import Store


def printable(store: Store, config: Config, number: str, now: datetime) -> tuple[Json, Background]:
    """An issued invoice or credit note, and what it is printed with. Raises MeteringError for an unknown number."""
    found = invoice(store, number)
    start, end = (parse_time(found["period"][name]) for name in ("start", "end"))
    period = Period(start=start, end=end)
    month = Month(store=store, terms=terms.of(config), period=period, now=now)
    return found, background(month, config, month_invoices(store, config, period, now)["invoices"])
