"""Invoices as EN 16931 e-invoices: UBL 2.1, and CII as Factur-X embeds it.

Pure, by the library factur-x (the extra `einvoice`). A credit note is type 381 with amounts above zero, as the standard
wants it. Knows the standard's terms (BT-…, BG-…); what a document lacks is told for all documents at once.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from operator import itemgetter
from typing import Any

from metering.config.models import SellerConfig
from metering.core import tax_ids
from metering.core.errors import ConfigError, Fault, MeteringError
from metering.core.money import amount_text, minor_units, round_amount
from metering.core.parties import Customer
from metering.core.period import parse_time
from metering.core.text import visible
from metering.export.documents import Book, Json, is_credit_note
from metering.export.shares import Share, payable, shares
from metering.invoicing import tax

UNITS = {"CU-hour": "HUR", "GB": "E34"}
"""Our units that UN/ECE recommendation 20 has a code for; everything else is one piece (C62) at its amount."""
_COUNTRY = re.compile(r"[A-Z]{2}")
_DAY_DIGITS = 10


def files(book: Book, syntax: str) -> Iterator[tuple[Json, bytes]]:
    """(document, XML) for each; `syntax` is `ubl` or `cii`. Raises ConfigError for all that is missing anywhere."""
    found = [fault for document in book.documents for fault in faults(book, document)]
    if found:
        raise ConfigError(list(dict.fromkeys(found)), hint="docs/exports.md says what an e-invoice needs")
    for document in book.documents:
        yield document, file(book, document, syntax)


def file(book: Book, document: Json, syntax: str) -> bytes:
    """The XML of one document. Raises MeteringError where the library has none for it."""
    try:
        return xml(_terms(book, document), syntax)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise MeteringError(f"the library factur-x makes no e-invoice of it: {error}") from error


def xml(terms: Json, syntax: str) -> bytes:
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


def faults(book: Book, document: Json) -> Iterator[Fault]:
    """Data of seller and buyer that the standard or the law requires and that is missing."""
    seller, buyer = book.seller(document), book.customer(document)
    lines = _lines(book, document)
    categories = {line.category for line in lines}
    where = f"customers.csv, {buyer.id}, "
    yield from _missing("seller.", {"name": seller.name, "tax_id": seller.tax_id})
    yield from _missing("seller.", _address(seller))
    yield from _missing(where, _address(buyer))
    yield from (fault for category in sorted(categories) for fault in _id_faults(where, seller, buyer, category))
    for category, rate in sorted({(line.category, line.share.rate) for line in lines}):
        if bool(rate.strip("0.")) != (category == "S"):
            what = f"is {category}, but the rate is {rate} %"
            yield Fault(where=f"{where}tax_category", what=what, right="S goes with a rate, the others with none")
    if tax.OUT_OF_SCOPE in categories and len(categories) > 1:
        what = f"has lines of category {tax.OUT_OF_SCOPE} beside {', '.join(sorted(categories - {tax.OUT_OF_SCOPE}))}"
        yield Fault(where=document["number"], what=what, right="EN 16931 wants two invoices of it")
    surplus = max(0, minor_units(document["currency"]) - 2)
    if surplus and any(amount[-surplus:].strip("0") for amount in _amounts(document)):
        what = f"has amounts of more than two digits ({document['currency']})"
        yield Fault(where=document["number"], what=what, right="EN 16931 has no number for them")


def _id_faults(where: str, seller: SellerConfig, buyer: Customer, category: str) -> Iterator[Fault]:
    """VAT identifiers that the tax category needs. A buyer outside their countries may have another number for AE."""
    own, other = tax_ids.read(seller.tax_id, seller.country), tax_ids.read(buyer.tax_id or "", buyer.country)
    if category in tax.OWED_BY_BUYER | {"G"} and own.kind != "vat_id":
        what = own.doubt or "is no VAT identifier"
        yield Fault(where="seller.tax_id", what=what, right=f"tax_category {category} needs one, such as BE0123456749")
    is_abroad = category == "AE" and buyer.tax_id and buyer.country not in tax_ids.VAT_COUNTRIES
    if category in tax.OWED_BY_BUYER and other.kind != "vat_id" and not is_abroad:
        right = f"tax_category {category} needs the buyer's VAT identifier, such as BE0123456749"
        yield Fault(where=f"{where}tax_id", what=other.doubt or "is no VAT identifier", right=right)


def _missing(where: str, values: Mapping[str, str | None]) -> Iterator[Fault]:
    for name, value in values.items():
        if not value:
            yield Fault(where=f"{where}{name}", what="is missing", right="e-invoices need it")
        elif name == "country" and value in tax_ids.MISTAKEN:
            right = f"write {tax_ids.MISTAKEN[value]}, as ISO 3166 has it"
            yield Fault(where=f"{where}{name}", what=f"is {value!r}", right=right)
        elif name == "country" and not _COUNTRY.fullmatch(value):
            yield Fault(where=f"{where}{name}", what=f"is {value!r}", right="write two letters of ISO 3166, such as BE")


def _address(party: SellerConfig | Customer) -> dict[str, str | None]:
    """The address in parts, or on one line where it is given so."""
    parts = {"street": party.street, "city": party.city, "postcode": party.postcode}
    return {**({} if party.address and not any(parts.values()) else parts), "country": party.country}


def _amounts(document: Json) -> Iterator[str]:
    yield from (document["total"], document["subtotal"])
    yield from (tax["amount"] for tax in document["taxes"])
    yield from (share.net_text for share in shares(document))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line with its tax category and what is said about it; amounts of a credit note are above zero."""

    share: Share
    category: str
    note: str | None
    net: int
    tax: int


