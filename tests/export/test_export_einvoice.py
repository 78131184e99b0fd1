"""E-invoices checked by the official rules of EN 16931, offline; and the messages if data is missing."""

import json
import re

import pytest

from metering.config import SellerConfig
from metering.core.errors import ConfigError
from metering.export import einvoice
from metering.invoicing.amending.voiding import credit_note
from metering.invoicing.issued import Document
from metering.invoicing.lines import tax
from tests.support.documents import lines_of, printed
from tests.support.issued import CUSTOMERS, POISON, SELLER, book, documents, line, poisoned
from tests.support.issued import document as made

facturx = pytest.importorskip("facturx", reason="the extra einvoice is not installed")


@pytest.fixture(scope="module")
def rules():
    from tests.support import official_rules

    with official_rules.ready() as broken:
        yield broken


def files(found, syntax):
    return {document.number: xml for document, xml in einvoice.files(found, syntax)}


@pytest.mark.parametrize("syntax", ["ubl", "cii"])
def test_the_official_rules_find_no_fault(syntax, rules, tmp_path):
    found = files(book(), syntax)
    assert len(found) == 6
    assert {number: rules(syntax, xml, tmp_path) for number, xml in found.items()} == {number: [] for number in found}


@pytest.mark.parametrize("syntax", ["ubl", "cii"])
def test_the_schema_finds_no_fault(syntax):
    found = files(book(), syntax)
    for number in ("INV-2026-000002", "CN-2026-000001"):
        assert facturx.xml_check_xsd(found[number], flavor="autodetect", level="autodetect") is True


@pytest.mark.parametrize("syntax", ["ubl", "cii"])
def test_the_rules_do_find_a_wrong_total(syntax, rules, tmp_path):
    xml = files(book(), syntax)["INV-2026-000002"]
    wrong = xml.replace(b">55.99<", b">56.00<")
    assert wrong != xml
    assert rules(syntax, wrong, tmp_path) != []


CATEGORIES = {
    "E": {"country": "BE"},
    "AE": {"country": "FR", "tax_id": "FR40303265045"},
    "K": {"country": "FR", "tax_id": "FR40303265045"},
    "G": {"country": "US"},
    "O": {"country": "US", "tax_id": "12-3456789"},
}


@pytest.mark.parametrize("syntax", ["ubl", "cii"])
@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_without_tax_passes_the_rules(category, syntax, rules, tmp_path):
    acme = CUSTOMERS[0].model_copy(update={"tax_rate_percent": None, "tax_id": None, "tax_category": category})
    acme = acme.model_copy(update=CATEGORIES[category])
    free = made("INV-1", "acme", "EUR", [line("base_fee", "20.00", "1", "20.00")], ("20.00", [], "20.00"))
    (xml,) = files(book([free], (acme,)), syntax).values()
    assert rules(syntax, xml, tmp_path) == []
    assert f">{category}<".encode() in xml


BUYERS = {
    "ABN 51 824 753 556": ("AU", "legal"),
    "EIN 12-3456789": ("US", "legal"),
    "be0123456749": ("BE", "BE0123456749"),
    "BE 0123.456.749": ("BE", "BE0123456749"),
    "0123.456.749": ("BE", "BE0123456749"),
    "BE0123456748": ("BE", "legal"),
    "XI 980 7806 84": ("GB", "XI980780684"),
    "gb980780684": ("GB", "GB980780684"),
    "CHE-123.456.788 MWST": ("CH", "CHE123456788MWST"),
    "NO 923 609 016 MVA": ("NO", "NO923609016MVA"),
    "GR094259216": ("GR", "EL094259216"),
}
"""A buyer's tax id as written -> country, and its VAT identifier where it is one."""


def names_of(xml: bytes, party: str) -> tuple[list[str], list[str], list[str]]:
    """VAT identifiers, other tax registrations and legal identifiers of a party of UBL or CII."""
    text = xml.decode()
    ubl = {"buyer": "AccountingCustomerParty", "seller": "AccountingSupplierParty"}[party]
    cii = {"buyer": "BuyerTradeParty", "seller": "SellerTradeParty"}[party]
    (part,) = re.findall(rf"<(?:\w+:)(?:{ubl}|{cii})>.*?</(?:\w+:)(?:{ubl}|{cii})>", text, re.DOTALL)
    if cii in part:
        legal = re.findall(r"SpecifiedLegalOrganization>\s*<ram:ID[^>]*>([^<]+)<", part)
        return re.findall(r'ID schemeID="VA">([^<]+)<', part), re.findall(r'ID schemeID="FC">([^<]+)<', part), legal
    schemes = re.findall(r"PartyTaxScheme>\s*<cbc:CompanyID>([^<]+)<.*?TaxScheme>\s*<cbc:ID>(\w+)<", part, re.DOTALL)
    vat = [number for number, scheme in schemes if scheme == "VAT"]
    legal = re.findall(r"<cac:PartyLegalEntity>.*?</cac:PartyLegalEntity>", part, re.DOTALL)
    return (
        vat,
        [number for number, scheme in schemes if scheme != "VAT"],
        [number for one in legal for number in re.findall(r"CompanyID>([^<\s][^<]*)<", one)],
    )


