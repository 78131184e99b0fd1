"""Classifies a tax identifier: a VAT identifier by its country's pattern and check digits, or else a legal identifier.

Pure, by the library python-stdnum. Knows which countries' VAT identifiers have a pattern; must not know who has one,
and knows no document.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from stdnum import get_cc_module
from stdnum.exceptions import InvalidChecksum, InvalidFormat, ValidationError
from stdnum.util import clean

Kind = Literal["vat_id", "legal_id"]

_EUROPEAN_UNION = (
    *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV"),
    *("MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"),
)
VAT_COUNTRIES = frozenset({*_EUROPEAN_UNION, "GB", "NO", "CH"})
MISTAKEN = {"UK": "GB", "EL": "GR"}
"""Codes that people write for countries, and ISO 3166 has others for."""
_MODULE_OF_PREFIX = {**{country: country for country in VAT_COUNTRIES}, "EL": "GR", "XI": "GB"}
_PREFIX_OF_COUNTRY = {"GR": "EL", "CH": "CHE"}
"""Where the prefix is not the code of the country."""
_CHARACTERS = re.compile(r"[0-9A-Z+*]+")
"""No slash: a German tax number has one, and nine digits as a VAT identifier has."""
_LABEL = re.compile(r"(VAT|TVA|BTW|USTID|UST|MWST|UID|IVA|MOMS)(REG|ID|NR|NO|N|NUMBER)*(?=[A-Z]{0,3}[0-9]|ATU|ES[A-Z])")
"""Words that people write before the number, once separators are gone: `VAT no.`, `USt-IdNr.`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxId:
    """`value` is a VAT identifier in its canonical form, with the prefix, or a legal identifier as it was written.

    `doubt` says why a number that may be meant as a VAT identifier is none; empty where there is no doubt.
    """

    kind: Kind
    value: str
    doubt: str = ""


def read(written: str, country: str | None) -> TaxId:
    """The identifier of somebody who lives in the country (ISO 3166, None where unknown).

    A prefix of the number decides before the country does: a business may be registered abroad.
    """
    home = (country or "").upper()
    home = MISTAKEN.get(home, home)
    wanted: ValidationError | None = None
    judged = ""
    for prefix, number in _candidates(written, home):
        try:
            return TaxId(kind="vat_id", value=_canonical(prefix, number))
        except ValidationError as error:
            if not home or home in VAT_COUNTRIES:
                wanted, judged = wanted or error, judged or prefix
    return TaxId(kind="legal_id", value=written, doubt=_doubt(judged, wanted) if wanted else "")


def _candidates(written: str, home: str) -> list[tuple[str, str]]:
    """Possible (prefix, number) pairs for the text: by the prefix that it begins with, then by the country."""
    plain = clean(unicodedata.normalize("NFKC", written), " -.:,'\u00a0\u202f\t").upper()
    number = _LABEL.sub("", plain, count=1) if _LABEL.match(plain) else plain
    prefix = number[:2]
    found = [(prefix, number)] if prefix in _MODULE_OF_PREFIX and any(map(str.isdigit, number)) else []
    if home in VAT_COUNTRIES and _MODULE_OF_PREFIX.get(prefix) != home:
        found.append((_PREFIX_OF_COUNTRY.get(home, home), number))
    return found


def _canonical(prefix: str, number: str) -> str:
    """The number with its prefix. Raises ValidationError where it is no VAT identifier of the prefix's country."""
    if not _CHARACTERS.fullmatch(number):
        raise InvalidFormat
    country = _MODULE_OF_PREFIX[prefix[:2]]
    proper = _PREFIX_OF_COUNTRY.get(country, prefix)
    bare = number.removeprefix(prefix) if prefix in {"EL", "XI"} else number
    if country == "CH" and not bare.startswith("CH"):
        bare = proper + bare
    module = get_cc_module(country.lower(), "vat")
    assert module is not None, "the library knows the VAT identifiers of these countries"
    found: str = module.validate(bare)
    return found if found.startswith(proper) else proper + found


def _doubt(prefix: str, error: ValidationError) -> str:
    country = _MODULE_OF_PREFIX[prefix[:2]]
    what = "check digits" if isinstance(error, InvalidChecksum) else "pattern"
    return f"does not satisfy the {what} of {'XI' if prefix == 'XI' else country}'s VAT identifiers"
