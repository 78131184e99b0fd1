"""Arranges one invoice for printing: parties, lines grouped by project, used and billed quantities, charts, notes.

Pure: takes an invoice and its background, returns a dictionary of texts for the page and the PDF alike. Lines, taxes
and totals are not computed again; subtotals and billed quantities are exact sums of the printed lines. All sentences
are here, so that page and PDF have the same ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from metering.core.invoice import Covered, Invoice, Line, Printed
from metering.core.money import exact_sum
from metering.core.rows import Row, grouped
from metering.core.text import visible
from metering.invoicing.lines import tax
from metering.invoicing.printed.sheet_usage import Background, called, quantities, used_charts
from metering.rendering.figures import money_text
from metering.rendering.localized import Format

TITLES = {"credit_note": "Credit note", "supplement": "Supplementary invoice"}
"""Document kind -> title; any other kind is an invoice."""


def sheet(invoice: Invoice, background: Background) -> Printed:
    """The variables of the templates: texts in the customer's locale, and charts as SVG."""
    background = background.by_number.get(invoice.number or "", background)
    buyer = invoice.customer
    customer = {**background.customers.get(buyer.id, {}), "id": buyer.id, "name": buyer.name}
    customer["tax_id"] = customer.get("tax_id") or tax.owed_id(customer.get("taxes", ()), invoice)
    form = Format(customer.get("locale") or background.locale)
    return {
        "title": TITLES.get(invoice.kind or "", "Invoice"),
        "number": invoice.number,
        "is_credit_note": invoice.is_credit_note,
        "stamp": {"draft": "Draft", "void": "Void"}.get(invoice.status),
        "seller": _party(background.seller),
        "customer": {**_party(customer), "id": customer["id"]},
        "facts": list(_facts(invoice, form)),
        "banner": _banner(invoice, form),
        "currency": invoice.currency,
        "is_tax_inclusive": invoice.tax_inclusive,
        "groups": _groups(invoice, background.project_names, form),
        "sums": _sums(invoice, form),
        "untaxed": _untaxed(invoice, customer),
        # A supplement has differences only: beside them the month's usage would look free of charge.
        "quantities": [] if invoice.is_credit_note or invoice.supplements else quantities(invoice, background, form),
        "charts": [] if invoice.is_credit_note else used_charts(invoice, background, form),
        "notes": list(_notes(invoice, background, form)),
    }


def _untaxed(invoice: Invoice, customer: Row) -> list[str]:
    """The reasons why lines have no tax, each once; for documents without tax per line, the customer's reason."""
    if not invoice.says_taxes:
        has_tax = any(Fraction(entry.amount) for entry in invoice.taxes)
        return [] if has_tax or not customer.get("tax_note") else [str(customer["tax_note"])]
    free = (line for line in invoice.lines if not Fraction(line.rate or 0))
    notes = (line.tax_note or tax.UNTAXED.get(line.tax_category or "") for line in free)
    return list(dict.fromkeys(note for note in notes if note))


def _party(row: Row) -> Printed:
    """Name, address lines and tax id of the seller or a customer."""
    place = " ".join(str(row[part]) for part in ("postcode", "city") if row.get(part))
    parts = (row.get("address"), row.get("street"), place, row.get("country"), row.get("email"))
    lines = [line.strip() for part in parts for line in str(part or "").splitlines()]
    return {
        "name": row.get("name") or "",
        "lines": [line for line in lines if line],
        "tax_id": row.get("tax_id") or None,
    }


def _facts(invoice: Invoice, form: Format) -> Iterator[tuple[str, str]]:
    """The head of the invoice as (label, text)."""
    yield "Period", f"{form.span(invoice.period.start, invoice.period.end)} (UTC)"
    if invoice.issued_at:
        yield "Issued", form.day(invoice.issued_at)
    if invoice.due_at and not invoice.is_credit_note:
        yield "Due", form.day(invoice.due_at)
    if invoice.credits:
        yield "Cancels", invoice.credits
    if invoice.supplements:
        yield "Supplements", ", ".join(invoice.supplements)
    if invoice.reason:
        yield "Reason", invoice.reason
    yield "Currency", invoice.currency


def _banner(invoice: Invoice, form: Format) -> dict[str, str] | None:
    if invoice.status == "draft":
        assert invoice.as_of is not None, "a draft has as_of"
        as_of = form.moment(invoice.as_of)
        text = f"This is a draft as of {as_of}. It is not a demand for payment and can still change."
        return {"level": "warn", "text": text}
    if invoice.status == "void":
        return {"level": "bad", "text": "This invoice is void. Do not pay it."}
    return None


