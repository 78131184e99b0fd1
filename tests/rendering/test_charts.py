import re
from xml.etree import ElementTree

from metering.rendering import charts

MONTH = {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"}


def drawn(markup):
    return ElementTree.fromstring(str(markup))


def day(number, quantity, *, has_gap=False):
    return {"day": f"2026-09-{number:02d}", "quantity": quantity, "has_gap": has_gap}


def test_daily_bars_are_as_high_as_their_share_of_the_highest_day():
    chart = drawn(charts.daily_bars("d", "Compute", "CU-hour", [day(1, "10"), day(2, "5"), day(3, "0")], 30))
    assert [rect.get("height") for rect in chart.iter("rect")] == ["62", "31", "0"]
    assert [rect.get("x") for rect in chart.iter("rect")] == ["1", "11", "21"]


def test_a_little_usage_is_drawn_as_more_than_nothing():
    chart = drawn(charts.daily_bars("d", "Compute", "CU-hour", [day(1, "1000000"), day(2, "0.000001")], 30))
    assert [rect.get("height") for rect in chart.iter("rect")] == ["62", "0.5"]


def test_a_day_with_a_gap_stands_on_a_shaded_ground_and_is_said_in_words():
    chart = drawn(charts.daily_bars("d", "Compute", "CU-hour", [day(1, "10"), day(2, "5", has_gap=True)], 30))
    assert [rect.get("class") for rect in chart.iter("rect")] == ["bar", "gap", "bar"]
    assert chart.findtext("title") == "Compute per day, in CU-hour"
    assert chart.findtext("desc") == "Highest on 1 September 2026: 10.000 CU-hour. 1 day is incomplete."
    assert chart.get("role") == "img"
    assert chart.get("aria-labelledby") == "d-t d-d"


def test_a_month_without_usage_or_days_is_drawn_without_bars_of_any_height():
    assert drawn(charts.daily_bars("d", "Compute", "CU-hour", [], 30)).findtext("desc") == "No usage."
    chart = drawn(charts.daily_bars("d", "Compute", "CU-hour", [day(1, "0")], 30))
    assert [rect.get("height") for rect in chart.iter("rect")] == ["0"]


def test_shares_divide_the_whole_bar_and_a_credit_has_no_length():
    chart = drawn(
        charts.shares("s", "What was sold", [("Base fee", "75.00"), ("Compute", "25.00"), ("Credit", "-10.00")])
    )
    assert [(rect.get("x"), rect.get("width")) for rect in chart.iter("rect")] == [
        ("0", "75"),
        ("75", "25"),
        ("100", "0"),
    ]
    assert chart.findtext("desc") == "Base fee 75.00; Compute 25.00; Credit −10.00"


def test_shares_of_nothing_are_an_empty_bar():
    assert list(drawn(charts.shares("s", "What was sold", [])).iter("rect")) == []
    chart = drawn(charts.shares("s", "What was sold", [("Base fee", "0.00")]))
    assert [rect.get("width") for rect in chart.iter("rect")] == ["0"]


def test_the_coverage_strip_cuts_each_gap_out_at_its_place():
    gaps = [{"start": "2026-09-16T00:00:00Z", "end": "2026-10-01T00:00:00Z", "hours": 360, "reason": "403"}]
    chart = drawn(charts.coverage_strip("c", "org-1", MONTH, gaps))
    assert [(rect.get("class"), rect.get("x"), rect.get("width")) for rect in chart.iter("rect")] == [
        ("covered", "0", "100"),
        ("missing", "50", "50"),
    ]
    assert chart.findtext("desc") == "360 hours missing in 1 gap."


def test_a_level_bar_ends_at_a_hundred_percent():
    assert [rect.get("width") for rect in drawn(charts.level_bar("121.40", "exceeded")).iter("rect")] == ["100", "100"]
    assert [rect.get("width") for rect in drawn(charts.level_bar("79.99", "ok")).iter("rect")] == ["100", "79.99"]
    assert drawn(charts.level_bar("79.99", "ok")).get("aria-hidden") == "true"


def test_a_change_is_measured_against_the_largest_of_its_list():
    assert [rect.get("width") for rect in drawn(charts.change_bar("-25.00", "-100.00")).iter("rect")] == ["25"]
    assert [rect.get("class") for rect in drawn(charts.change_bar("1.00", "1.00")).iter("rect")] == ["gain"]


def test_names_in_a_chart_are_escaped():
    chart = charts.coverage_strip("c", "<script>alert(1)</script>", MONTH, [])
    assert "<script" not in str(chart)
    assert drawn(chart).findtext("title") == "Coverage of <script>alert(1)</script>"
    assert re.search("[0-9]e-?[0-9]", str(chart)) is None