@pytest.mark.parametrize("syntax", ["ubl", "cii"])
@pytest.mark.parametrize("written", BUYERS)
def test_a_buyers_tax_id_is_a_vat_identifier_by_its_country_or_a_legal_one(written, syntax, rules, tmp_path):
    country, kind = BUYERS[written]
    acme = CUSTOMERS[0].model_copy(update={"tax_id": written, "country": country})
    (xml,) = files(book([taxed()], (acme,)), syntax).values()
    assert rules(syntax, xml, tmp_path) == []
    assert names_of(xml, "buyer") == (([], [], [written]) if kind == "legal" else ([kind], [], []))


SELLERS = {
    "be 0123.456.749": ("BE", (["BE0123456749"], [], [])),
    "CHE-123.456.788 MWST": ("CH", (["CHE123456788MWST"], [], [])),
    "EIN 12-3456789": ("US", ([], ["EIN 12-3456789"], ["EIN 12-3456789"])),
    "ABN 51 824 753 556": ("AU", ([], ["ABN 51 824 753 556"], ["ABN 51 824 753 556"])),
    "BE0123456748": ("BE", ([], ["BE0123456748"], ["BE0123456748"])),
}


@pytest.mark.parametrize("syntax", ["ubl", "cii"])
@pytest.mark.parametrize("written", SELLERS)
def test_a_sellers_tax_id_is_a_vat_identifier_by_its_country_or_a_registration(written, syntax, rules, tmp_path):
    country, numbers = SELLERS[written]
    seller = SELLER.model_copy(update={"tax_id": written, "country": country})
    (xml,) = files(book([taxed()], CUSTOMERS[:1], seller), syntax).values()
    assert rules(syntax, xml, tmp_path) == []
    assert names_of(xml, "seller") == numbers


def taxed() -> dict:
    lines = [line("base_fee", "20.00", "1", "20.00")]
    return made("INV-1", "acme", "EUR", lines, ("20.00", [("VAT", "21", "20.00", "4.20")], "24.20"))


@pytest.mark.parametrize("syntax", ["ubl", "cii"])
def test_a_reverse_charge_goes_to_a_buyer_overseas_by_its_legal_identifier(syntax, rules, tmp_path):
    update = {"tax_rate_percent": None, "tax_category": "AE", "tax_id": "ABN 51 824 753 556", "country": "AU"}
    free = made("INV-1", "acme", "EUR", [line("base_fee", "20.00", "1", "20.00")], ("20.00", [], "20.00"))
    (xml,) = files(book([free], (CUSTOMERS[0].model_copy(update=update),)), syntax).values()
    assert rules(syntax, xml, tmp_path) == []
    assert names_of(xml, "buyer") == ([], [], ["ABN 51 824 753 556"])


def test_a_reverse_charge_with_wrong_check_digits_is_refused_with_the_reason():
    update = {"tax_rate_percent": None, "tax_category": "AE", "tax_id": "FR32123456789", "country": "FR"}
    free = made("INV-1", "acme", "EUR", [line("base_fee", "20.00", "1", "20.00")], ("20.00", [], "20.00"))
    with pytest.raises(ConfigError) as told:
        list(einvoice.files(book([free], (CUSTOMERS[0].model_copy(update=update),)), "ubl"))
    assert [(fault.where, fault.what) for fault in told.value.faults] == [
        ("customers.csv, acme, tax_id", "does not satisfy the check digits of FR's VAT identifiers")
    ]


OTHERS = {
    "AE": {"tax_rate_percent": None, "tax_category": "AE", "tax_note": "The buyer owes the tax"},
    "AE, 0 %": {"tax_rate_percent": "0", "tax_name": "None", "tax_category": "AE"},
    "K": {"tax_rate_percent": None, "tax_category": "K"},
    "G": {"tax_rate_percent": None, "tax_category": "G"},
    "E": {"tax_rate_percent": None, "tax_category": "E"},
    "nothing": {"tax_rate_percent": None},
    "Z": {"tax_rate_percent": "0", "tax_name": "VAT", "tax_category": "Z"},
    "16": {"tax_rate_percent": "16", "tax_name": "VAT"},
    "20 by another name": {"tax_rate_percent": "20", "tax_name": "TVA"},
}


