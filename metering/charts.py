"""Small charts as inline SVG: days, shares, coverage, levels and changes; colours come from the page's style sheet.

A noun: texts and whole numbers in, markup out. Positions are exact fractions printed to two places; nothing is a float.
A chart with something to say of its own has a title and a description; one that repeats the number beside it is hidden
from screen readers.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from markupsafe import Markup

from metering.figures import printed, printed_day, printed_moment, visible
from metering.period import Period, parse_time

Row = Mapping[str, Any]
Length = Fraction | int

COLOURS = 8
"""Classes c0 … c7 of the style sheet; what comes after shares the last."""
_DAYS_WIDTH, _DAYS_HEIGHT = 300, 64
_BAR_WIDTH = 100


def _place(value: Length) -> str:
    """A coordinate with at most two places."""
    hundredths = round(Fraction(value) * 100)
    return f"{hundredths // 100}.{hundredths % 100:02d}".rstrip("0").rstrip(".")


def _rect(css: str, box: tuple[Length, Length, Length, Length], tip: str = "") -> Markup:
    """A rectangle at (x, y, width, height); the tip shows under a mouse."""
    body = Markup("<title>{}</title>").format(visible(tip)) if tip else Markup()
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}">{}</rect>').format(
        css, *map(_place, box), body
    )


def _described(css: str, box: tuple[int, int], words: tuple[str, str, str], parts: Sequence[Markup]) -> Markup:
    """A chart of its own: `words` are an id that is unique on the page, a title and a description."""
    chart_id, title, text = map(visible, words)
    return Markup(
        '<svg class="chart {css}" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" '
        'aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{title}</title><desc id="{id}-d">{text}</desc>{parts}</svg>'
    ).format(css=css, w=box[0], h=box[1], id=chart_id, title=title, text=text, parts=Markup().join(parts))


def _decorative(css: str, box: tuple[int, int], parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        css, box[0], box[1], Markup().join(parts)
    )


def highest_day(days: Sequence[Row]) -> Row | None:
    """The day with the largest quantity, the first of equals; None where nothing was used."""
    top = max(days, key=lambda row: Fraction(row["quantity"]), default=None)
    return top if top is not None and Fraction(top["quantity"]) > 0 else None


def daily_bars(chart_id: str, meter: str, unit: str, days: Sequence[Row], days_in_month: int) -> Markup:
    """One bar per day {day, quantity, has_gap}; days with a gap stand on a shaded ground, days to come stay empty."""
    top = highest_day(days)
    highest = Fraction(top["quantity"]) if top else Fraction(1)
    step = Fraction(_DAYS_WIDTH, max(days_in_month, len(days), 1))
    parts = []
    for index, row in enumerate(days):
        height = Fraction(row["quantity"]) / highest * (_DAYS_HEIGHT - 2)
        height = max(height, Fraction(1, 2)) if height else height  # a little is not nothing
        tip = f"{printed_day(row['day'])}: {printed(row['quantity'], 3)} {unit}" + (
            ", incomplete" if row["has_gap"] else ""
        )
        if row["has_gap"]:
            parts.append(_rect("gap", (step * index, 0, step, _DAYS_HEIGHT), tip))
        parts.append(_rect("bar", (step * index + step / 10, _DAYS_HEIGHT - height, step * 8 / 10, height), tip))
    gaps = sum(bool(row["has_gap"]) for row in days)
    text = (f"Highest on {printed_day(top['day'])}: {printed(top['quantity'], 3)} {unit}." if top else "No usage.") + (
        f" {gaps} {'day is' if gaps == 1 else 'days are'} incomplete." if gaps else ""
    )
    return _described("days", (_DAYS_WIDTH, _DAYS_HEIGHT), (chart_id, f"{meter} per day, in {unit}", text), parts)


def shares(chart_id: str, title: str, parts: Sequence[tuple[str, str]]) -> Markup:
    """One bar divided by amount: (label, decimal string), largest first; amounts below zero have no length."""
    amounts = [max(Fraction(amount), Fraction(0)) for _, amount in parts]
    whole, start, rects = sum(amounts) or Fraction(1), Fraction(0), []
    for index, ((label, amount), value) in enumerate(zip(parts, amounts, strict=True)):
        width = value / whole * _BAR_WIDTH
        rects.append(_rect(f"c{min(index, COLOURS - 1)}", (start, 0, width, 8), f"{label}: {printed(amount)}"))
        start += width
    text = "; ".join(f"{label} {printed(amount)}" for label, amount in parts)
    return _described("shares", (_BAR_WIDTH, 8), (chart_id, title, text or "Nothing."), rects)


def coverage_strip(chart_id: str, organization: str, period: Row, gaps: Sequence[Row]) -> Markup:
    """The month as a band with the organization's gaps {start, end, hours, reason} cut out of it."""
    month = Period(start=parse_time(period["start"]), end=parse_time(period["end"]))
    parts = [_rect("covered", (0, 0, _BAR_WIDTH, 6))]
    for gap in gaps:
        hole = Period(start=parse_time(gap["start"]), end=parse_time(gap["end"])).overlap(month)
        if hole is None:
            continue
        before = Period(start=month.start, end=hole.start).share_of(month)
        tip = f"{printed_moment(gap['start'])} to {printed_moment(gap['end'])}: {gap['reason']}"
        parts.append(
            _rect("missing", (before * _BAR_WIDTH, 0, max(hole.share_of(month) * _BAR_WIDTH, Fraction(1, 2)), 6), tip)
        )
    text = (
        f"{sum(int(gap['hours']) for gap in gaps)} hours missing in {len(gaps)} {'gap' if len(gaps) == 1 else 'gaps'}."
    )
    return _described("strip", (_BAR_WIDTH, 6), (chart_id, f"Coverage of {organization}", text), parts)


def level_bar(percent: str | None, level: str) -> Markup:
    """A quota's percentage as a bar that ends at 100; the number stands beside it."""
    width = min(Fraction(percent or 0), Fraction(100))
    return _decorative(
        "level", (_BAR_WIDTH, 6), [_rect("ground", (0, 0, _BAR_WIDTH, 6)), _rect(f"level-{level}", (0, 0, width, 6))]
    )


def share_bar(percent: str | None) -> Markup:
    """A share of 100 as a bar; a negative share has no length."""
    width = min(max(Fraction(percent or 0), Fraction(0)), Fraction(100))
    return _decorative(
        "level", (_BAR_WIDTH, 6), [_rect("ground", (0, 0, _BAR_WIDTH, 6)), _rect("bar", (0, 0, width, 6))]
    )


def change_bar(change: str, largest: str) -> Markup:
    """A change against the largest of its list, as a bar whose colour shows its direction."""
    width = abs(Fraction(change)) / (abs(Fraction(largest)) or 1) * _BAR_WIDTH
    css = "gain" if Fraction(change) > 0 else "loss"
    return _decorative("level", (_BAR_WIDTH, 6), [_rect(css, (0, 0, width, 6))])
