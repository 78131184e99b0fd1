"""A month of a made-up platform: sixty customers, three plans, ninety projects; what a report is made from.

Every figure is a function of the seed, drawn as whole numbers; the invoices are added up here by hand, with integers.
"""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from metering.core.period import Period, month_of, previous_month, rfc3339
from metering.reporting.facts import Facts

SEPTEMBER = month_of(datetime(2026, 9, 1, tzinfo=UTC))
SELLER = {
    "name": "Acme Platforms Ltd",
    "address": "1 Example Street, 1000 Example",
    "country": "BE",
    "tax_id": "BE0123456749",
}
NAMES = (
    """
Northwind Analytics, Brightleaf, Harbour & Sons, Kestrel Labs, Oakline Studio, Pixel Foundry, Quarry Data,
Riverbend Health, Solstice Games, Tandem Logistics, Umbra Security, Vesper Music, Willow Finance, Yonder Travel,
Zephyr Robotics, Alder Books, Beacon Legal, Cobalt Retail, Delta Kitchens, Ember Energy, Fjord Maps, Granite
Insurance, Hazel Care, Indigo Learning, Juniper Homes, Kite Mobility, Lumen Research, Marble Design, Nimbus
Weather, Opal Events, Pine Street Bakery, Quill Press, Rowan Biotech, Saffron Foods, Thistle Media, Upland
Farms, Velvet Cinema, Wharf Shipping, Xenon Optics, Yarrow Clinics, Zinc Works, Aster Mobile, Birch Payments,
Cedar Schools, Dune Sports, Elm Recruiting, Fern Gardens, Glacier Water, Heron Air, Iris Vision, Jasper Tools,
Kelp Ocean, Lark Radio, Moss Housing, Nectar Coffee, Orchid Beauty, Pebble Toys, Quartz Watches, Raven Games,
Société Générale d’Épices
""".replace("\n", " ")
    .strip()
    .split(", ")
)
PLANS = {
    # Base fee in cents; compute price in hundredths of a cent, CU-hours included; the same of storage, GB-months.
    "starter": (900, 1900, 20, 4500, 5),
    "pro": (2900, 1600, 100, 4000, 20),
    "scale": (9900, 1400, 400, 3500, 100),
}
# Neon's price per unit in hundredths of a cent.
COSTS = {
    "compute": (1060, "CU-hour"),
    "storage": (3500, "GB-month"),
    "public_transfer": (1000, "GB"),
    "instant_restore": (2000, "GB-month"),
}


def facts(*, has_gaps: bool = False, seed: int = 7, as_of: datetime = datetime(2026, 10, 3, 12, tzinfo=UTC)) -> Facts:
    """September 2026; with gaps the month is still incomplete and its invoices are drafts."""
    fleet = _fleet(random.Random(seed))
    is_final = not has_gaps and as_of >= SEPTEMBER.end
    now = [_usage(fleet, random.Random(seed + 1)), _usage(fleet, random.Random(seed + 2))]
    gaps = _gaps() if has_gaps else []
    covered = 720 - sum(14 for _ in gaps)
    return Facts(
        month=SEPTEMBER,
        as_of=as_of,
        seller=SELLER,
        invoices=_invoices(fleet[2:], now[0], SEPTEMBER, as_of=as_of, is_final=is_final),
        previous_invoices=_invoices(fleet[:-3], now[1], previous_month(SEPTEMBER.start), as_of=as_of, is_final=True),
        usage=now[0],
        previous_usage=now[1],
        coverage={"hours": 720, "covered_hours": covered, "complete": not gaps, "gaps": gaps},
        quotas=_quotas(fleet, random.Random(seed + 3)),
        alerts=_alerts(_quotas(fleet, random.Random(seed + 3))),
        unassigned=[{"project_id": "stray-moon-00000001", "metric": "compute_unit_seconds", "value": "91234"}],
        unpriced=[
            {
                "project_id": fleet[4]["project_id"],
                "metric": "vector_index_seconds",
                "value": "5120",
                "reason": "no_meter",
            },
            {
                "project_id": fleet[9]["project_id"],
                "metric": "snapshot_storage_bytes_month",
                "value": "18446744073709551617",
                "reason": "not_in_plan",
            },
        ],
        costs=_costs(now[0]),
        days=_days(now[0], random.Random(seed + 4)),
    )


