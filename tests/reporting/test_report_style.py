"""Colours of the report: text contrast reaches WCAG AA in light mode, dark mode and print."""

import re

import pytest

from metering.core.files import data_directory

STYLE = (data_directory("reports") / "style.css").read_text(encoding="utf-8")
TEXT_ON_GROUND = [
    *[(ink, ground) for ink in ("ink", "muted", "accent", "good", "warn", "bad") for ground in ("ground", "paper")],
    *[(level, f"{level}-soft") for level in ("good", "warn", "bad")],
    *[("ink", ground) for ground in ("good-soft", "warn-soft", "bad-soft", "accent-soft", "soft")],
    *[("muted", "soft")],
]
SHAPE_ON_GROUND = [(shape, "paper") for shape in ("bar", "c0", "c2", "c3", "c4", "c5", "c6", "c7", "good", "bad")]


def themes():
    """The variables of each `:root` block; later blocks override some of the first."""
    blocks = [
        dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)
    ]
    light, dark, paper = blocks
    return {"light": light, "dark": light | dark, "paper": light | paper}


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "paper"])
def test_text_stands_out_from_its_ground(theme):
    colours = themes()[theme]
    faint = {pair: contrast(*(colours[name] for name in pair)) for pair in TEXT_ON_GROUND}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("theme", ["light", "dark", "paper"])
def test_shapes_of_charts_stand_out_from_their_ground(theme):
    colours = themes()[theme]
    faint = {pair: contrast(*(colours[name] for name in pair)) for pair in SHAPE_ON_GROUND}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 3} == {}


def test_the_style_sheet_asks_for_nothing_from_elsewhere():
    assert not re.search(r"url\(|@import|https?:", STYLE)