def _lines(book: Book, document: Json) -> list[_Line]:
    """The lines in the document's order. Where documents of older versions lack the category, customers.csv has it."""
    buyer, sign = book.customer(document), -1 if is_credit_note(document) else 1
    is_said = all("tax_rate_percent" in line for line in document["lines"])
    return [
        _Line(
            share=share,
            category=share.line.get("tax_category") or (not is_said and buyer.tax_category) or _derived(share),
            note=share.line.get("tax_note") if is_said else buyer.tax_note,
            net=sign * share.net,
            tax=sign * share.tax,
        )
        for share in shares(document)
    ]


def _derived(share: Share) -> str:
    """The category of a line without one: S with a rate, Z at 0 %, E without a tax."""
    return "S" if share.rate.strip("0.") else "E" if share.line["tax_rate_percent"] is None else "Z"


def _terms(book: Book, document: Json) -> Json:
    """The document in the standard's terms; all values are texts."""
    sign = -1 if is_credit_note(document) else 1
    currency, lines = document["currency"], _lines(book, document)
    total, of_tax = sign * payable(document), sum(line.tax for line in lines)
    amounts = {
        **dict.fromkeys(("BT-106", "BT-109"), total - of_tax),
        "BT-110": of_tax,
        **dict.fromkeys(("BT-112", "BT-115"), total),
    }
    first, last = _days(document["period"]["start"], document["period"]["end"])
    return {
        "BT-1": document["number"],
        "BT-2": document["issued_at"][:_DAY_DIGITS],
        "BT-3": "381" if is_credit_note(document) else "380",
        "BT-5": currency,
        **({"BT-9": document["due_at"][:_DAY_DIGITS]} if document["due_at"] else {}),
        "BT-10": document["customer"]["id"],
        "BT-20": f"Due by {document['due_at'][:_DAY_DIGITS]}" if document["due_at"] else "Nothing is to be paid",
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


def _preceding(document: Json) -> Json:
    """The document that a credit note cancels, and why."""
    if not is_credit_note(document):
        return {}
    return {"BG-1": [{"BT-22": _text(document["reason"])}], "BG-3": [{"BT-25": document["credits"]}]}


def _parties(book: Book, document: Json, categories: set[str]) -> Json:
    seller, buyer = book.seller(document), book.customer(document)
    is_outside = tax.OUT_OF_SCOPE in categories
    parties = {
        "BG-4": {**_party(seller.name, seller), **_seller_id(seller, is_outside=is_outside)},
        "BG-7": {**_party(buyer.name, buyer), **_buyer_id(buyer, is_outside=is_outside)},
    }
    if "K" in categories:
        parties["BG-13"] = _party(buyer.name, buyer.model_copy(update={"email": None}))
    return parties


def _party(name: str, party: SellerConfig | Customer) -> Json:
    lines = party.street or (party.address if not party.city else "") or ""
    electronic = {"einvoicing_addr": party.email, "einvoicing_addr_schemeid": "EM"} if party.email else {}
    parts = {"addr_l1": _text(lines), "city": _text(party.city or ""), "postcode": _text(party.postcode or "")}
    return {
        "name": _text(name),
        "country_code": party.country,
        **{term: value for term, value in parts.items() if value},
        **electronic,
    }


def _seller_id(seller: SellerConfig, *, is_outside: bool) -> Json:
    """A VAT identifier; or another number, by which the seller is known to the tax office and in general.

    Outside the scope of tax, neither office number may be named.
    """
    found = tax_ids.read(seller.tax_id, seller.country)
    if not is_outside and found.kind == "vat_id":
        return {"vat_identifier": found.value}
    number = _text(seller.tax_id)
    return {"legal_identifier": number, **({} if is_outside else {"tax_identifier": number})}


def _buyer_id(buyer: Customer, *, is_outside: bool) -> Json:
    """A VAT identifier (BT-48), or a legal identifier (BT-47) where the number is none or no tax is in question."""
    if not buyer.tax_id:
        return {}
    found = tax_ids.read(buyer.tax_id, buyer.country)
    is_vat_id = found.kind == "vat_id" and not is_outside
    return {"vat_identifier": found.value} if is_vat_id else {"legal_identifier": _text(buyer.tax_id)}


def _breakdowns(lines: Iterable[_Line], currency: str) -> list[Json]:
    """One per category and rate, the highest rate first."""
    groups: dict[tuple[Fraction, str], list[_Line]] = {}
    for line in lines:
        groups.setdefault((-Fraction(line.share.rate), line.category), []).append(line)
    return [_breakdown(category, found, currency) for (_, category), found in sorted(groups.items(), key=itemgetter(0))]


def _breakdown(category: str, lines: Sequence[_Line], currency: str) -> Json:
    notes = dict.fromkeys(line.note for line in lines if line.note)
    reason = "; ".join(notes) or tax.UNTAXED.get(category)
    return {
        "BT-116": _amount(sum(line.net for line in lines), currency),
        "BT-117": _amount(sum(line.tax for line in lines), currency),
        "BT-118": category,
        **_rate("BT-119", lines[0]),
        **({"BT-120": _text(reason)} if category in tax.UNTAXED else {}),
    }


def _rate(term: str, line: _Line) -> Json:
    """The rate under its term; outside the scope of tax there is none."""
    return {} if line.category == tax.OUT_OF_SCOPE else {term: line.share.rate}


def _line(taxed: _Line, number: int) -> Json:
    share, line, net = taxed.share, taxed.share.line, taxed.net
    first, last = _days(line["from"], line["to"])
    return {
        "BT-126": str(number),
        **_priced(share, net),
        "BT-131": _amount(net, share.currency),
        "BT-134": first,
        "BT-135": last,
        "BT-151": taxed.category,
        **_rate("BT-152", taxed),
        "BT-153": _text(line["description"]),
        "BT-154": _text(share.said),
    }


def _priced(share: Share, net: int) -> Json:
    """Quantity and price where their product is the amount; else one piece at the amount. No price is below zero."""
    line = share.line
    unit, price = UNITS.get(line["unit"] or ""), line["unit_price"]
    quantity = abs(Fraction(share.quantity))
    if unit and price is not None and round_amount(quantity * Fraction(price), share.currency) == abs(net):
        return {"BT-129": _signed(share.quantity.lstrip("-"), net), "BT-130": unit, "BT-146": price}
    return {"BT-129": _signed("1", net), "BT-130": "C62", "BT-146": _amount(abs(net), share.currency)}


def _signed(quantity: str, net: int) -> str:
    return f"-{quantity}" if net < 0 else quantity


def _text(value: Any) -> str:
    return " ".join(visible(str(value)).split())
