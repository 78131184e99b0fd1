from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.analysis import causes, neon_invoice
from metering.analysis.causes import Bounds, Candidate
from metering.core.errors import ConfigError

SCOPE = Candidate(cause="allowance scope", amount=4000, what="per organization")
OTHER_SCOPE = Candidate(cause="allowance scope", amount=9000, what="none")
GONE = Candidate(cause="deleted projects", amount=-250, what="2 deleted projects are not billed")
PLAN = Candidate(cause="plan change", amount=3750, what="by scale")
EXACT = Bounds(rounding=2)


def named(split):
    return {cause: amount for cause, amount in split.parts.items() if amount}


def test_no_difference_has_no_cause():
    assert named(causes.split(0, [SCOPE, GONE], EXACT)) == {}


def test_a_difference_within_rounding_is_rounding():
    assert named(causes.split(2, [SCOPE], EXACT)) == {"rounding": 2}
    assert named(causes.split(-2, [SCOPE], EXACT)) == {"rounding": -2}


def test_a_difference_beyond_rounding_that_nothing_explains_is_unknown_as_a_whole():
    assert named(causes.split(3, [SCOPE], EXACT)) == {"unknown": 3}
    assert named(causes.split(3997, [SCOPE], EXACT)) == {"unknown": 3997}


def test_a_cause_explains_with_rounding_at_its_side():
    assert named(causes.split(3998, [SCOPE], EXACT)) == {"allowance scope": 4000, "rounding": -2}


def test_causes_add_up():
    assert named(causes.split(3751, [SCOPE, OTHER_SCOPE, GONE], EXACT)) == {
        "allowance scope": 4000,
        "deleted projects": -250,
        "rounding": 1,
    }


def test_the_fewest_causes_are_named():
    assert named(causes.split(3750, [SCOPE, GONE, PLAN], EXACT)) == {"plan change": 3750}


def test_of_two_answers_to_one_question_only_one_is_taken():
    assert named(causes.split(13000, [SCOPE, OTHER_SCOPE], EXACT)) == {"unknown": 13000}


def test_coarse_buckets_explain_what_lies_between_their_bounds():
    coarse = Bounds(rounding=2, granularity=(-100, 900))
    assert named(causes.split(500, [], coarse)) == {"granularity": 500}
    assert named(causes.split(902, [], coarse)) == {"granularity": 900, "rounding": 2}
    assert named(causes.split(903, [], coarse)) == {"unknown": 903}
    assert named(causes.split(-102, [], coarse)) == {"granularity": -100, "rounding": -2}


def test_a_candidate_no_larger_than_rounding_is_no_cause():
    small = Candidate(cause="deleted projects", amount=2, what="1 deleted project is not billed")
    assert named(causes.split(4, [small], EXACT)) == {"unknown": 4}


amounts = st.integers(-10_000, 10_000)
candidates = st.lists(
    st.builds(Candidate, cause=st.sampled_from(causes.CAUSES[2:6]), amount=amounts, what=st.just("so")), max_size=6
)


@given(amounts, candidates, st.integers(0, 50), st.integers(0, 500), st.integers(0, 500))
def test_parts_always_sum_to_the_difference(difference, found, rounding, low, high):
    split = causes.split(difference, found, Bounds(rounding=rounding, granularity=(-low, high)))

    assert sum(split.parts.values()) == difference
    assert list(split.parts) == list(causes.CAUSES)
    assert abs(split.parts["rounding"]) <= rounding
    assert -low <= split.parts["granularity"] <= high


# -- Neon's invoice as a CSV


def parsed(text):
    return [(line.organization, line.meter, line.cents) for line in neon_invoice.parse(text, "neon.csv")]


def test_lines_are_read_by_our_words():
    text = "organization,meter,quantity,amount\norg-1,compute,138.89,30.83\norg-1,extra_branches,0.097,0.15\n"
    assert parsed(text) == [("org-1", "compute", 3083), ("org-1", "extra_branches", 15)]
    assert neon_invoice.parse(text, "neon.csv")[0].quantity == Fraction("138.89")


@pytest.mark.parametrize(
    ("words", "meter"),
    [
        ("compute_unit_seconds", "compute"),
        ("Compute Hours (Scale)", "compute"),
        ("Storage - root branches", "storage_root"),
        ("child branches storage", "storage_child"),
        ("Storage", "storage"),
        ("Instant restore storage", "instant_restore"),
        ("Snapshot storage", "snapshots"),
        ("Extra branches", "extra_branches"),
        ("Public data transfer", "public_transfer"),
        ("Private network transfer", "private_transfer"),
        ("extra_branches_month", "extra_branches"),
        ("Support", None),
    ],
)
def test_a_meter_is_known_by_its_words(words, meter):
    assert neon_invoice.meter_of(words) == meter


def test_other_headers_and_separators_are_understood_and_sums_left_out():
    lines = ["Line Item;Cost (USD)", "Compute;$1,234.50", "", "Credit;(5.00)", "Total;1229.50", ""]
    assert parsed("\N{ZERO WIDTH NO-BREAK SPACE}" + "\r\n".join(lines)) == [
        (None, "compute", 123450),
        (None, None, -500),
    ]


def test_every_fault_of_a_file_is_told_with_its_line():
    with pytest.raises(ConfigError) as caught:
        parsed("meter,amount\ncompute,1.005\ncompute,1e3\ncompute,\ncompute,1.00\n")
    assert [fault.where for fault in caught.value.faults] == ["neon.csv line 2", "neon.csv line 3", "neon.csv line 4"]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "meter,quantity\ncompute,1\n", "meter,amount\n"])
def test_a_file_without_amounts_is_refused(text):
    with pytest.raises(ConfigError, match="neon"):
        parsed(text)


@pytest.mark.parametrize(("text", "cents"), [("12", 1200), ("-0.01", -1), ("$ 1,000.00 USD", 100000), ("0.100", 10)])
def test_an_amount_is_read_exactly(text, cents):
    assert neon_invoice.cents_of(text) == cents


@pytest.mark.parametrize("text", ["", "1.001", "1,00", "NaN", "1e5", "12,34.00"])
def test_an_amount_that_could_be_read_in_two_ways_is_refused(text):
    with pytest.raises(ValueError, match=r"number|cent"):
        neon_invoice.cents_of(text)
