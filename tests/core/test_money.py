import re
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest

from metering.core import money


@pytest.mark.parametrize("text", ["0", "12", "0.50", "20.00", "007", "1000000000000000000000000000000.000000000001"])
def test_a_plain_decimal_keeps_its_digits(text):
    assert str(money.parse_decimal(text)) == str(Decimal(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "-1",
        "1e3",
        "1E3",
        ".5",
        "5.",
        "1,5",
        "1_000",
        "NaN",
        "Infinity",
        "-",
        "0x1",
        "１",
        "1\n",
        "1" * 1001,
    ],
)
def test_anything_else_is_no_decimal(text):
    with pytest.raises(ValueError, match=r"plain decimal|below zero"):
        money.parse_decimal(text)


def test_a_number_may_have_a_thousand_digits():
    assert money.parse_decimal("1" * 1000) == int("1" * 1000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1e3", "'1e3' is not a plain decimal number; write it like 12 or 0.50"),
        ("x" * 40 + "y", f"'{'x' * 40}' is not a plain decimal number; write it like 12 or 0.50"),
        (None, "'None' is not a plain decimal number; write it like 12 or 0.50"),
        ("-5", "'-5' is below zero"),
        ("-" + "1" * 40, f"'-{'1' * 39}' is below zero"),
    ],
)
def test_what_is_no_decimal_is_named_by_its_first_forty_characters(text, said):
    with pytest.raises(ValueError, match="^" + re.escape(said) + "$"):
        money.parse_decimal(text)


def test_a_sign_is_read_only_where_it_makes_sense():
    assert money.parse_decimal("-1.5", signed=True) == Decimal("-1.5")


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("ISK", 0), ("UGX", 0), ("KWD", 3), ("TND", 3), ("CLF", 4)]
    + [(code, 2) for code in ("AFN", "ALL", "LAK", "LBP", "MGA", "MMK", "RSD", "SOS", "SYP", "YER", "IRR", "KPW")]
    + [("IQD", 3)],
)
def test_digits_are_those_of_iso_4217_and_not_of_cldr(currency, digits):
    assert money.minor_units(currency) == digits


@pytest.mark.parametrize("code", ["usd", "XXX", "", "US", "DOLLAR"])
def test_an_unknown_currency_is_refused(code):
    with pytest.raises(ValueError, match="ISO 4217"):
        money.minor_units(code)


def test_an_unknown_currency_is_named_by_its_first_forty_characters():
    with pytest.raises(ValueError, match=f"^'{'X' * 40}' is not an ISO 4217 currency code such as USD$"):
        money.minor_units("X" * 41)


@pytest.mark.parametrize(
    ("value", "half_up", "half_even"),
    [
        ("0.125", 13, 12),
        ("1.005", 101, 100),
        ("2.5", 250, 250),
        ("0.135", 14, 14),
        ("-0.125", -13, -12),
        ("-0.005", -1, 0),
        ("0.0049999999999999", 0, 0),
        ("0.0050000000000001", 1, 1),
        ("0", 0, 0),
    ],
)
def test_ties_go_away_from_zero_or_to_even(value, half_up, half_even):
    assert money.round_amount(Fraction(value), "USD") == half_up
    assert money.round_amount(Fraction(value), "USD", "half_even") == half_even


def test_the_vectorised_rounding_takes_ties_of_both_signs():
    frame = pl.DataFrame({"n": [5, -5, 15, -15, 7, -7]}, schema={"n": pl.Int128})
    ten = pl.lit(10, dtype=pl.Int128)

    assert frame.select(money.rounded_amounts(pl.col("n"), ten, "half_up"))["n"].to_list() == [1, -1, 2, -2, 1, -1]
    assert frame.select(money.rounded_amounts(pl.col("n"), ten, "half_even"))["n"].to_list() == [0, 0, 2, -2, 1, -1]


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (549, "USD", "5.49"),
        (5, "USD", "0.05"),
        (0, "USD", "0.00"),
        (-5, "USD", "-0.05"),
        (7, "JPY", "7"),
        (0, "JPY", "0"),
        (1, "KWD", "0.001"),
        (-100, "CLF", "-0.0100"),
        (10**32, "USD", "1" + "0" * 30 + ".00"),
    ],
)
def test_an_amount_has_exactly_its_currencys_digits(minor, currency, text):
    assert money.amount_text(minor, currency) == text
    assert money.parse_amount(text, currency) == minor


