import json
from pathlib import Path

import pytest

from metering.analysis.price_lines import is_error, rate_line
from tests.support import oracle

CASES = [
    json.loads(text) for text in (Path(__file__).parents[1] / "scenarios" / "prices.jsonl").read_text().splitlines()
]


def rate(line):
    return json.loads(rate_line(json.dumps(line)))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_line_is_rated_as_the_scenario_says(case):
    assert rate(case["input"]) == case["expected"]


def test_the_scenarios_say_what_the_oracle_says():
    assert len(CASES) >= 60
    assert [case["expected"] for case in CASES] == [oracle.answer(case["input"]) for case in CASES]


def test_the_package_of_the_manual_from_17_to_22_bills_one_package():
    price = {"model": "package", "package_size": "10", "package_price": "1.00"}

    answer = rate({"price": price, "quantity": "22", "used_before": "17"})

    assert (answer["amount"], answer["exact"], answer["billable"]) == ("1.00", "1", "5")


def test_half_even_rounds_a_tie_to_the_even_cent():
    line = json.dumps({"price": {"model": "per_unit", "unit_price": "0.005"}, "quantity": "1"})

    assert json.loads(rate_line(line))["amount"] == "0.01"
    assert json.loads(rate_line(line, "half_even"))["amount"] == "0.00"


def test_an_amount_that_does_not_end_is_a_fraction():
    price = {"model": "per_unit", "unit_price": "1", "included": "1"}

    answer = rate({"price": price, "quantity": "1", "share": "1/3"})

    assert (answer["exact"], answer["billable"], answer["amount"]) == ("2/3", "0.666666666667", "0.67")


