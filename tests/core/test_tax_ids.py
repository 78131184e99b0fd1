"""Tax identifiers as people write them: VAT identifiers with their country, and other identifiers."""

import pytest

from metering.core.tax_ids import TaxId, read


@pytest.mark.parametrize(
    ("written", "country", "canonical"),
    [
        ("BE0123456749", "BE", "BE0123456749"),
        ("be0123456749", None, "BE0123456749"),
        ("BE 0123.456.749", "BE", "BE0123456749"),
        ("0123.456.749", "BE", "BE0123456749"),
        ("0123456749", "be", "BE0123456749"),
        ("BTW BE 0123.456.749", "BE", "BE0123456749"),
        ("USt-IdNr.: DE136695976", "DE", "DE136695976"),
        ("\u00a0BE\u00a00123\u202f456\u202f749", "BE", "BE0123456749"),
        ("ＢＥ０１２３４５６７４９", None, "BE0123456749"),
        ("gb 980 7806 84", "GB", "GB980780684"),
        ("980780684", "GB", "GB980780684"),
        ("XI 980 7806 84", "GB", "XI980780684"),
        ("CHE-123.456.788 MWST", "CH", "CHE123456788MWST"),
        ("123.456.788 TVA", "CH", "CHE123456788TVA"),
        ("NO 923 609 016 MVA", "NO", "NO923609016MVA"),
        ("923609016mva", "NO", "NO923609016MVA"),
        ("EL094259216", "GR", "EL094259216"),
        ("094259216", "EL", "EL094259216"),
        ("980 7806 84", "UK", "GB980780684"),
        ("GR094259216", None, "EL094259216"),
        ("094259216", "GR", "EL094259216"),
        ("40 303 265 045", "FR", "FR40303265045"),
        ("U13585627", "AT", "ATU13585627"),
        ("B58378431", "ES", "ESB58378431"),
        ("NL123456782B12", "NL", "NL123456782B12"),
        ("DE136695976", "US", "DE136695976"),
        ("DE136695976", "FR", "DE136695976"),
    ],
)
def test_a_vat_identifier_is_known_with_and_without_its_prefix_in_any_case(written, country, canonical):
    assert read(written, country) == TaxId(kind="vat_id", value=canonical)


@pytest.mark.parametrize(
    ("written", "country"),
    [
        ("ABN 51 824 753 556", "AU"),
        ("ABN 51 824 753 556", None),
        ("EIN 12-3456789", "US"),
        ("12-3456789", None),
        ("DE 12-3456", "US"),
        ("T1234", "JP"),
        ("29AAACN0757G1ZC", "IN"),
        ("EU372022452", None),
    ],
)
def test_a_number_of_a_country_without_a_pattern_is_a_legal_identifier_as_it_was_written(written, country):
    assert read(written, country) == TaxId(kind="legal_id", value=written)


@pytest.mark.parametrize(
    ("written", "country", "doubt"),
    [
        ("BE0123456748", "BE", "does not satisfy the check digits of BE's VAT identifiers"),
        ("be 0123.456.748", None, "does not satisfy the check digits of BE's VAT identifiers"),
        ("BE01234", "BE", "does not satisfy the pattern of BE's VAT identifiers"),
        ("FR32123456789", "FR", "does not satisfy the check digits of FR's VAT identifiers"),
        ("123/456/789", "DE", "does not satisfy the pattern of DE's VAT identifiers"),
        ("CHE-123.456.788", "CH", "does not satisfy the pattern of CH's VAT identifiers"),
        ("NO923609016", "NO", "does not satisfy the pattern of NO's VAT identifiers"),
        ("XI980780685", "GB", "does not satisfy the check digits of XI's VAT identifiers"),
        ("EL094259217", "GR", "does not satisfy the check digits of GR's VAT identifiers"),
    ],
)
def test_a_number_that_fails_its_countrys_rules_is_never_silently_a_vat_identifier(written, country, doubt):
    assert read(written, country) == TaxId(kind="legal_id", value=written, doubt=doubt)
