"""One invoice arranged for reading: parties, lines under their projects, used beside billed, days, what the stamps say.

A noun: an invoice object of the public interface in, a dictionary of texts out, the same for the page and the PDF. No
line, tax or total is computed anew; what is added up here (a project's part, a billed quantity) is added up exactly
from the printed lines. Sentences stand here, so that no two templates tell two stories.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from metering.core.money import Rounding, exact_text
from metering.core.period import Period, days, parse_time
from metering.core.rows import Row, Table, column_sum, grouped
from metering.core.text import visible, words
from metering.invoicing import tax
from metering.rating.pools import by_project
from metering.rendering import charts
from metering.rendering.figures import money_text, printed
from metering.rendering.localized import Format

CHARTS_SHOWN = 4
"""Meters whose days are drawn; the table below the charts has all."""


TITLES = {"credit_note": "Credit note", "supplement": "Supplementary invoice"}
"""Document kind -> what it is called; any other is an invoice."""


def _no_days(_customer: str) -> Table:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What a month's invoices are printed with and do not hold themselves.

    `customers`: id -> its row of customers.csv; `project_names`: id -> name; `usage`: customer -> the month's usage
    rows of projects that nobody else paid for; `days`: customer -> [{meter, unit, days: [{day, quantity, has_gap}]}]
    of the same projects; `locale`: of customers without one; `fonts`: a directory of more fonts for PDF; `by_number`:
    issued document -> what it is printed with instead, which is what was known at its closing.
    """

    seller: Row
    rounding: Rounding = "half_up"
    locale: str = "en"
    fonts: Path | None = None
    customers: Mapping[str, Row] = field(default_factory=dict)
    project_names: Mapping[str, str | None] = field(default_factory=dict)
    usage: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    days: Callable[[str], Table] = _no_days
    by_number: Mapping[str, "Background"] = field(default_factory=dict)


def own_usage(usage: Iterable[Row], payers: Mapping[str, Collection[str]]) -> dict[str, list[Row]]:
    """Customer -> the usage rows of its projects; `payers`: project -> its customers in the month.

    A project that moved to another customer inside the month is left out: its usage cannot be shown to one of them as
    theirs.
    """
    moved = {project for project, customers in payers.items() if len(customers) > 1}
    return grouped((row for row in usage if row["project_id"] not in moved), lambda row: str(row["customer"]))


def sheet(invoice: Row, background: Background) -> dict[str, Any]:
    """What the templates print: texts in the customer's locale, and charts as SVG."""
    background = background.by_number.get(invoice["number"], background)
    customer = {**background.customers.get(invoice["customer"]["id"], {}), **invoice["customer"]}
    customer["tax_id"] = customer.get("tax_id") or tax.owed_id(customer.get("taxes", ()), invoice)
    form = Format(customer.get("locale") or background.locale)
    is_credit_note = invoice.get("kind") == "credit_note"
    return {
        "title": TITLES.get(invoice.get("kind", ""), "Invoice"),
        "number": invoice["number"],
        "is_credit_note": is_credit_note,
        "stamp": {"draft": "Draft", "void": "Void"}.get(invoice["status"]),
        "seller": _party(background.seller),
        "customer": {**_party(customer), "id": customer["id"]},
        "facts": list(_facts(invoice, form)),
        "banner": _banner(invoice, form),
        "currency": invoice["currency"],
        "is_tax_inclusive": bool(invoice.get("tax_inclusive")),
        "groups": _groups(invoice, background.project_names, form),
        "sums": _sums(invoice, form),
        "untaxed": _untaxed(invoice, customer),
        # Beside a supplement's differences, what was used in the month would look as if it were free.
        "quantities": [] if is_credit_note or invoice.get("supplements") else _quantities(invoice, background, form),
        "charts": [] if is_credit_note else _charts(invoice, background, form),
        "notes": list(_notes(invoice, background, form)),
    }


def _untaxed(invoice: Row, customer: Row) -> list[str]:
    """Why lines have no tax, each reason once; in documents of before lines said it, that of the whole document."""
    lines = invoice["lines"]
    if not all("tax_rate_percent" in line for line in lines):
        has_tax = any(Fraction(row["amount"]) for row in invoice["taxes"])
        return [] if has_tax or not customer.get("tax_note") else [str(customer["tax_note"])]
    free = (line for line in lines if not Fraction(line["tax_rate_percent"] or 0))
    notes = (line.get("tax_note") or tax.UNTAXED.get(line.get("tax_category") or "") for line in free)
    return list(dict.fromkeys(note for note in notes if note))