def _fleet(rng: random.Random) -> list[dict[str, Any]]:
    """One row per project: its customer, plan and size."""
    fleet = []
    for index, name in enumerate(NAMES):
        customer = f"cust{index + 1:03d}"
        plan = rng.choices(list(PLANS), weights=[5, 4, 1])[0]
        for number in range(rng.choice([1, 1, 1, 2, 3])):
            first, second = rng.choice(["calm", "wild", "late", "soft"]), rng.choice(["dawn", "lake", "sun", "leaf"])
            project_id = f"{first}-{second}-{rng.randrange(10**7, 10**8)}"
            fleet.append(
                {
                    "customer": customer,
                    "customer_name": name,
                    "plan": plan,
                    "project_id": project_id,
                    "project_name": f"acme-{customer}-{plan}-{1756684800 + 3600 * (index * 7 + number)}",
                    "organization": "org-paid-12345678" if plan != "starter" else "org-paid-87654321",
                    "size": rng.choice([1, 2, 3, 5, 9, 20]) * {"starter": 1, "pro": 4, "scale": 15}[plan],
                }
            )
    return fleet


def _usage(fleet: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    rows = []
    for project in fleet:
        cells = {
            ("compute_unit_seconds", "compute", "CU-hour", 3600): project["size"] * rng.randrange(20_000, 90_000),
            ("root_branch_bytes_month", "storage", "GB-month", 10**9): project["size"]
            * rng.randrange(10**8, 3 * 10**9),
            ("child_branch_bytes_month", "storage", "GB-month", 10**9): project["size"] * rng.randrange(10**6, 10**9),
            ("public_network_transfer_bytes", "public_transfer", "GB", 10**9): project["size"]
            * rng.randrange(10**7, 5 * 10**9),
            ("instant_restore_bytes_month", "instant_restore", "GB-month", 10**9): project["size"]
            * rng.randrange(10**6, 2 * 10**8),
        }
        for (metric, meter, unit, divisor), value in cells.items():
            quantity = _decimal(Fraction(value, divisor))
            rows.append(
                {
                    **{key: project[key] for key in ("organization", "project_id", "project_name", "customer", "plan")},
                    **{"metric": metric, "value": str(value), "meter": meter, "quantity": quantity, "unit": unit},
                }
            )
    return rows


def _decimal(value: Fraction, places: int = 12) -> str:
    scaled = (2 * value.numerator * 10**places + value.denominator) // (2 * value.denominator)
    text = f"{scaled // 10**places}.{scaled % 10**places:0{places}d}"
    return text.rstrip("0").rstrip(".")


def _cents(value: int) -> str:
    return f"{value // 100}.{value % 100:02d}"


def _invoices(
    fleet: list[dict[str, Any]], usage: list[dict[str, Any]], month: Period, *, as_of: datetime, is_final: bool
) -> list[dict[str, Any]]:
    invoices: list[dict[str, Any]] = []
    for number, customer in enumerate(sorted({row["customer"] for row in fleet}), start=1):
        projects = sorted((row for row in fleet if row["customer"] == customer), key=lambda row: str(row["project_id"]))
        lines = [line for project in projects for line in _lines(project, usage, month)]
        subtotal = sum(int(line["amount"].replace(".", "")) for line in lines)
        tax = (subtotal * 21 + 50) // 100 if number % 3 else 0
        invoices.append(
            {
                "number": f"INV-2026-{number:06d}" if is_final else None,
                "status": "final" if is_final else "draft",
                "customer": {
                    "id": customer,
                    "name": projects[0]["customer_name"],
                    "address": f"{number} Market Square, 2000 Sample",
                    "tax_id": f"BE{number:010d}",
                },
                "currency": "USD",
                "period": {"start": rfc3339(month.start), "end": rfc3339(month.end)},
                "issued_at": rfc3339(as_of) if is_final else None,
                "due_at": rfc3339(as_of + timedelta(days=30)) if is_final else None,
                "lines": lines,
                "subtotal": _cents(subtotal),
                "taxes": [{"name": "VAT", "rate_percent": "21", "base": _cents(subtotal), "amount": _cents(tax)}]
                if tax
                else [],
                "total": _cents(subtotal + tax),
                "coverage": {"hours": 720, "covered_hours": 720, "complete": True},
                "as_of": rfc3339(as_of),
                "rate_card_sha256": "9f2c" * 16,
            }
        )
    return invoices


def _lines(project: dict[str, Any], usage: list[dict[str, Any]], month: Period) -> list[dict[str, Any]]:
    fee, compute, included_hours, storage, included_gb = PLANS[project["plan"]]
    start, end = rfc3339(month.start), rfc3339(month.end)
    common = {"project_id": project["project_id"], "plan": project["plan"]}
    head = f"{project['project_id']}/"
    lines: list[dict[str, Any]] = [
        {
            **{"key": f"{head}base_fee/{project['plan']}/{start}/1", "kind": "base_fee", **common, "meter": None},
            **{"description": project["plan"].title(), "from": start, "to": end, "quantity": "1", "unit": "month"},
            **{"unit_price": _cents(fee), "amount": _cents(fee)},
        }
    ]
    for meter, price, included, unit in (
        ("compute", compute, included_hours, "CU-hour"),
        ("storage", storage, included_gb, "GB-month"),
    ):
        used = sum(
            Fraction(row["quantity"])
            for row in usage
            if row["project_id"] == project["project_id"] and row["meter"] == meter
        )
        beyond = max(Fraction(0), used - included)
        if beyond:
            exact = beyond * price / 100
            amount = (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
            lines.append(
                {
                    **{"key": f"{head}{meter}/{project['plan']}/{start}/1", "kind": "usage", **common, "meter": meter},
                    **{"description": f"{meter.title()} beyond {included} {unit}s included", "from": start, "to": end},
                    **{
                        "quantity": _decimal(beyond),
                        "unit": unit,
                        "unit_price": _decimal(Fraction(price, 10000), 4),
                        "amount": _cents(amount),
                    },
                }
            )
    return lines


def _costs(usage: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for row in usage:
        price, unit = COSTS[row["meter"]]
        amount = _decimal(Fraction(row["quantity"]) * price / 10000, 4)
        rows.append(
            {key: row[key] for key in ("organization", "project_id", "customer", "plan", "meter", "quantity")}
            | {"unit": unit, "amount": amount, "currency": "USD"}
        )
    return rows


def _days(usage: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Each meter's month over its days, quieter at weekends."""
    rows = []
    for meter in COSTS:
        whole = sum(Decimal(row["quantity"]) for row in usage if row["meter"] == meter)
        weights = [
            rng.randrange(80, 120) * (6 if (SEPTEMBER.start + timedelta(days=day)).weekday() < 5 else 4)
            for day in range(30)
        ]
        for day, weight in enumerate(weights):
            quantity = _decimal(Fraction(whole) * weight / sum(weights), 6)
            rows.append({"day": f"2026-09-{day + 1:02d}", "meter": meter, "quantity": quantity})
    return rows


def _quotas(fleet: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    rows = []
    for project in fleet[::3]:
        limit, hundredths = (
            project["size"] * 100_000,
            rng.choice([1200, 3350, 5500, 7999, 8000, 8333, 9120, 9500, 9999, 10000, 12140]),
        )
        level = (
            "exceeded"
            if hundredths >= 10000
            else "critical"
            if hundredths >= 9500
            else "warning"
            if hundredths >= 8000
            else "ok"
        )
        rows.append(
            {
                **{key: project[key] for key in ("project_id", "project_name", "customer", "plan")},
                "quota": rng.choice(["compute_time_seconds", "data_transfer_bytes"]),
                "used": str(limit * hundredths // 10000),
                "limit": str(limit),
                "percent": _cents(hundredths),
                "threshold_percent": {"exceeded": 100, "critical": 95, "warning": 80}.get(level),
                "level": level,
                "source": "counter",
                "observed_at": "2026-09-30T23:45:00Z",
                "period": {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"},
                "forecast": None,
            }
        )
    rows.append(
        {
            **rows[0],
            "project_id": "dark-star-99999999",
            "used": None,
            "percent": None,
            "threshold_percent": None,
            "level": "unknown",
        }
    )
    return rows


def _alerts(quotas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "alert_id": f"alert_{index:016x}",
            "type": "quota.exceeded" if row["level"] == "exceeded" else "quota.threshold_reached",
            **{
                key: row[key]
                for key in ("project_id", "project_name", "customer", "quota", "threshold_percent", "percent")
            },
            "observed_at": f"2026-09-{index % 27 + 2:02d}T{index % 24:02d}:15:00Z",
            "status": "delivered" if index % 7 else "pending",
        }
        for index, row in enumerate(quotas)
        if row["threshold_percent"] is not None
    ]


def _gaps() -> list[dict[str, str]]:
    return [
        {
            "organization": "org-paid-12345678",
            "start": "2026-09-11T03:00:00Z",
            "end": "2026-09-11T17:00:00Z",
            "reason": "no complete read",
        },
        {
            "organization": "org-paid-87654321",
            "start": "2026-09-23T20:00:00Z",
            "end": "2026-09-24T10:00:00Z",
            "reason": "403 for this key",
        },
    ]
