"""Invoices, and Neon's cost, as rows of FOCUS (FinOps Open Cost and Usage Specification).

Pure. We are the provider and the issuer, the customer is the billing account, the project its sub account. A row per
line (per project, where a line stands for several) and one per tax: BilledCost sums to what an invoice asks for.
ListCost and ContractedCost are quantity times price before rounding; where a line is no such product (a package, a flat
fee, a price that includes tax), it is one charge at its amount.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from metering.billing.cost import CostRow
from metering.core.invoice import Invoice
from metering.core.money import exact_text, round_amount
from metering.export.documents import Book, tax_title
from metering.export.focus_columns import Row, fits
from metering.export.shares import Share, shares

UNITS = {"CU-hour": "Hours", "GB-month": "GB-Months", "GB": "GB", "branch-month": "Branch-Months", "month": "Months"}
"""Our units as FOCUS spells them; another stands as it is."""
CATEGORIES = {
    "usage": "Usage",
    "adjustment": "Usage",
    "base_fee": "Purchase",
    "flat_fee": "Purchase",
    "minimum": "Purchase",
    "discount": "Credit",
}
_SERVICE = {"ServiceCategory": "Databases", "ServiceSubcategory": "Relational Databases"}
_HOST = "Neon"


def charges(book: Book, names_of: Callable[[Invoice], Mapping[str, str | None]]) -> list[Row]:
    """What customers were charged: each document's lines in order, then its taxes; `names_of` its projects."""
    return [row for document in book.documents for row in _of_document(book, document, names_of(document))]


def _of_document(book: Book, document: Invoice, project_names: Mapping[str, str | None]) -> Iterator[Row]:
    head = _head(book, document)
    for share in shares(document, by_project=True):
        yield {**head, **_line(share, document), **_project(share.project_id, project_names)}
    for number, tax in enumerate(document.taxes, start=1):
        yield {
            **head,
            **_costs(tax.amount),
            "ChargeCategory": "Tax",
            "ChargeDescription": tax_title(tax),
            "ChargeFrequency": "Recurring",
            "ChargePeriodStart": document.period.start,
            "ChargePeriodEnd": document.period.end,
            "InvoiceDetailId": f"tax/{number}",
            "x_LineKind": "tax",
        }


def _head(book: Book, document: Invoice) -> dict[str, str | None]:
    seller, buyer = book.seller(document).name, document.customer
    return {
        **_SERVICE,
        "BillingAccountId": buyer.id,
        "BillingAccountName": buyer.name,
        "BillingAccountType": "Customer",
        "BillingCurrency": document.currency,
        "PricingCurrency": document.currency,
        "BillingPeriodStart": document.period.start,
        "BillingPeriodEnd": document.period.end,
        "ChargeClass": "Correction" if _is_correction(document) else None,
        "InvoiceId": document.number,
        **dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName", "ServiceProviderName"), seller),
        "HostProviderName": _HOST,
        "ServiceName": book.names.service_name,
        "x_DocumentKind": document.kind or "invoice",
        "x_Status": document.status,
        "x_Customer": buyer.id,
    }


def _is_correction(document: Invoice) -> bool:
    """Whether it changes what was invoiced for its period before: a credit note or a supplement."""
    return document.kind in {"credit_note", "supplement"}


def _line(share: Share, document: Invoice) -> dict[str, str | None]:
    line, category = share.line, CATEGORIES[share.line.kind]
    is_correction = line.kind == "adjustment" or _is_correction(document)
    is_priced = category != "Credit" and not is_correction
    sku = f"{line.plan or '-'}/{line.meter or line.kind}"
    tier = line.key.removesuffix("/flat").rpartition("/")[2] + ("/flat" if line.kind == "flat_fee" else "")
    split = f"/{share.project_id}" if share.project_id != line.project_id else ""
    return {
        **_costs(share.net_text),
        **(_priced(share) if is_priced else {}),
        **({"ChargeClass": "Correction"} if is_correction else {}),
        "ChargeCategory": category,
        "ChargeDescription": line.description,
        "ChargeFrequency": "Usage-Based" if category == "Usage" else "Recurring",
        "ChargePeriodStart": line.start,
        "ChargePeriodEnd": line.end,
        "ConsumedQuantity": share.quantity if category == "Usage" and is_priced else None,
        "ConsumedUnit": _unit(line.unit) if category == "Usage" and is_priced else None,
        "InvoiceDetailId": f"{line.key}{split}",
        "SkuId": sku,
        "SkuMeter": line.meter or line.kind,
        "SkuPriceId": f"{sku}/{tier}",
        "x_Plan": line.plan,
        "x_LineKind": line.kind,
        "x_Grain": line.grain or None,
    }