def _party(row: Row) -> dict[str, Any]:
    """Name, address line by line, tax id of the seller or a customer."""
    place = " ".join(str(row[part]) for part in ("postcode", "city") if row.get(part))
    parts = (row.get("address"), row.get("street"), place, row.get("country"), row.get("email"))
    lines = [line.strip() for part in parts for line in str(part or "").splitlines()]
    return {
        "name": row.get("name") or "",
        "lines": [line for line in lines if line],
        "tax_id": row.get("tax_id") or None,
    }


def _facts(invoice: Row, form: Format) -> Iterator[tuple[str, str]]:
    """What the head of the invoice says, in pairs."""
    yield "Period", f"{form.span(invoice['period']['start'], invoice['period']['end'])} (UTC)"
    if invoice["issued_at"]:
        yield "Issued", form.day(invoice["issued_at"])
    if invoice["due_at"] and invoice.get("kind") != "credit_note":
        yield "Due", form.day(invoice["due_at"])
    if invoice.get("credits"):
        yield "Cancels", invoice["credits"]
    if invoice.get("supplements"):
        yield "Supplements", ", ".join(invoice["supplements"])
    if invoice.get("reason"):
        yield "Reason", invoice["reason"]
    yield "Currency", invoice["currency"]


def _banner(invoice: Row, form: Format) -> dict[str, str] | None:
    if invoice["status"] == "draft":
        as_of = form.moment(invoice["as_of"])
        text = f"This is a draft as of {as_of}. It is not a demand for payment and can still change."
        return {"level": "warn", "text": text}
    if invoice["status"] == "void":
        by = f"; {invoice['credited_by']} cancels it" if invoice.get("credited_by") else ""
        return {"level": "bad", "text": f"This invoice is void{by}. Do not pay it."}
    return None


def _groups(invoice: Row, names: Mapping[str, str | None], form: Format) -> Table:
    """Projects by id, then what belongs to no project, each with its lines in the invoice's order."""
    groups = grouped(_worth_reading(invoice["lines"]), lambda line: str(line["project_id"] or ""))
    return [
        {
            **_project(project_id or None, names),
            "lines": [_line(line, invoice, names, form) for line in lines],
            "subtotal": form.number(money_text(column_sum(lines, "amount"), invoice["currency"])),
        }
        for project_id, lines in sorted(groups.items(), key=lambda group: (not group[0], group[0]))
    ]


def _worth_reading(lines: Sequence[Row]) -> Sequence[Row]:
    """The lines without those of a price above zero that came to nothing; all where nothing else is left."""
    kept = [line for line in lines if Fraction(line["amount"]) or not Fraction(line["unit_price"] or 0)]
    return kept or lines


def _project(project_id: str | None, names: Mapping[str, str | None]) -> dict[str, str | None]:
    """How a project is called, and its id where that is another text; `All projects` for none."""
    if project_id is None:
        return {"project": "All projects", "project_id": None}
    name = names.get(project_id)
    return {"project": name or project_id, "project_id": project_id if name and name != project_id else None}


def _line(line: Row, invoice: Row, names: Mapping[str, str | None], form: Format) -> dict[str, Any]:
    period = invoice["period"]
    notes = [] if _span(line) == (period["start"], period["end"]) else [form.span(*_span(line))]
    if line.get("reduced_grain"):
        notes.append("measured by " + {"daily": "day", "monthly": "month"}.get(line.get("grain", ""), "hour"))
    return {
        "description": line["description"],
        "notes": [*notes, *_computed(line, form)],
        "quantity": _quantity(line["quantity"], form),
        "unit": line["unit"] or "",
        "unit_price": None if line["unit_price"] is None else form.number(line["unit_price"]),
        "package_size": form.number(line["package_size"]) if line.get("package_size") else None,
        "amount": form.number(line["amount"]),
        "parts": [
            {
                "project": _project(part["project_id"], names)["project"],
                "quantity": _quantity(part["quantity"], form),
                "amount": form.number(part["amount"]),
            }
            for part in line.get("projects") or ()
        ],
    }


def _computed(line: Row, form: Format) -> Iterator[str]:
    """What else the amount is computed from: packages begun, and both ends of a difference."""
    if "packages" in line:
        yield f"{form.number(line['packages'])} × {form.number(line['package_size'])} begun"
    if "before" in line and Fraction(line["before"]["quantity"]):
        ends = (
            f"{form.number(line[end]['amount'])} for {form.number(line[end]['quantity'])}"
            for end in ("after", "before")
        )
        yield " less ".join(ends)


def _span(line: Row) -> tuple[str, str]:
    return line["from"], line["to"]


def _quantity(text: str | None, form: Format) -> tuple[str, str] | None:
    """A quantity with all its digits, so that a line can be computed again; those after the third stand apart."""
    if text is None:
        return None
    shown, further = form.number(text), max(len(text.partition(".")[2]) - 3, 0)
    return (shown[:-further], shown[-further:]) if further and shown[-1].isdigit() else (shown, "")


