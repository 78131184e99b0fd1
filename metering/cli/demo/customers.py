"""The demo's made-up customers: names, addresses, taxes, and ids at Stripe.

Pure. Five are named; the others are businesses abroad, who pay no tax here: by reverse charge inside the EU, and as an
export outside it. No number is anybody's: VAT identifiers have right check digits in ranges that no tax office uses,
and `.example` is no domain.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

from stdnum.es import cif
from stdnum.iso7064 import mod_11_10, mod_97_10

COLUMNS = (
    *("customer", "name", "currency", "tax_rate_percent", "tax_name", "tax_category", "tax_note", "tax_id"),
    *("street", "postcode", "city", "country", "locale", "email", "stripe_customer"),
)

_DUE_BY_BUYER = "Reverse charge: the customer owes the VAT (Directive 2006/112/EC, article 196)"
_EXPORTED = "No VAT: supplied to a business outside the European Union"

# A business of the seller's country, a private person abroad (taxed at home, by the one-stop shop), two businesses
# abroad without a VAT number (taxed like the private one), and one overseas.
_NAMED = (
    "Northwind Apps,USD,21,VAT,S,,BE0000000097,20 Harbour Road,9000,Ghent,BE,en-BE",
    "Camille Durand,USD,20,TVA,S,,,4 Rue des Lilas,75011,Paris,FR,fr-FR",
    "Quill & Co,USD,23,VAT,S,,,88 King Street,D02 XX00,Dublin,IE,en-IE",
    f"Tidal Games,USD,,,G,{_EXPORTED},,12 Pier Street,CA 94600,Oakland,US,en-US",
    "Fernway Health,USD,20,VAT,S,,,3 Mill Lane,YO1 0AA,York,GB,en-GB",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A possible address of a business; `{n}` is the customer's number."""

    street: str
    postcode: str
    city: str
    country: str
    locale: str
    vat: str = ""
    """Its VAT identifier inside the EU, without check digits; empty outside it."""


_PLACES = (
    _Place(street="Lindenweg {n}", postcode="04100", city="Leipzig", country="DE", locale="de-DE", vat="DE999{n:05}"),
    _Place(street="{n} Cedar Avenue", postcode="OR 97200", city="Portland", country="US", locale="en-US"),
    _Place(
        street="Kanaalweg {n}", postcode="3500 AA", city="Utrecht", country="NL", locale="nl-NL", vat="NL0000{n:05}B"
    ),
    _Place(
        street="Calle del Olivo {n}", postcode="41000", city="Sevilla", country="ES", locale="es-ES", vat="ESB00{n:05}"
    ),
    _Place(street="Marktgasse {n}", postcode="3000", city="Bern", country="CH", locale="de-CH"),
)


def customers(count: int, gone: Iterable[str]) -> str:
    """customers.csv with cust1 to cust`count`, and with customers whose id is that of an unnamed project."""
    out = io.StringIO(newline="")
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for number, text in enumerate(_NAMED[:count], start=1):
        rows.writerow([f"cust{number}", *text.split(","), *_reached(f"cust{number}")])
    for number in range(len(_NAMED) + 1, count + 1):
        rows.writerow([f"cust{number}", f"Customer {number}", *_abroad(number), *_reached(f"cust{number}")])
    for number, project in enumerate(sorted(gone), start=count + 1):
        rows.writerow([project, "", *_abroad(number), *_reached(project)])
    return out.getvalue()


def _abroad(number: int) -> list[str]:
    place = _PLACES[number % len(_PLACES)]
    category, note = ("AE", _DUE_BY_BUYER) if place.vat else ("G", _EXPORTED)
    return [
        *("USD", "", "", category, note, _vat_id(place, number)),
        *(place.street.format(n=number), place.postcode, place.city, place.country, place.locale),
    ]


def _vat_id(place: _Place, number: int) -> str:
    body = place.vat.format(n=number)
    if place.country == "DE":
        return body + mod_11_10.calc_check_digit(body[2:])
    if place.country == "NL":
        return body + mod_97_10.calc_check_digits(body)
    return body + cif.calc_check_digits(body[2:])[0] if body else ""


def _reached(customer: str) -> list[str]:
    return [f"billing@{customer}.example", f"cus_demo_{customer}"]