def _groups(invoice: Invoice, names: Mapping[str, str | None], form: Format) -> list[Printed]:
    """Lines grouped by project in the order of ids, then the lines of no project; each group in the invoice's order."""
    groups = grouped(_worth_reading(invoice.lines), lambda line: line.project_id or "")
    return [
        {
            **called(project_id or None, names),
            "lines": [_line(line, invoice, names, form) for line in lines],
            "subtotal": form.number(money_text(exact_sum(line.amount for line in lines), invoice.currency)),
        }
        for project_id, lines in sorted(groups.items(), key=lambda group: (not group[0], group[0]))
    ]


def _worth_reading(lines: Sequence[Line]) -> Sequence[Line]:
    """The lines, without those that have a price but amount to zero; all lines if no others are left."""
    kept = [line for line in lines if Fraction(line.amount) or not Fraction(line.unit_price or 0)]
    return kept or lines


def _line(line: Line, invoice: Invoice, names: Mapping[str, str | None], form: Format) -> Printed:
    whole = (invoice.period.start, invoice.period.end)
    notes = [] if (line.start, line.end) == whole else [form.span(line.start, line.end)]
    if line.reduced_grain:
        notes.append("measured by " + {"daily": "day", "monthly": "month"}.get(line.grain or "", "hour"))
    return {
        "description": line.description,
        "notes": [*notes, *_computed(line, form)],
        "quantity": _quantity(line.quantity, form),
        "unit": line.unit or "",
        "unit_price": None if line.unit_price is None else form.number(line.unit_price),
        "package_size": form.number(line.package_size) if line.package_size else None,
        "amount": form.number(line.amount),
        "parts": [
            {
                "project": called(part.project_id, names)["project"],
                "quantity": _quantity(part.quantity, form),
                "amount": form.number(part.amount),
            }
            for part in line.projects or ()
        ],
    }


def _computed(line: Line, form: Format) -> Iterator[str]:
    """Further operands of the amount: packages begun, and both ends of a difference."""
    if line.packages is not None and line.package_size is not None:
        yield f"{form.number(line.packages)} × {form.number(line.package_size)} begun"
    if line.before and line.after and Fraction(line.before.quantity):
        ends = (f"{form.number(end.amount)} for {form.number(end.quantity)}" for end in (line.after, line.before))
        yield " less ".join(ends)


def _quantity(text: str, form: Format) -> tuple[str, str]:
    """A quantity with all its digits: up to the third decimal, and the rest, which is printed smaller."""
    shown, further = form.number(text), max(len(text.partition(".")[2]) - 3, 0)
    return (shown[:-further], shown[-further:]) if further and shown[-1].isdigit() else (shown, "")


def _sums(invoice: Invoice, form: Format) -> Printed:
    return {
        "subtotal": form.number(invoice.subtotal),
        "taxes": [
            {
                "what": f"{entry.name} {form.number(entry.rate_percent)} % of {form.number(entry.base)}",
                "amount": form.number(entry.amount),
            }
            for entry in invoice.taxes
        ],
        "total": form.money(invoice.total, invoice.currency),
    }


def _notes(invoice: Invoice, background: Background, form: Format) -> Iterator[str]:
    """Sentences that explain rounding, coverage and verification."""
    mode = "half to even" if background.rounding == "half_even" else "half away from zero"
    sums = (
        "the lines include tax and the total adds them; the tax in it is computed once per rate"
        if invoice.tax_inclusive
        else "the subtotal adds the rounded lines, and tax is computed once per rate on its base"
    )
    yield (
        f"Each line is rounded once, {mode}; {sums}. Quantities are printed with all their digits, so every line can "
        "be computed again."
    )
    coverage = invoice.coverage or Covered(complete=True, hours=0, covered_hours=0)
    hours = f"{form.number(str(coverage.covered_hours))} of {form.number(str(coverage.hours))} hours"
    measured = (
        f"Measured without gaps: {hours}."
        if coverage.complete
        else f"{hours} were measured; usage of the others is not billed here."
    )
    coarse = any(line.reduced_grain for line in invoice.lines)
    marked = " Lines marked “measured by day” or “by month” rest on coarser figures than hours." if coarse else ""
    yield f"{measured}{marked} Usage that becomes known later is settled on a later invoice."
    if invoice.number:
        card = invoice.rate_card_sha256
        as_of = f" Rate card {card}, as of {form.moment(invoice.as_of)}." if card and invoice.as_of else ""
        explained = invoice.credits or invoice.number
        yield f"To verify: metering explain {visible(explained)} shows the readings behind every line.{as_of}"
