"""Patterns of project names: what they match, which are refused, and that none of them hangs."""

import pytest

from metering.core import name_patterns


def test_customer_and_plan_are_taken_out_of_whole_names():
    pattern = r"(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)"
    names = ["acme-cust7-pro", "acme-cust7-pro-more", "acme-cust7", None, "", "acme-cust7-pro"]
    assert name_patterns.matched(names, pattern) == {"acme-cust7-pro": ("cust7", "pro")}
    assert name_patterns.matched(names, None) == {}


def test_names_are_compared_in_their_composed_form_and_without_blanks_around_ids():
    pattern = r"(?P<customer>.+)/(?P<plan>.+)"
    assert name_patterns.matched(["Jose\u0301 / pro"], pattern) == {"Jose\u0301 / pro": ("José", "pro")}


def test_a_group_that_stays_empty_names_nobody():
    assert name_patterns.matched(["-pro", "a-"], r"(?P<customer>\w*)-(?P<plan>\w*)") == {}
    assert name_patterns.matched(["a", "b"], r"(?P<customer>a)|(?P<plan>b)") == {}


def test_an_alternative_is_matched_as_a_whole_too():
    assert name_patterns.matched(["a-pro", "a-prof"], r"(?P<customer>\w)-(?P<plan>pro|prof)") == {
        "a-pro": ("a", "pro"),
        "a-prof": ("a", "prof"),
    }


def test_nested_repetitions_end_on_a_name_that_does_not_match():
    # Python's own engine does not end within any useful time for this one.
    pattern = r"(?P<customer>(\w+-?)+)-(?P<plan>pro|team)"
    names = ["a" * 35 + "!", "a" * 5000 + "!", "acme-eu-team"]
    assert name_patterns.fault(pattern) is None
    assert name_patterns.matched(names, pattern) == {"acme-eu-team": ("acme-eu", "team")}


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("(", "unclosed group"),
        (r"(?P<customer>a)(?=-)-(?P<plan>b)", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(?P<customer>\w+)-(?P<plan>\1)", "backreferences are not supported"),
        (r"(?P<customer>\w{1000})-(?P<plan>\w{1000})", "Compiled regex exceeds size limit of 10485760 bytes"),
        (r"(?P<plan>\w+)", "has no group customer"),
        (r"(?P<customer>\w+)", "has no group plan"),
        ("", "has no group customer"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_the_reason(pattern, what):
    found = name_patterns.fault(pattern)
    assert found is not None
    assert found[0].endswith(what)


def test_a_pattern_of_an_older_closing_is_still_matched_as_it_was():
    assert name_patterns.matched(["a-b", "a-a"], r"(?P<customer>\w)-(?!a)(?P<plan>\w)") == {"a-b": ("a", "b")}
