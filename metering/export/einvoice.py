"""Invoices as EN 16931 e-invoices: UBL 2.1, and CII as Factur-X embeds it.

Pure, by the library factur-x (the extra `einvoice`). A credit note is type 381 with amounts above zero, as the standard
wants it. Knows the standard's terms (BT-…, BG-…); what a document lacks is told for all documents at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from operator import itemgetter

from metering.core.errors import ConfigError, Fault, MeteringError
from metering.core.invoice import Invoice, Printed
from metering.core.money import amount_text, minor_units, round_amount
from metering.core.period import parse_time
from metering.export.documents import Book
from metering.export.einvoice_parties import address, buyer_id, id_faults, missing, party, plain_text, seller_id
from metering.export.shares import Share, payable, shares
from metering.invoicing.lines import tax

UNITS = {"CU-hour": "HUR", "GB": "E34"}
"""Our units that UN/ECE recommendation 20 has a code for; everything else is one piece (C62) at its amount."""
_DAY_DIGITS = 10


def files(book: Book, syntax: str) -> Iterator[tuple[Invoice, bytes]]:
    """(document, XML) for each; `syntax` is `ubl` or `cii`. Raises ConfigError for all that is missing anywhere."""
    found = [fault for document in book.documents for fault in faults(book, document)]
    if found:
        raise ConfigError(list(dict.fromkeys(found)), hint="docs/exports.md says what an e-invoice needs")
    for document in book.documents:
        yield document, file(book, document, syntax)


def file(book: Book, document: Invoice, syntax: str) -> bytes:
    """The XML of one document. Raises MeteringError where the library has none for it."""
    try:
        return xml(_terms(book, document), syntax)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise MeteringError(f"the library factur-x makes no e-invoice of it: {error}") from error


def xml(terms: Printed, syntax: str) -> bytes:
    """The XML of one document's terms."""
    found: bytes = generator(syntax)(terms, level="en16931", check_xsd=False, check_schematron=False)
    return found


def generator(syntax: str) -> Callable[..., bytes]:
    """The library's function for a syntax. Raises MeteringError where the library is not installed."""
    try:
        from facturx import (  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
            generate_cii_xml,
            generate_ubl_xml,
        )
    except ImportError:
        hint = "install it with: pip install 'metering[einvoice]'"
        raise MeteringError("e-invoices need the library factur-x", hint=hint) from None
    found: Callable[..., bytes] = generate_ubl_xml if syntax == "ubl" else generate_cii_xml
    return found


def faults(book: Book, document: Invoice) -> Iterator[Fault]:
    """Data of seller and buyer that the standard or the law requires and that is missing."""
    seller, buyer = book.seller(document), book.customer(document)
    lines = _lines(book, document)
    categories = {line.category for line in lines}
    where = f"customers.csv, {buyer.id}, "
    yield from missing("seller.", {"name": seller.name, "tax_id": seller.tax_id})
    yield from missing("seller.", address(seller))
    yield from missing(where, address(buyer))
    yield from (fault for category in sorted(categories) for fault in id_faults(where, seller, buyer, category))
    for category, rate in sorted({(line.category, line.share.rate) for line in lines}):
        if bool(rate.strip("0.")) != (category == "S"):
            what = f"is {category}, but the rate is {rate} %"
            yield Fault(where=f"{where}tax_category", what=what, right="S goes with a rate, the others with none")
    if tax.OUT_OF_SCOPE in categories and len(categories) > 1:
        what = f"has lines of category {tax.OUT_OF_SCOPE} beside {', '.join(sorted(categories - {tax.OUT_OF_SCOPE}))}"
        yield Fault(where=document.issued_number, what=what, right="EN 16931 wants two invoices of it")
    surplus = max(0, minor_units(document.currency) - 2)
    if surplus and any(amount[-surplus:].strip("0") for amount in _amounts(document)):
        what = f"has amounts of more than two digits ({document.currency})"
        yield Fault(where=document.issued_number, what=what, right="EN 16931 has no number for them")


def _amounts(document: Invoice) -> Iterator[str]:
    yield from (document.total, document.subtotal)
    yield from (tax.amount for tax in document.taxes)
    yield from (share.net_text for share in shares(document))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line with its tax category and what is said about it; amounts of a credit note are above zero."""

    share: Share
    category: str
    note: str | None
    net: int
    tax: int


def _lines(book: Book, document: Invoice) -> list[_Line]:
    """The lines in the document's order. Where documents of older versions lack the category, customers.csv has it."""
    buyer, sign = book.customer(document), -1 if document.is_credit_note else 1
    is_said = document.says_taxes
    return [
        _Line(
            share=share,
            category=share.line.tax_category or (not is_said and buyer.tax_category) or _derived(share),
            note=share.line.tax_note if is_said else buyer.tax_note,
            net=sign * share.net,
            tax=sign * share.tax,
        )
        for share in shares(document)
    ]


def _derived(share: Share) -> str:
    """The category of a line without one: S with a rate, Z at 0 %, E without a tax."""
    return "S" if share.rate.strip("0.") else "E" if share.line.rate is None else "Z"