def _priced(share: Share) -> dict[str, str | None]:
    """Quantity, price and their product, which the rounded amount is within a minor unit of; else one charge."""
    line = share.line
    price = None if line.unit_price is None or line.package_size else Fraction(line.unit_price)
    quantity = Fraction(share.quantity)
    if price is not None and quantity > 0:
        cost = quantity * price
        is_near = abs(round_amount(cost, share.currency) - share.net) <= 1
        if is_near and fits(Decimal(exact_text(cost))):
            return _product(share.quantity, _unit(line.unit), line.unit_price or "", exact_text(cost))
    return _product("1", "Charges", share.net_text, share.net_text)


def _product(quantity: str, unit: str, price: str, cost: str) -> dict[str, str | None]:
    prices = ("ListUnitPrice", "ContractedUnitPrice")
    return {
        "PricingCategory": "Standard",
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        **dict.fromkeys((*prices, *(f"PricingCurrency{name}" for name in prices)), price),
        **dict.fromkeys(("ListCost", "ContractedCost"), cost),
    }


def _costs(amount: str) -> dict[str, str | None]:
    """Fills every cost column with the amount."""
    names = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingCurrencyEffectiveCost")
    return dict.fromkeys(names, amount)


def _project(project: str | None, names: Mapping[str, str | None]) -> dict[str, str | None]:
    if project is None:
        return {}
    return {
        **dict.fromkeys(("SubAccountId", "ResourceId"), project),
        **dict.fromkeys(("SubAccountName", "ResourceName"), names.get(project) or project),
        "SubAccountType": "Project",
        "ResourceType": "Neon project",
        "Tags": json.dumps({"project": project}, ensure_ascii=False),
    }


def _unit(unit: str | None) -> str:
    return UNITS.get(unit or "", unit or "Charges")


def costs(
    rows: Iterable[CostRow],
    prices: Mapping[str, set[Decimal]],
    period: tuple[str, str],
    project_names: Mapping[str, str | None],
    status: str,
) -> list[Row]:
    """What Neon charges us, from the rows of neon_cost; `prices`: every price of each meter in Neon's list."""
    return [
        {
            **_SERVICE,
            **_costs(row.amount),
            **_neon_price(row, prices.get(row.meter, set())),
            **dict.fromkeys(("BillingAccountId", "BillingAccountName"), row.organization),
            "BillingAccountType": "Organization",
            **dict.fromkeys(("BillingCurrency", "PricingCurrency"), row.currency),
            **dict.fromkeys(("BillingPeriodStart", "ChargePeriodStart"), period[0]),
            **dict.fromkeys(("BillingPeriodEnd", "ChargePeriodEnd"), period[1]),
            **dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName", "ServiceProviderName"), _HOST),
            "HostProviderName": _HOST,
            "ServiceName": _HOST,
            "ChargeCategory": "Usage",
            "ChargeDescription": f"{row.meter} of {row.project_id}",
            "ChargeFrequency": "Usage-Based",
            "ConsumedQuantity": row.quantity,
            "ConsumedUnit": _unit(row.unit),
            "InvoiceDetailId": f"{row.organization}/{row.project_id}/{row.plan or '-'}/{row.meter}",
            "SkuId": row.meter,
            "SkuMeter": row.meter,
            "SkuPriceId": row.meter,
            "x_Status": status,
            "x_Customer": row.customer,
            "x_Plan": row.plan,
            "x_LineKind": "cost",
            **_project(row.project_id, project_names),
        }
        for row in rows
    ]


def _neon_price(row: CostRow, prices: Iterable[Decimal]) -> dict[str, str | None]:
    """The price of Neon's list that gives the exact cost; one charge where several prices, or none, are in it."""
    quantity, exact = Fraction(row.quantity), Fraction(row.exact)
    for price in sorted(prices):
        # Quantity and cost are printed to 12 places each.
        if quantity and abs(quantity * Fraction(price) - exact) < Fraction(1, 10**9):
            return _product(row.quantity, _unit(row.unit), f"{price:f}", exact_text(quantity * Fraction(price)))
    return _product("1", "Charges", row.amount, row.amount)
