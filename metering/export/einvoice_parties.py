"""Seller and buyer in the terms of EN 16931, and what the standard or the law wants of them that is missing.

Pure. Must not know the lines of a document.
"""

import re
from collections.abc import Iterator, Mapping

from metering.config import SellerConfig
from metering.core import tax_ids
from metering.core.errors import Fault
from metering.core.invoice import Printed
from metering.core.parties import Customer
from metering.core.text import visible
from metering.invoicing.lines import tax

_COUNTRY = re.compile(r"[A-Z]{2}")


def party(name: str, party: SellerConfig | Customer) -> Printed:
    """Name, address and electronic address."""
    lines = party.street or (party.address if not party.city else "") or ""
    electronic = {"einvoicing_addr": party.email, "einvoicing_addr_schemeid": "EM"} if party.email else {}
    parts = {
        "addr_l1": plain_text(lines),
        "city": plain_text(party.city or ""),
        "postcode": plain_text(party.postcode or ""),
    }
    return {
        "name": plain_text(name),
        "country_code": party.country,
        **{term: value for term, value in parts.items() if value},
        **electronic,
    }


def seller_id(seller: SellerConfig, *, is_outside: bool) -> Printed:
    """A VAT identifier; or another number, by which the seller is known to the tax office and in general.

    Outside the scope of tax, neither office number may be named.
    """
    found = tax_ids.read(seller.tax_id, seller.country)
    if not is_outside and found.kind == "vat_id":
        return {"vat_identifier": found.value}
    number = plain_text(seller.tax_id)
    return {"legal_identifier": number, **({} if is_outside else {"tax_identifier": number})}


def buyer_id(buyer: Customer, *, is_outside: bool) -> Printed:
    """A VAT identifier (BT-48), or a legal identifier (BT-47) where the number is none or no tax is in question."""
    if not buyer.tax_id:
        return {}
    found = tax_ids.read(buyer.tax_id, buyer.country)
    is_vat_id = found.kind == "vat_id" and not is_outside
    return {"vat_identifier": found.value} if is_vat_id else {"legal_identifier": plain_text(buyer.tax_id)}


def address(party: SellerConfig | Customer) -> dict[str, str | None]:
    """The address in parts, or on one line where it is given so."""
    parts = {"street": party.street, "city": party.city, "postcode": party.postcode}
    return {**({} if party.address and not any(parts.values()) else parts), "country": party.country}


def id_faults(where: str, seller: SellerConfig, buyer: Customer, category: str) -> Iterator[Fault]:
    """VAT identifiers that the tax category needs. A buyer outside their countries may have another number for AE."""
    own, other = tax_ids.read(seller.tax_id, seller.country), tax_ids.read(buyer.tax_id or "", buyer.country)
    if category in tax.OWED_BY_BUYER | {"G"} and own.kind != "vat_id":
        what = own.doubt or "is no VAT identifier"
        yield Fault(where="seller.tax_id", what=what, right=f"tax_category {category} needs one, such as BE0123456749")
    is_abroad = category == "AE" and buyer.tax_id and buyer.country not in tax_ids.VAT_COUNTRIES
    if category in tax.OWED_BY_BUYER and other.kind != "vat_id" and not is_abroad:
        right = f"tax_category {category} needs the buyer's VAT identifier, such as BE0123456749"
        yield Fault(where=f"{where}tax_id", what=other.doubt or "is no VAT identifier", right=right)


def missing(where: str, values: Mapping[str, str | None]) -> Iterator[Fault]:
    """A fault for each value that is not there, and for a country that is none."""
    for name, value in values.items():
        if not value:
            yield Fault(where=f"{where}{name}", what="is missing", right="e-invoices need it")
        elif name == "country" and value in tax_ids.MISTAKEN:
            right = f"write {tax_ids.MISTAKEN[value]}, as ISO 3166 has it"
            yield Fault(where=f"{where}{name}", what=f"is {value!r}", right=right)
        elif name == "country" and not _COUNTRY.fullmatch(value):
            yield Fault(where=f"{where}{name}", what=f"is {value!r}", right="write two letters of ISO 3166, such as BE")


def plain_text(value: str) -> str:
    """Text on one line, without control characters and direction marks."""
    return " ".join(visible(value).split())