def test_an_amount_of_too_many_digits_is_refused():
    assert money.parse_amount("1.500", "USD") == 150
    assert money.parse_amount("-3", "USD") == -300
    with pytest.raises(ValueError, match="more digits"):
        money.parse_amount("1.005", "USD")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(123456, 3600), "34.293333333333"),
        (Fraction(2, 3), "0.666666666667"),
        (Fraction(1, 2 * 10**12), "0.000000000001"),
        (Fraction(-1, 2 * 10**12), "-0.000000000001"),
        (Fraction(1, 3 * 10**12), "0"),
        (Fraction(-1, 3 * 10**12), "0"),
        (Fraction(100), "100"),
        (Fraction(10**30), "1" + "0" * 30),
        (Fraction(5, 2), "2.5"),
    ],
)
def test_a_quantity_has_at_most_twelve_places(value, text):
    assert money.quantity_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(13), "13"),
        (Fraction(120), "120"),
        (Fraction(1, 8), "0.125"),
        (Fraction(-1, 8), "-0.125"),
        (Fraction(1, 25), "0.04"),
        (Fraction(7, 50), "0.14"),
        (Fraction(1, 10**20), "0.00000000000000000001"),
        (Fraction(2, 6), "1/3"),
        (Fraction(-10, 7), "-10/7"),
        (Fraction(0), "0"),
    ],
)
def test_an_exact_number_is_a_decimal_or_a_fraction_in_lowest_terms(value, text):
    assert money.exact_text(value) == text


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (5, [0, 0], [5, 0]),
        (0, [3, 4], [0, 0]),
        (10, [1, 2, 7], [1, 2, 7]),
        (1, [1, 3], [0, 1]),
        (5, [2, 1], [3, 2]),
    ],
)
def test_a_split_gives_the_rest_to_the_largest_remainders(total, weights, parts):
    assert money.largest_remainder(total, weights) == parts


@pytest.mark.parametrize(("weights", "said"), [([], "nothing to split over"), ([3, -1], "a weight is not below zero")])
def test_nothing_is_split_over_nobody_or_over_less_than_nothing(weights, said):
    with pytest.raises(AssertionError, match=f"^{said}"):
        money.largest_remainder(1, weights)


@pytest.mark.parametrize(
    ("total", "exact", "parts"),
    [
        (3, ["0.75", "1.5", "0.75"], [1, 1, 1]),
        (2, ["0.5", "0.5", "1"], [1, 0, 1]),
        (2, ["0.2", "0.9", "0.9"], [0, 1, 1]),
        (2, ["1", "1"], [1, 1]),
        (2, ["0.9", "0.9"], [1, 1]),
        (-3, ["-1.5", "-1.5"], [-1, -2]),
        (-2, ["-0.6", "-0.7", "-0.7"], [0, -1, -1]),
    ],
)
def test_exact_parts_become_whole_ones_next_to_them_that_sum_to_the_total(total, exact, parts):
    assert money.apportioned(total, [Fraction(text) for text in exact]) == parts


@pytest.mark.parametrize(("total", "exact"), [(3, ["0.9", "0.9"]), (-1, ["0", "0"])])
def test_a_total_that_is_not_that_of_its_parts_is_refused(total, exact):
    with pytest.raises(AssertionError, match=r"^the total is not that of its parts"):
        money.apportioned(total, [Fraction(text) for text in exact])