def _sums(invoice: Row, form: Format) -> dict[str, Any]:
    return {
        "subtotal": form.number(invoice["subtotal"]),
        "taxes": [
            {
                "what": f"{tax['name']} {form.number(tax['rate_percent'])} % of {form.number(tax['base'])}",
                "amount": form.number(tax["amount"]),
            }
            for tax in invoice["taxes"]
        ],
        "total": form.money(invoice["total"], invoice["currency"]),
    }


def _quantities(invoice: Row, background: Background, form: Format) -> Table:
    """Used, billed and the difference (included, or free of charge) per project, meter and unit of this invoice."""
    owned = by_project(invoice["lines"])
    lines = [line for line in owned if line["kind"] == "usage"]
    billed = grouped(lines, lambda line: (str(line["project_id"]), str(line["meter"]), str(line["unit"])))
    projects = {line["project_id"] for line in owned}
    usage = background.usage.get(invoice["customer"]["id"], ())
    metered = (row for row in usage if row["meter"] is not None and row["project_id"] in projects)
    table: Table = []
    for key, rows in sorted(grouped(metered, lambda row: (row["project_id"], row["meter"], row["unit"])).items()):
        used, charged = column_sum(rows, "quantity"), column_sum(billed.get(key, []), "quantity")
        numbers = {"used": used, "billed": charged, "not_billed": max(used - charged, Fraction(0))}
        table.append(
            {
                **_project(key[0], background.project_names),
                "meter": words(key[1]),
                "unit": key[2],
                **{name: form.number(_thousandths(value)) for name, value in numbers.items()},
            }
        )
    return table


def _thousandths(value: Fraction) -> str:
    """Half away from zero at three places; the lines have every digit."""
    return printed(exact_text(value), 3).replace(",", "")


def _charts(invoice: Row, background: Background, form: Format) -> Table:
    """Usage per day of each meter, those with the highest amounts first, then by name."""
    billed = grouped(invoice["lines"], lambda line: str(line["meter"]))
    amount = {meter: column_sum(lines, "amount") for meter, lines in billed.items()}
    found = background.days(invoice["customer"]["id"])
    ordered = sorted(found, key=lambda row: (-amount.get(row["meter"], Fraction(0)), row["meter"]))
    period = Period(start=parse_time(invoice["period"]["start"]), end=parse_time(invoice["period"]["end"]))
    length = len(list(days(period)))
    return [
        {
            "meter": words(row["meter"]),
            "unit": row["unit"],
            "svg": charts.daily_bars(f"days-{index}", words(row["meter"]), row["unit"], row["days"], length)
            if index < CHARTS_SHOWN
            else None,
            "alt": charts.days_in_words(row["unit"], row["days"]),
            "first": form.day(row["days"][0]["day"]),
            "last": form.day(row["days"][-1]["day"]),
            "days": [
                {
                    "day": form.day(day["day"]),
                    "quantity": form.number(_thousandths(Fraction(day["quantity"]))),
                    "has_gap": day["has_gap"],
                }
                for day in row["days"]
            ],
        }
        for index, row in enumerate(ordered)
        if row["days"]
    ]


def _notes(invoice: Row, background: Background, form: Format) -> Iterator[str]:
    """How the numbers came about, in sentences."""
    mode = "half to even" if background.rounding == "half_even" else "half away from zero"
    sums = (
        "the lines include tax and the total adds them; the tax in it is computed once per rate"
        if invoice.get("tax_inclusive")
        else "the subtotal adds the rounded lines, and tax is computed once per rate on its base"
    )
    yield (
        f"Each line is rounded once, {mode}; {sums}. Quantities are printed with all their digits, so every line can "
        "be computed again."
    )
    coverage = invoice["coverage"] or {"complete": True, "hours": 0, "covered_hours": 0}
    hours = f"{form.number(str(coverage['covered_hours']))} of {form.number(str(coverage['hours']))} hours"
    measured = (
        f"Measured without gaps: {hours}."
        if coverage["complete"]
        else f"{hours} were measured; usage of the others is not billed here."
    )
    coarse = any(line.get("reduced_grain") for line in invoice["lines"])
    marked = " Lines marked “measured by day” or “by month” rest on coarser figures than hours." if coarse else ""
    yield f"{measured}{marked} Usage that becomes known later is settled on a later invoice."
    if invoice["number"]:
        card = invoice["rate_card_sha256"]
        as_of = f" Rate card {card}, as of {form.moment(invoice['as_of'])}." if card else ""
        explained = invoice.get("credits") or invoice["number"]
        yield f"To verify: metering explain {visible(explained)} shows the readings behind every line.{as_of}"
