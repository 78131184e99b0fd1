import pytest

from metering.core.locales import is_locale
from metering.rendering.localized import Format

NBSP = "\u00a0"


@pytest.mark.parametrize(
    ("locale", "text", "shown"),
    [
        ("en", "1234567.50", "1,234,567.50"),
        ("de", "1234567.50", "1.234.567,50"),
        ("de-CH", "1234567.50", "1’234’567.50"),
        ("fr-FR", "-1234.5", "-1\u202f234,5"),
        ("hi_IN", "1234567.5", "12,34,567.5"),
        ("en", "0.000000000001", "0.000000000001"),
        ("en", "0.0000000000019", "0.0000000000019"),
        ("en", "5", "5"),
        ("en", "9" * 40 + ".12", ",".join(["9"] + ["999"] * 13) + ".12"),
    ],
)
def test_a_number_keeps_all_its_digits_in_every_locale(locale, text, shown):
    assert Format(locale).number(text) == shown


@pytest.mark.parametrize(
    ("locale", "text", "currency", "shown"),
    [
        ("en", "1234.50", "USD", f"USD{NBSP}1,234.50"),
        ("de-DE", "1234.50", "EUR", f"1.234,50{NBSP}EUR"),
        ("en", "1500", "JPY", f"JPY{NBSP}1,500"),
        ("ja", "1500", "JPY", f"JPY{NBSP}1,500"),
        ("en", "1.250", "KWD", f"KWD{NBSP}1.250"),
        ("en", "0.005", "KWD", f"KWD{NBSP}0.005"),
        ("en", "10.00", "RSD", f"RSD{NBSP}10.00"),
        ("en", "-5.49", "USD", f"-USD{NBSP}5.49"),
        ("de", "-5.49", "USD", f"-5,49{NBSP}USD"),
    ],
)
def test_money_names_its_currency_where_the_locale_puts_it_and_keeps_the_digits_of_iso_4217(
    locale, text, currency, shown
):
    assert Format(locale).money(text, currency) == shown


@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        ("en", "Sep 3, 2026"),
        ("en-GB", "3 Sept 2026"),
        ("de", "03.09.2026"),
        ("ja", "2026/09/03"),
        ("sv", "3 sep. 2026"),
    ],
)
def test_a_day_is_written_as_the_locale_does(locale, shown):
    assert Format(locale).day("2026-09-03T23:59:59Z") == shown


def test_a_span_is_its_first_and_last_day_or_both_instants():
    english = Format("en")
    assert english.span("2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z") == "Sep 1, 2026 – Sep 30, 2026"
    assert english.span("2026-09-05T00:00:00Z", "2026-09-06T00:00:00Z") == "Sep 5, 2026"
    german = Format("de")
    assert (
        german.span("2026-09-05T03:00:00Z", "2026-09-05T03:00:01Z")
        == "05.09.2026, 03:00 UTC – 05.09.2026, 03:00:01 UTC"
    )


@pytest.mark.parametrize("name", ["en", "de-BE", "de_BE", "pt-BR", "zh-Hant-TW"])
def test_a_locale_that_cldr_knows_is_one(name):
    assert is_locale(name)


@pytest.mark.parametrize("name", ["", "xx", "english", "de-XX-YY-ZZ-AA", "../en", "de\n"])
def test_what_cldr_does_not_know_is_no_locale(name):
    assert not is_locale(name)