def _terms(book: Book, document: Invoice) -> Printed:
    """The document in the standard's terms; all values are texts."""
    sign = -1 if document.is_credit_note else 1
    currency, lines = document.currency, _lines(book, document)
    total, of_tax = sign * payable(document), sum(line.tax for line in lines)
    amounts = {
        **dict.fromkeys(("BT-106", "BT-109"), total - of_tax),
        "BT-110": of_tax,
        **dict.fromkeys(("BT-112", "BT-115"), total),
    }
    first, last = _days(document.period.start, document.period.end)
    return {
        "BT-1": document.issued_number,
        "BT-2": document.issued_on,
        "BT-3": "381" if document.is_credit_note else "380",
        "BT-5": currency,
        **({"BT-9": document.due_on} if document.due_on else {}),
        "BT-10": document.customer.id,
        "BT-20": f"Due by {document.due_on}" if document.due_on else "Nothing is to be paid",
        "BT-72": last,
        "BT-73": first,
        "BT-74": last,
        **{term: _amount(minor, currency) for term, minor in amounts.items()},
        **_preceding(document),
        **_parties(book, document, {line.category for line in lines}),
        "BG-23": _breakdowns(lines, currency),
        "BG-25": [_line(line, number) for number, line in enumerate(lines, start=1)],
    }


def _amount(minor: int, currency: str) -> str:
    """At most two digits: what a currency has beyond them was seen to be zero."""
    text = amount_text(minor, currency)
    return text[: len(text) - max(0, minor_units(currency) - 2)]


def _days(start: str, end: str) -> tuple[str, str]:
    """The first and the last day of a half-open time."""
    last = parse_time(end) - timedelta(microseconds=1)
    return start[:_DAY_DIGITS], max(start[:_DAY_DIGITS], f"{last:%Y-%m-%d}")


def _preceding(document: Invoice) -> Printed:
    """The document that a credit note cancels, and why."""
    if not document.is_credit_note:
        return {}
    return {"BG-1": [{"BT-22": plain_text(document.reason or "")}], "BG-3": [{"BT-25": document.credits}]}


def _parties(book: Book, document: Invoice, categories: set[str]) -> Printed:
    seller, buyer = book.seller(document), book.customer(document)
    is_outside = tax.OUT_OF_SCOPE in categories
    parties: Printed = {
        "BG-4": {**party(seller.name, seller), **seller_id(seller, is_outside=is_outside)},
        "BG-7": {**party(buyer.name, buyer), **buyer_id(buyer, is_outside=is_outside)},
    }
    if "K" in categories:
        parties["BG-13"] = party(buyer.name, buyer.model_copy(update={"email": None}))
    return parties


def _breakdowns(lines: Iterable[_Line], currency: str) -> list[Printed]:
    """One per category and rate, the highest rate first."""
    groups: dict[tuple[Fraction, str], list[_Line]] = {}
    for line in lines:
        groups.setdefault((-Fraction(line.share.rate), line.category), []).append(line)
    return [_breakdown(category, found, currency) for (_, category), found in sorted(groups.items(), key=itemgetter(0))]


def _breakdown(category: str, lines: Sequence[_Line], currency: str) -> Printed:
    notes = dict.fromkeys(line.note for line in lines if line.note)
    reason = "; ".join(notes) or tax.UNTAXED.get(category, "")
    return {
        "BT-116": _amount(sum(line.net for line in lines), currency),
        "BT-117": _amount(sum(line.tax for line in lines), currency),
        "BT-118": category,
        **_rate("BT-119", lines[0]),
        **({"BT-120": plain_text(reason)} if category in tax.UNTAXED else {}),
    }


def _rate(term: str, line: _Line) -> Printed:
    """The rate under its term; outside the scope of tax there is none."""
    return {} if line.category == tax.OUT_OF_SCOPE else {term: line.share.rate}


def _line(taxed: _Line, number: int) -> Printed:
    share, line, net = taxed.share, taxed.share.line, taxed.net
    first, last = _days(line.start, line.end)
    return {
        "BT-126": str(number),
        **_priced(share, net),
        "BT-131": _amount(net, share.currency),
        "BT-134": first,
        "BT-135": last,
        "BT-151": taxed.category,
        **_rate("BT-152", taxed),
        "BT-153": plain_text(line.description),
        "BT-154": plain_text(share.said),
    }


def _priced(share: Share, net: int) -> Printed:
    """Quantity and price where their product is the amount; else one piece at the amount. No price is below zero."""
    line = share.line
    unit, price = UNITS.get(line.unit or ""), line.unit_price
    quantity = abs(Fraction(share.quantity))
    if unit and price is not None and round_amount(quantity * Fraction(price), share.currency) == abs(net):
        return {"BT-129": _signed(share.quantity.lstrip("-"), net), "BT-130": unit, "BT-146": price}
    return {"BT-129": _signed("1", net), "BT-130": "C62", "BT-146": _amount(abs(net), share.currency)}


def _signed(quantity: str, net: int) -> str:
    return f"-{quantity}" if net < 0 else quantity
