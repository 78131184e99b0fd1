"""Draws small charts as inline SVG: days, shares, coverage, levels, changes. The style sheet has the colours.

Takes texts and whole numbers, returns markup. Positions are exact fractions printed to two places; there are no floats.
A chart with information of its own has a title and a description; one that repeats the number beside it is hidden from
screen readers.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from markupsafe import Markup

from metering.core.period import Period, parse_time
from metering.core.text import visible
from metering.rendering.figures import printed, printed_day, printed_moment

Row = Mapping[str, Any]
Length = Fraction | int

COLOURS = 8
"""The number of classes c0 … c7 of the style sheet; further parts share the last."""
_DAYS_WIDTH, _DAYS_HEIGHT = 300, 64
_BAR_WIDTH = 100
_NAMESPACE = '<svg xmlns="http://www.w3.org/2000/svg" '
_ON_PAPER = (
    ".bar,.covered,.level-ok{fill:#2f8f7d}.gap{fill:#b98523;fill-opacity:.32}.missing,.level-exceeded{fill:#a11c1c}"
    ".ground{fill:#d5dae0}.c0{fill:#0b6558}.c1{fill:#3f9d8a}.c2{fill:#4f78b5}.c3{fill:#b98523}.c4{fill:#8565ad}"
    ".c5{fill:#b4604c}.c6{fill:#5d8a3a}.c7{fill:#87919d}"
)
"""The colours of the style sheet's print theme."""
HOURS_OF_A_DAY = 24


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
    """A chart with a title and a description; `words`: an id that is unique on the page, the title, the description."""
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
    return _bars((chart_id, f"{meter} per day, in {unit}"), "day", unit, _of_days(days), days_in_month)


def hourly_bars(chart_id: str, meter: str, unit: str, hours: Sequence[Row]) -> Markup:
    """Bars of the hours {start, quantity, has_gap} of a day."""
    bars = [_Bar(f"{parse_time(row['start']):%H:%M} UTC", row["quantity"], bool(row["has_gap"])) for row in hours]
    return _bars((chart_id, f"{meter} per hour, in {unit}"), "hour", unit, bars, HOURS_OF_A_DAY)


class _Bar(NamedTuple):
    label: str
    quantity: str
    has_gap: bool


def _of_days(days: Sequence[Row]) -> list[_Bar]:
    return [_Bar(printed_day(row["day"]), row["quantity"], bool(row["has_gap"])) for row in days]


def _bars(head: tuple[str, str], step_name: str, unit: str, bars: Sequence[_Bar], places: int) -> Markup:
    """`head`: the chart's id and title; `places`: the number of bars that fit."""
    highest = max((Fraction(bar.quantity) for bar in bars), default=Fraction(0))
    step = Fraction(_DAYS_WIDTH, max(places, len(bars), 1))
    parts = []
    for index, bar in enumerate(bars):
        height = Fraction(bar.quantity) / (highest or 1) * (_DAYS_HEIGHT - 2)
        height = max(height, Fraction(1, 2)) if height else height  # a small quantity stays visible
        tip = f"{bar.label}: {printed(bar.quantity, 3)} {unit}" + (", incomplete" if bar.has_gap else "")
        if bar.has_gap:
            parts.append(_rect("gap", (step * index, 0, step, _DAYS_HEIGHT), tip))
        parts.append(_rect("bar", (step * index + step / 10, _DAYS_HEIGHT - height, step * 8 / 10, height), tip))
    return _described("days", (_DAYS_WIDTH, _DAYS_HEIGHT), (*head, _in_words(step_name, unit, bars)), parts)


def days_in_words(unit: str, days: Sequence[Row]) -> str:
    """The bars of days {day, quantity, has_gap} as text, for screen readers."""
    return _in_words("day", unit, _of_days(days))


def _in_words(step_name: str, unit: str, bars: Sequence[_Bar]) -> str:
    top = max(bars, key=lambda bar: Fraction(bar.quantity), default=None)
    is_used = top is not None and Fraction(top.quantity) > 0
    said = f"Highest on {top.label}: {printed(top.quantity, 3)} {unit}." if top and is_used else "No usage."
    gaps = sum(bar.has_gap for bar in bars)
    return said + (f" {gaps} {f'{step_name} is' if gaps == 1 else f'{step_name}s are'} incomplete." if gaps else "")


def standing_alone(chart: str) -> str:
    """The chart as a separate file: with its namespace, and with fixed colours instead of the style sheet's."""
    return chart.replace("<svg ", _NAMESPACE, 1).replace(">", f"><style>{_ON_PAPER}</style>", 1)


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


def change_bar(change: str, largest: str) -> Markup:
    """A change against the largest of its list, as a bar whose colour shows its direction."""
    width = abs(Fraction(change)) / (abs(Fraction(largest)) or 1) * _BAR_WIDTH
    css = "gain" if Fraction(change) > 0 else "loss"
    return _decorative("level", (_BAR_WIDTH, 6), [_rect(css, (0, 0, width, 6))])