def two_taxes(other, first="50.00", second="100.00", *, is_inclusive=False):
    """A correction of August at 20 % beside September at another tax, and the same again with a discount."""
    vat = {"tax_rate_percent": "20", "tax_name": "VAT"}
    rest = {"tax_rate_percent": None, "tax_name": None, **OTHERS[other]}
    lines = [
        {**line("adjustment", first, tier="1"), **vat},
        {**line("usage", second, tier="2"), **rest},
        {**line("discount", "-7.77", tier="3"), **vat},
        {**line("discount", "-3.33", tier="4"), **rest},
    ]
    totals = printed(tax.totals(lines_of(lines), "EUR", "half_up", is_inclusive=is_inclusive))
    return {**made("INV-1", "acme", "EUR", lines, ("0", [], "0")), **totals}


@pytest.mark.parametrize("syntax", ["ubl", "cii"])
@pytest.mark.parametrize("is_inclusive", [False, True])
@pytest.mark.parametrize("other", OTHERS)
def test_an_invoice_of_two_taxes_passes_the_rules_with_a_breakdown_for_each(
    other, is_inclusive, syntax, rules, tmp_path
):
    found = two_taxes(other, is_inclusive=is_inclusive)
    acme = CUSTOMERS[0].model_copy(update={"country": "FR", "tax_id": "FR40303265045"})
    issued = Document(json.dumps(found), "final")
    note = credit_note(issued, number="CN-1", reason="wrong", issued_at="2026-10-04T00:00:00Z")
    for document in (found, note.printed()):
        (xml,) = files(book([document], (acme,)), syntax).values()
        assert rules(syntax, xml, tmp_path) == []


def test_the_breakdowns_of_two_taxes_say_base_tax_category_rate_and_reason():
    xml = files(book([two_taxes("AE")]), "ubl")["INV-1"].decode()
    whole = re.sub(r">\s+<", "><", xml)
    breakdowns = re.findall(r"<cac:TaxSubtotal>(.*?)</cac:TaxSubtotal>", whole)
    names = ("TaxableAmount", "TaxAmount", "ID", "Percent", "TaxExemptionReason")
    told = [dict(reversed(re.findall(r"<cbc:(\w+)[^>]*>([^<]+)<", breakdown))) for breakdown in breakdowns]
    assert [tuple(one.get(name) for name in names) for one in told] == [
        ("42.23", "8.45", "S", "20", None),
        ("96.67", "0.00", "AE", "0", "The buyer owes the tax"),
    ]
    assert re.findall(r"ClassifiedTaxCategory><cbc:ID>(\w+)</cbc:ID><cbc:Percent>([^<]+)<", whole) == [
        ("S", "20"),
        ("AE", "0"),
        ("S", "20"),
        ("AE", "0"),
    ]


def test_a_correction_under_reverse_charge_needs_both_vat_identifiers_though_the_month_is_taxed():
    acme = CUSTOMERS[0].model_copy(update={"tax_id": None})
    with pytest.raises(ConfigError, match="tax_category AE needs the buyer's VAT identifier"):
        list(einvoice.files(book([two_taxes("AE")], (acme,)), "ubl"))


def test_lines_outside_the_scope_of_tax_beside_others_are_a_fault():
    outside = {"tax_rate_percent": None, "tax_name": None, "tax_category": "O"}
    lines = [line("usage", "1.00"), {**line("usage", "2.00", tier="2"), **outside}]
    lines[0] |= {"tax_rate_percent": "20", "tax_name": "VAT"}
    totals = printed(tax.totals(lines_of(lines), "EUR", "half_up"))
    mixed = {**made("INV-1", "acme", "EUR", lines, ("0", [], "0")), **totals}
    with pytest.raises(ConfigError, match="INV-1: has lines of category O beside S; EN 16931 wants two invoices of it"):
        list(einvoice.files(book([mixed]), "ubl"))


@pytest.mark.parametrize("syntax", ["ubl", "cii"])
def test_an_invoice_of_credits_and_a_seller_without_a_vat_number_pass_too(syntax, rules, tmp_path):
    credit = made(
        "INV-1",
        "zero",
        "EUR",
        [line("adjustment", "-5.00", "-10", None, unit="CU-hour", meter="compute")],
        ("-5.00", [("VAT", "20", "-5.00", "-1.00")], "-6.00"),
    )
    seller = SELLER.model_copy(update={"tax_id": "123/456/789", "email": ""})
    (xml,) = files(book([credit], seller=seller), syntax).values()
    assert rules(syntax, xml, tmp_path) == []


def test_quantities_and_prices_are_the_invoices_where_their_product_is_the_amount():
    xml = files(book(), "ubl")["INV-2026-000002"].decode()
    assert re.findall(r'InvoicedQuantity unitCode="(\w+)">([^<]+)<', xml) == [
        ("C62", "1"),
        ("HUR", "34.293333333333"),
        ("C62", "1"),
        ("C62", "1"),
        ("C62", "-1"),
        ("C62", "-1"),
    ]
    assert re.findall(r'PriceAmount currencyID="USD">([^<]+)<', xml) == [
        "20.00",
        "0.16",
        "12.00",
        "12.40",
        "0.62",
        "3.00",
    ]


