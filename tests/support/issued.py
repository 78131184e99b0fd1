"""A month's documents as literals, added up by hand: what the exports are tried on.

Acme (USD, 21 % beside its prices, a customer-wide line over two projects, an adjustment, a discount, a voided invoice
with its credit note), Tokyo (JPY, 10 % within its prices), Kuwait (KWD, no tax, a package) and Zero (EUR, 0 %).
"""

from pathlib import Path

from metering.config import ExportsConfig, SellerConfig
from metering.core.invoice import converted
from metering.core.parties import Customer
from metering.export.documents import Book
from metering.invoicing.printed.paper import Paper, Papers

SEPTEMBER = {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"}
TOTALS = {
    "INV-2026-000001": "121.00 USD",
    "CN-2026-000001": "-121.00 USD",
    "INV-2026-000002": "55.99 USD",
    "INV-2026-000003": "7700 JPY",
    "INV-2026-000004": "12.340 KWD",
    "INV-2026-000005": "9.99 EUR",
}
"""What each document asks for."""
SELLER = SellerConfig(
    name="Acme Platforms Ltd",
    street="1 Example Street",
    city="Brussels",
    postcode="1000",
    country="BE",
    tax_id="BE0123456749",
    email="billing@seller.example",
)
CUSTOMERS = (
    Customer(
        id="acme",
        name="Acme & Söhne",
        street="2 Market Square",
        city="Antwerp",
        postcode="2000",
        country="BE",
        tax_id="BE0987654394",
        email="ap@acme.example",
        tax_rate_percent="21",
        stripe_customer="cus_acme",
    ),
    Customer(
        id="tokyo", name="東京", address="1-1 Chiyoda, Tokyo", country="JP", tax_id="T1234", stripe_customer="cus_tokyo"
    ),
    Customer(id="kuwait", name="Kuwait Co", address="Block 1", country="KW", stripe_customer="cus_kuwait"),
    Customer(
        id="zero", name="Zero", street="Rue 1", city="Paris", postcode="75001", country="FR", stripe_customer="cus_z"
    ),
)


def line(kind: str, amount: str, quantity: str = "1", price: str | None = None, **more) -> dict:
    """A line of project-1 and plan pro over September."""
    meter, unit = more.pop("meter", None), more.pop("unit", "month")
    project, tier = more.pop("project", "project-1"), more.pop("tier", "1")
    made = {
        "key": f"{project or 'acme'}/{meter or kind}/pro/{SEPTEMBER['start']}/{tier}",
        "kind": kind,
        "project_id": project,
        "plan": "pro",
        "meter": meter,
        "description": more.pop("description", kind),
        "from": SEPTEMBER["start"],
        "to": SEPTEMBER["end"],
        "quantity": quantity,
        "unit": unit,
        "unit_price": price,
        "amount": amount,
    }
    return {**made, **more}


def document(number: str, customer: str, currency: str, lines: list[dict], totals: tuple, **more) -> dict:
    """totals: subtotal, taxes as (name, rate, base, amount), total."""
    subtotal, taxes, total = totals
    names = ("name", "rate_percent", "base", "amount")
    return {
        "number": number,
        "status": "final",
        "customer": {"id": customer, "name": next(row.name for row in CUSTOMERS if row.id == customer)},
        "currency": currency,
        "period": SEPTEMBER,
        "issued_at": "2026-10-03T08:00:00Z",
        "due_at": "2026-11-02T08:00:00Z",
        "lines": lines,
        "subtotal": subtotal,
        "taxes": [dict(zip(names, tax, strict=True)) for tax in taxes],
        "total": total,
        "coverage": {"hours": 720, "covered_hours": 720, "complete": True},
        "as_of": "2026-10-03T08:00:00Z",
        "rate_card_sha256": "9f2c" * 16,
        **more,
    }


def documents() -> list[dict]:
    """The month, sorted as `invoices` lists it."""
    fee = {"description": "Pro", "unit": "month"}
    voided = [line("base_fee", "100.00", "1", "100.00", **fee)]
    negated = [{**voided[0], "quantity": "-1", "amount": "-100.00"}]
    compute = {"meter": "compute", "unit": "CU-hour", "description": "Compute beyond 100 CU-hours included"}
    split = [
        {"project_id": "project-1", "quantity": "10.5", "amount": "4.21"},
        {"project_id": "project-2", "quantity": "20.5", "amount": "8.19"},
    ]
    storage = {"meter": "storage", "unit": "GB-month", "project": None, "description": "Storage", "projects": split}
    wrong = {
        "meter": "storage",
        "unit": "GB-month",
        "description": "Storage: correction of 2026-08",
        "tier": "adjustment",
    }
    wrong |= {"from": "2026-08-01T00:00:00Z", "to": "2026-09-01T00:00:00Z"}
    acme = [
        line("base_fee", "20.00", "1", "20.00", **fee),
        line("usage", "5.49", "34.293333333333", "0.16", **compute, grain="hourly"),
        line("usage", "12.00", "90", "0.12", **compute, tier="2"),
        line("usage", "12.40", "31", "0.40", **storage),
        line("adjustment", "-0.62", "-1.55", None, **wrong),
        line("discount", "-3.00", "1", None, project=None, unit=None, description="Launch offer"),
    ]
    vat = ("VAT", "21")
    return [
        document(
            "CN-2026-000001",
            "acme",
            "USD",
            negated,
            ("-100.00", [(*vat, "-100.00", "-21.00")], "-121.00"),
            kind="credit_note",
            credits="INV-2026-000001",
            reason="wrong plan",
            due_at=None,
        ),
        document(
            "INV-2026-000001",
            "acme",
            "USD",
            voided,
            ("100.00", [(*vat, "100.00", "21.00")], "121.00"),
            status="void",
        ),
        document("INV-2026-000002", "acme", "USD", acme, ("46.27", [(*vat, "46.27", "9.72")], "55.99")),
        document(
            "INV-2026-000004",
            "kuwait",
            "KWD",
            [
                line("base_fee", "2.340", "1", "2.340", **fee),
                line("usage", "10.000", "17", "5.000", meter="public_transfer", unit="GB", package_size="10"),
            ],
            ("12.340", [], "12.340"),
        ),
        document(
            "INV-2026-000003",
            "tokyo",
            "JPY",
            [line("base_fee", "5000", "1", "5000", **fee), line("usage", "2700", "100", "27", **compute)],
            ("7000", [("消費税", "10", "7000", "700")], "7700"),
            tax_inclusive=True,
        ),
        document(
            "INV-2026-000005",
            "zero",
            "EUR",
            [line("base_fee", "9.99", "1", "9.99", **fee)],
            ("9.99", [("VAT", "0", "9.99", "0.00")], "9.99"),
        ),
    ]


def book(found: list[dict] | None = None, customers: tuple[Customer, ...] = CUSTOMERS, seller=SELLER) -> Book:
    """The documents as the exports get them."""
    return Book(
        documents=[converted(row) for row in (documents() if found is None else found)],
        papers=Papers(today=Paper(seller=seller, customers={row.id: row for row in customers})),
        names=ExportsConfig(),
        stripe_customers={row.id: row.stripe_customer for row in customers if row.stripe_customer},
    )


def poisoned(text: str) -> Book:
    """The month with every name, description and id of a customer's own turned into one hostile text."""
    keys = {"name", "description", "reason", "project_id", "plan"}

    def turned(value, key=None):
        if isinstance(value, dict):
            return {name: turned(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [turned(part, key) for part in value]
        return text if isinstance(value, str) and key in keys else value

    rows = [
        row.model_copy(update={"name": text, "street": text, "city": text, "postcode": text, "tax_note": text})
        for row in CUSTOMERS
    ]
    return book(turned(documents()), tuple(rows))


POISON = [
    "<script>alert(1)</script> & \"quoted\" 'once'",
    '=HYPERLINK("http://evil.example","click")',
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\tindented",
    "\r\nInjected: header",
    "＝1+1",
    "../../etc/passwd",
    "a\x00b\x1b[31mred",
    "\u202egnp.exe שלום",
    "x" * 300,
    "semi;colon | pipe \\ back, comma",
    "a:b, tag:value",
    "lone \ud800 surrogate",
    "]]></Name><Evil>",
]
"""What customers call themselves when they mean harm."""
TOP = Path(__file__).parents[2]
