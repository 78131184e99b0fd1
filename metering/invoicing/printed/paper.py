"""The seller, buyers and locale of documents. A closing freezes them; drafts use those of the configuration.

This is the only source of seller and buyer for pages, PDFs, e-invoices and exports. Reads the store. Must not know
how a document looks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from metering.billing import terms as terms_of_month
from metering.billing.terms import Terms
from metering.config import Config, SellerConfig
from metering.core.ids import canonical
from metering.core.invoice import Invoice, Printed
from metering.core.parties import Customer
from metering.core.period import DAY, Period, month_name, parse_time
from metering.invoicing.lines import tax
from metering.store.database import Store

_IN_PARTS = ("street", "postcode", "city")
_AS_TODAY = ("tax_category", "tax_note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """The seller, the customers by id, and the locale for customers without one of their own."""

    seller: SellerConfig
    locale: str = "en"
    customers: Mapping[str, Customer] = field(default_factory=dict)

    def customer(self, document: Invoice) -> Customer:
        """The buyer: its row of customers.csv with the tax of the period's last day; without a row, its id and name."""
        buyer, last_day = document.customer, parse_time(document.period.end) - DAY
        found = self.customers.get(canonical(buyer.id)) or Customer(id=buyer.id, name=buyer.name)
        paying = found.at(last_day)
        if paying.tax_id is None and (owed := tax.owed_id(found.taxes, document)):
            return paying.model_copy(update={"tax_id": owed})
        return paying


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A closing of a month: the record up to which it read, and its frozen pricing terms, seller, buyers and locale."""

    seq: int
    as_of: datetime
    as_of_seq: int
    frozen_terms: str
    frozen_paper: str | None
    """None for closings under the first rules, which stored none; `today` replaces it."""
    today: Paper
    last_day: datetime

    @cached_property
    def terms(self) -> Terms:
        """The frozen pricing terms."""
        return terms_of_month.from_document(json.loads(self.frozen_terms))

    @cached_property
    def paper(self) -> Paper:
        """Seller, buyers and locale of its documents."""
        customers = {customer.id: customer for customer in self.terms.customers}
        if self.frozen_paper is None:
            return _of_first_rules(customers, self.today, self.last_day)
        return Paper(seller=self.seller, locale=json.loads(self.frozen_paper)["locale"], customers=customers)

    @property
    def seller(self) -> SellerConfig:
        """The seller on its documents."""
        if self.frozen_paper is None:
            return self.today.seller
        return SellerConfig.model_validate(json.loads(self.frozen_paper)["seller"])


@dataclass(frozen=True, kw_only=True)
class Papers:
    """Seller, buyers and locale of one month's documents: of each closing, and of today's configuration.

    `closing_of`: invoice number -> its closing; `home_of`: customer -> the closing of its valid invoice. A closing is
    the journal sequence of its record.
    """

    today: Paper
    closings: Mapping[int, Closed] = field(default_factory=dict)
    closing_of: Mapping[str, int] = field(default_factory=dict)
    home_of: Mapping[str, int] = field(default_factory=dict)

    def closing(self, document: Invoice) -> Closed | None:
        """The closing that issued a document, or the invoice that a credit note cancels. None for a draft."""
        number = document.credits or document.number
        return None if number is None or number not in self.closing_of else self.closings[self.closing_of[number]]

    def of(self, document: Invoice) -> Paper:
        """Seller, buyers and locale of the document."""
        found = self.closing(document)
        return self.today if found is None else found.paper

    def home(self, customer: str) -> int:
        """The closing that issued the customer's valid invoice; the month's first closing without one."""
        return self.home_of.get(customer, min(self.closings))

    @property
    def seller(self) -> SellerConfig:
        """The seller of the month's last closing; today's if the month is not closed."""
        return self.closings[max(self.closings)].seller if self.closings else self.today.seller


def today(config: Config) -> Paper:
    """Seller, buyers and locale of a document issued now."""
    return Paper(
        seller=config.seller, locale=config.invoices.locale, customers={row.id: row for row in config.customer_rows}
    )


def frozen(config: Config) -> Printed:
    """The part that a closing stores, as JSON. The customers are stored with the pricing terms instead."""
    return {"seller": config.seller.model_dump(exclude_defaults=True), "locale": config.invoices.locale}


def papers(store: Store, config: Config, period: Period) -> Papers:
    """Reads the closings of a month with their sellers, buyers and locales."""
    name, now = month_name(period), today(config)
    issued = store.query("invoicing/closings_of_invoices", month=name)
    return Papers(
        today=now,
        closings={
            row["seq"]: Closed(
                seq=row["seq"],
                as_of=row["as_of"],
                as_of_seq=row["as_of_seq"],
                frozen_terms=row["terms"],
                frozen_paper=row["paper"],
                today=now,
                last_day=period.end - DAY,
            )
            for row in store.query("invoicing/closings_of_month", month=name).iter_rows(named=True)
        },
        closing_of=dict(issued.select("number", "seq").iter_rows()),
        home_of=dict(issued.filter(status="final").select("customer", "seq").iter_rows()),
    )


def _of_first_rules(customers: Mapping[str, Customer], now: Paper, last_day: datetime) -> Paper:
    """The paper of a closing under the first rules, which stored no seller and no address in parts; uses today's."""
    known: dict[str, Customer] = {}
    for name, row in customers.items():
        other = now.customers.get(name, row).at(last_day)
        place = {} if row.address else {part: getattr(other, part) for part in _IN_PARTS}
        rest = {part: getattr(row, part) or getattr(other, part) for part in _AS_TODAY}
        known[name] = row.model_copy(update={**place, **rest})
    return Paper(seller=now.seller, locale=now.locale, customers=known)
