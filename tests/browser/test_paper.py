"""The report and an invoice in a real browser: nothing that axe would find, in both themes, wide and narrow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metering.invoicing.printed.sheet_usage import MeterDays
from metering.reporting.build import build
from metering.reporting.write import write
from tests.reporting.test_report import around, poisoned
from tests.support.sample_month import facts

pytestmark = pytest.mark.browser
PAGES = ("report.html", "invoices/INV-2026-000009.html", "poison/report.html")
WIDE, NARROW = {"width": 1100, "height": 900}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed month, and one in which every name means harm."""
    directory = tmp_path_factory.mktemp("paper")
    for month, below in ((facts(), ""), (poisoned(facts(has_gaps=True)), "poison")):
        report = build(month)
        days = [MeterDays(meter=row["meter"], unit=row["unit"], days=row["days"]) for row in report["meters"]]
        background = around(month, days=lambda _, days=days: days)
        write(report, month.invoices, background, directory / below, {"html"})
    return directory


@pytest.fixture(params=["light", "dark"])
def shown(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Any]:
    """A page in each theme; what it says on the console is a failure."""
    # Axe is put into the page, which its policy forbids, as it should.
    context = chromium.new_context(color_scheme=request.param, bypass_csp=True)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    yield page
    context.close()
    assert said == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_no_violation_and_nothing_runs_over_the_edge(written, shown, name, size):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    shown.set_viewport_size(size)
    shown.goto((written / name).as_uri())
    assert [(found["id"], found["nodes"][0]["html"]) for found in axe.run(shown).response["violations"]] == []
    assert shown.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
