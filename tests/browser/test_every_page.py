"""Every page in both themes, wide and on a phone: axe finds nothing, nothing complains, nothing runs off the side."""

import pytest

from tests.support import web_world
from tests.support.web_world import DESKTOP, PHONE

pytestmark = pytest.mark.browser
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

PAGES = [
    "/",
    "/?month=2026-09",
    "/customers?month=2026-09",
    "/customer?id=cust20&month=2026-10",
    "/customer?id=cust20&month=2026-10&day=2026-10-03",
    "/customer?id=%3Cb%3Ebold%3C%2Fb%3E&month=2026-09",
    "/projects",
    f"/project?id={web_world.PROJECTS[3]}",
    "/quotas",
    "/invoices?month=2026-09",
    "/invoice?number=INV-2026-000003",
    "/invoice?customer=cust20&month=2026-10",
    "/explain?number=INV-2026-000003&line=2",
    "/page?seq=4",
    "/plans",
    "/alerts",
    "/operations",
]


@pytest.mark.parametrize("width", [DESKTOP, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_can_be_read_by_everybody(opened, site, theme, width):
    page = opened("/", color_scheme=theme, viewport=width)
    found = {}
    for address in [*PAGES, site.link]:
        page.goto(address if address.startswith("http") else site.base + address)
        page.wait_for_load_state("networkidle")
        results = axe.Axe().run(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        if results.violations_count or wide > width["width"]:
            found[address] = (wide, results.generate_report())
    assert found == {}


def test_an_alert_can_be_read_by_everybody(opened):
    page = opened("/alerts?type=quota.exceeded")
    page.locator("a[href^='/alert?']").first.click()
    page.wait_for_load_state("networkidle")
    assert axe.Axe().run(page).violations_count == 0


def test_on_paper_there_are_the_figures_and_no_forms(opened):
    page = opened("/customers?month=2026-09")
    page.emulate_media(media="print")
    assert page.locator("form:visible").count() == 0
    assert page.locator("nav:visible").count() == 0
    assert page.get_by_text("2026-09", exact=True).locator("visible=true").count() == 1
    assert page.locator("tbody tr:visible").count() == 50
