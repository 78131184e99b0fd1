"""Text that a spreadsheet would evaluate as a formula, in files for people and in files for importers."""

import pytest

from metering.core.formulas import imported, opened


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "＝1+1",
        "＋1",
        "－1",
        "＠SUM(A1)",
        " =1+1",
        '=HYPERLINK("x")',
    ],
)
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(text):
    assert opened(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "acme", "1=1", "a-b", "'=1", "#1", "Société"])
def test_any_other_text_stays_as_it_is(text):
    assert opened(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "-Minus Ltd",
        "+Plus",
        "@home",
        "=Ant, Inc",
        "- Dash & Co",
        "acme (EU)",
        "a|b",
        "Yahoo!",
        "\uff1dAnt",
        "",
        "'=cmd|x",
    ],
)
def test_importers_get_names_as_they_are(text):
    assert imported(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("x")',
        "=cmd|' /C calc'!A0",
        "=Sheet1!A1",
        "+1 (800) 555",
        "-2+3+cmd|' /C calc'",
        "@SUM(A1)",
        " =SUM(A1)",
        "\uff1dSUM\uff08A1\uff09",
        "\tTab",
        "\rReturn",
        "\nLine",
    ],
)
def test_importers_get_what_a_spreadsheet_would_run_with_an_apostrophe(text):
    assert imported(text) == f"'{text}"