def test_a_credit_note_is_one_and_names_its_invoice_and_reason():
    xml = files(book(), "ubl")["CN-2026-000001"].decode()
    assert "CreditNoteTypeCode>381<" in xml
    assert "INV-2026-000001" in xml and "wrong plan" in xml
    assert re.findall(r'PayableAmount currencyID="USD">([^<]+)<', xml) == ["121.00"]


def test_the_last_day_is_inside_the_period():
    xml = files(book(), "ubl")["INV-2026-000003"].decode()
    assert xml.count("2026-09-30") >= 2 and "2026-10-01" not in xml


def test_everything_that_is_missing_is_told_at_once():
    bare = (CUSTOMERS[0].model_copy(update={"street": None, "city": None, "country": "Belgium"}),)
    with pytest.raises(ConfigError) as told:
        list(einvoice.files(book(documents()[:1], bare, SellerConfig(name="Acme")), "ubl"))
    assert [fault.where for fault in told.value.faults] == [
        "seller.tax_id",
        "seller.street",
        "seller.city",
        "seller.postcode",
        "seller.country",
        "customers.csv, acme, street",
        "customers.csv, acme, city",
        "customers.csv, acme, country",
    ]
    assert "is 'Belgium'; write two letters" in str(told.value)


@pytest.mark.parametrize(("written", "right"), [("UK", "GB"), ("EL", "GR")])
def test_a_country_code_that_iso_3166_has_otherwise_is_told_with_the_right_one(written, right):
    abroad = (CUSTOMERS[0].model_copy(update={"country": written}), *CUSTOMERS[1:])
    (fault,) = {fault for document in book().documents for fault in einvoice.faults(book(customers=abroad), document)}
    assert str(fault) == f"customers.csv, acme, country: is '{written}'; write {right}, as ISO 3166 has it"


def test_a_buyer_is_told_once_however_many_documents_it_has():
    nameless = (CUSTOMERS[0].model_copy(update={"country": None}), *CUSTOMERS[1:])
    with pytest.raises(ConfigError) as told:
        list(einvoice.files(book(customers=nameless), "ubl"))
    assert [fault.where for fault in told.value.faults] == ["customers.csv, acme, country"]


def test_a_category_that_contradicts_the_rate_is_a_fault():
    odd = (CUSTOMERS[0].model_copy(update={"tax_category": "AE"}), *CUSTOMERS[1:])
    with pytest.raises(ConfigError, match="tax_category: is AE, but the rate is 21 %"):
        list(einvoice.files(book(customers=odd), "cii"))


def test_reverse_charge_needs_both_vat_numbers():
    free = made("INV-1", "acme", "EUR", [line("base_fee", "20.00")], ("20.00", [], "20.00"))
    acme = CUSTOMERS[0].model_copy(update={"tax_id": None, "tax_category": "AE"})
    with pytest.raises(ConfigError) as told:
        list(einvoice.files(book([free], (acme,), SELLER.model_copy(update={"tax_id": "1234"})), "ubl"))
    assert [fault.where for fault in told.value.faults] == ["seller.tax_id", "customers.csv, acme, tax_id"]


def test_amounts_of_three_digits_are_refused_where_the_standard_has_no_number_for_them():
    odd = made("INV-1", "kuwait", "KWD", [line("base_fee", "2.345")], ("2.345", [], "2.345"))
    with pytest.raises(ConfigError, match="INV-1: has amounts of more than two digits"):
        list(einvoice.files(book([odd]), "ubl"))
    assert b'"KWD">12.34<' in files(book(), "ubl")["INV-2026-000004"]


def test_of_four_digits_neither_of_the_last_two_may_be_lost():
    odd = made("INV-1", "kuwait", "CLF", [line("base_fee", "2.3450")], ("2.3450", [], "2.3450"))
    with pytest.raises(ConfigError, match="INV-1: has amounts of more than two digits"):
        list(einvoice.files(book([odd]), "ubl"))


@pytest.mark.parametrize("text", POISON, ids=lambda text: ascii(text)[:30])
def test_hostile_names_stay_text(text, rules, tmp_path):
    hostile = poisoned(text)
    some = book(hostile.documents[:1], tuple(hostile.papers.today.customers.values()))
    for syntax in ("ubl", "cii"):
        (xml,) = files(some, syntax).values()
        assert rules(syntax, xml, tmp_path) == []
        assert b"<Evil>" not in xml and b"<script>" not in xml


def test_equal_documents_give_equal_bytes():
    assert files(book(), "ubl") == files(book(), "ubl")
    assert files(book(), "cii") == files(book(), "cii")
