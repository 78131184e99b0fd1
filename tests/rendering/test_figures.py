from datetime import UTC, datetime
from decimal import Inexact
from fractions import Fraction

import pytest

from metering.core.money import exact_sum, percent, percent_truncated
from metering.core.period import month_of
from metering.core.text import visible
from metering.rendering.figures import (
    money_text,
    printed,
    printed_change,
    printed_day,
    printed_moment,
    printed_month,
    printed_span,
)


def test_sums_keep_every_digit():
    assert exact_sum(["0.1", "0.2"]) == Fraction(3, 10)
    assert exact_sum(["1" + "0" * 40, "0.000000000001"]) == 10**40 + Fraction(1, 10**12)
    assert exact_sum([]) == 0


def test_a_sum_with_more_digits_than_are_held_raises_instead_of_rounding():
    with pytest.raises(Inexact):
        exact_sum(["1" + "0" * 1200, "1"])


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        (Fraction(549, 100), "USD", "5.49"),
        (Fraction(0), "USD", "0.00"),
        (Fraction(0), "JPY", "0"),
        (Fraction(-5), "BHD", "-5.000"),
        (Fraction(10001, 10000), "USD", "1.0001"),  # Neon's cost is exact
    ],
)
def test_money_has_at_least_the_digits_of_its_currency(value, currency, text):
    assert money_text(value, currency) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (1, 3, "33.33"),
        (2, 3, "66.67"),
        (1, 20000, "0.01"),  # 0.005 %: half goes away from zero
        (-1, 20000, "-0.01"),
        (-1, 20001, "0.00"),
        (-1, 3, "-33.33"),
        (3, 1, "300.00"),
        (0, 1, "0.00"),
        (1, 0, None),
        (1, -1, None),
    ],
)
def test_a_percentage_is_rounded_half_away_from_zero_and_needs_a_whole(part, whole, text):
    assert percent(part, whole) == text


def test_a_truncated_percentage_never_reaches_the_whole_early():
    assert percent_truncated(719999, 720000) == "99.99"
    assert percent_truncated(720, 720) == "100.00"
    assert percent_truncated(0, 0) is None


@pytest.mark.parametrize(
    ("text", "places", "shown"),
    [
        ("1234567.5", None, "1,234,567.5"),
        ("20.00", None, "20.00"),
        ("0.005", 2, "0.01"),
        ("-0.005", 2, "−0.01"),
        ("-0.0049", 2, "0.00"),
        ("18446744073709551617", None, "18,446,744,073,709,551,617"),
        ("1" + "0" * 40 + ".5", 0, "10" + ",000" * 12 + ",001"),
    ],
)
def test_a_printed_number_is_grouped_and_shortened_half_away_from_zero(text, places, shown):
    assert printed(text, places) == shown


def test_a_printed_change_shows_its_sign_unless_it_is_zero():
    assert [printed_change(text) for text in ("5.00", "-5.00", "0.00")] == ["+5.00", "−5.00", "0.00"]


def test_days_moments_and_months_are_printed_in_words_that_no_locale_changes():
    assert printed_day("2026-09-01") == "1 September 2026"
    assert printed_day("2026-12-31T23:59:59Z") == "31 December 2026"
    assert printed_moment("2026-09-01T03:05:00Z") == "1 Sep 2026, 03:05 UTC"
    assert printed_month(month_of(datetime(2026, 2, 3, tzinfo=UTC))) == "February 2026"


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ("2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z", "September 2026"),
        ("2026-09-05T00:00:00Z", "2026-09-10T00:00:00Z", "5 Sep 2026 to 9 Sep 2026"),
        ("2026-09-05T00:00:00Z", "2026-09-06T00:00:00Z", "5 Sep 2026"),
        ("2026-09-05T00:00:00Z", "2026-09-06T00:00:01Z", "5 Sep 2026, 00:00 UTC to 6 Sep 2026, 00:00:01 UTC"),
        ("2026-09-05T03:00:00Z", "2026-09-05T17:00:00Z", "5 Sep 2026, 03:00 UTC to 5 Sep 2026, 17:00 UTC"),
        ("2026-09-05T00:00:00Z", "2026-09-05T00:00:00Z", "5 Sep 2026, 00:00 UTC to 5 Sep 2026, 00:00 UTC"),
    ],
)
def test_a_half_open_span_reads_as_its_first_and_last_day_or_as_two_instants(start, end, text):
    assert printed_span(start, end) == text


def test_what_hides_or_turns_text_is_shown_as_the_replacement_sign():
    assert visible("a\x00b\x1b[31m\u202ec\ud800") == "a�b�[31m�c�"
    assert visible("Zoë 👩\u200d🚀 שלום\n\ttab") == "Zoë 👩\u200d🚀 שלום\n\ttab"