PER_UNIT = '"price": {"model": "per_unit", "unit_price": "0.16"}'
TIERS = '[{"up_to": "10", "unit_price": "1"}, {"unit_price": "2"}]'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "JSON"),
        ("nonsense", "JSON"),
        ("[]", "object"),
        ("[" * 100_000, "JSON"),
        ("null", "object"),
        ("{" + PER_UNIT + "}", "quantity"),
        ('{"quantity": "1"}', "price"),
        ('{"price": [], "quantity": "1"}', "price"),
        ("{" + PER_UNIT + ', "quantity": 1}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": 1.5}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": NaN}', "NaN"),
        ("{" + PER_UNIT + ', "quantity": null}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": true}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": "1e3"}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": "-1"}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": " 1"}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": "1,5"}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": ".5"}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": "Infinity"}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": "١"}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": ""}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": "1", "quantity": "2"}', "twice"),
        ("{" + PER_UNIT + ', "quantity": "1", "quantities": "2"}', "quantities"),
        ("{" + PER_UNIT + ', "quantity": "1", "used_before": "2"}', "used_before"),
        ("{" + PER_UNIT + ', "used_before": "2"}', "quantity"),
        ("{" + PER_UNIT + ', "quantity": "1", "hourly": ["1"]}', "hourly"),
        ("{" + PER_UNIT + ', "hourly": "1"}', "hourly"),
        ("{" + PER_UNIT + ', "hourly": [1]}', "hourly[0]"),
        ("{" + PER_UNIT + ', "quantity": "1", "share": "1.5"}', "share"),
        ("{" + PER_UNIT + ', "quantity": "1", "share": "1/0"}', "share"),
        ("{" + PER_UNIT + ', "quantity": "1", "share": "-0.5"}', "share"),
        ("{" + PER_UNIT + ', "quantity": "1", "share": "1/2/3"}', "share"),
        ("{" + PER_UNIT + ', "quantity": "1", "currency": "usd"}', "usd"),
        ("{" + PER_UNIT + ', "quantity": "1", "currency": "XYZ"}', "XYZ"),
        ("{" + PER_UNIT + ', "quantity": "1", "currency": 5}', "currency"),
        ('{"price": {"model": "tiered"}, "quantity": "1"}', "model"),
        ('{"price": {"unit_price": "1"}, "quantity": "1"}', "model"),
        ('{"price": {"model": "per_unit"}, "quantity": "1"}', "unit_price"),
        ('{"price": {"model": "per_unit", "unit_price": 0.16}, "quantity": "1"}', "0.16"),
        ('{"price": {"model": "per_unit", "unit_price": "-1"}, "quantity": "1"}', "unit_price"),
        ('{"price": {"model": "per_unit", "unit_price": "1", "tiers": ' + TIERS + '}, "quantity": "1"}', "tiers"),
        ('{"price": {"model": "per_unit", "unit_price": "1", "markup": "1"}, "quantity": "1"}', "markup"),
        ('{"price": {"model": "per_unit", "unit_price": "1", "meter": "compute"}, "quantity": "1"}', "meter"),
        ('{"price": {"model": "graduated"}, "quantity": "1"}', "tiers"),
        ('{"price": {"model": "graduated", "tiers": []}, "quantity": "1"}', "tiers"),
        ('{"price": {"model": "graduated", "tiers": [{"up_to": "9", "unit_price": "1"}]}, "quantity": "1"}', "up_to"),
        (
            '{"price": {"model": "volume", "tiers": [{"unit_price": "1"}, {"unit_price": "1"}]}, "quantity": "1"}',
            "tiers[0].up_to",
        ),
        (
            '{"price": {"model": "volume", "tiers": [{"up_to": "5", "unit_price": "1"},'
            ' {"up_to": "5", "unit_price": "1"}, {"unit_price": "1"}]}, "quantity": "1"}',
            "tiers[1].up_to",
        ),
        ('{"price": {"model": "package", "package_size": "0", "package_price": "1"}, "quantity": "1"}', "package_size"),
        ('{"price": {"model": "package", "package_price": "1"}, "quantity": "1"}', "package_size"),
        ('{"price": {"model": "cost_plus", "markup_percent": "25"}, "quantity": "1"}', "cost_plus"),
        (
            '{"price": {"model": "per_unit", "unit_price": "1", "minimum": "2", "maximum": "1"}, "quantity": "1"}',
            "maximum",
        ),
        (
            '{"price": {"model": "per_unit", "unit_price": "1", "included": "2", "included_per_hour": "1"},'
            ' "hourly": []}',
            "included_per_hour",
        ),
        ('{"price": {"model": "per_unit", "unit_price": "1", "included_per_hour": "1"}, "quantity": "1"}', "hourly"),
    ],
)
def test_a_faulty_line_is_refused_by_name(text, named):
    answer = rate_line(text)

    assert is_error(answer)
    assert list(json.loads(answer)) == ["error"]
    assert named in json.loads(answer)["error"]


def test_all_faults_of_a_price_come_at_once():
    price = {"model": "graduated", "unit_price": "1", "minimum": "3", "maximum": "2"}

    error = rate({"price": price, "quantity": "1"})["error"]

    assert "price.unit_price" in error
    assert "price.tiers" in error
    assert "price.maximum" in error


@pytest.mark.parametrize("name", ["\\ud800", "\\u0000", "\\u202e", "…"])
def test_an_odd_key_is_named_in_plain_ascii(name):
    answer = rate_line('{"' + name + '": 1, ' + PER_UNIT + ', "quantity": "1"}')

    assert is_error(answer)
    assert answer.isascii()


@pytest.mark.parametrize("digits", [999, 5000])
def test_a_number_of_thousands_of_digits_is_answered_or_refused_but_never_fails(digits):
    ones = "1" * digits
    for price, quantity in [('"unit_price": "' + ones + '"', '"2"'), ('"unit_price": "2"', '"' + ones + '"')]:
        answer = json.loads(rate_line('{"price": {"model": "per_unit", ' + price + '}, "quantity": ' + quantity + "}"))

        assert answer.get("exact") == "2" * digits or "error" in answer
