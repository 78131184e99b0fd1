"""The dashboard as finance, support and a customer use it: by mouse, by keyboard, without scripts."""

import csv
import io
import re
from pathlib import Path

import pytest

from tests.support.web_world import PHONE

pytestmark = pytest.mark.browser


def test_finance_goes_from_the_months_total_down_to_the_page_of_neons(opened):
    page = opened("/")
    page.get_by_label("Month").select_option("2026-09")
    page.get_by_role("button", name="Go").click()
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Invoices").click()
    assert "month=2026-09" in page.url
    page.get_by_role("link", name=re.compile("^Total")).click()
    total = page.locator("tbody tr").first.locator("td[data-label=Total]").inner_text()
    page.locator("tbody tr").first.get_by_role("link", name=re.compile("INV-2026-")).click()
    assert page.locator("tr.due td").inner_text() == f"{total} USD"
    page.get_by_role("link", name=re.compile("^Compute")).first.click()
    assert page.get_by_text("computed again: agrees").is_visible()
    page.locator("td[data-label=Page] a").first.click()
    assert "consumption" in page.locator("pre.raw").inner_text()
    assert page.get_by_role("heading", level=1).inner_text().startswith("Journal record")


def test_finance_takes_the_list_home_as_a_file(opened, tmp_path):
    page = opened("/customers?month=2026-09&q=customer+2")
    shown = page.get_by_role("status").inner_text()
    for name in ("CSV", "XLSX", "JSON"):
        with page.expect_download() as started:
            page.get_by_role("link", name=name, exact=True).click()
        file = Path(tmp_path / started.value.suggested_filename)
        started.value.save_as(file)
        assert file.name == f"customers-2026-09.{name.lower()}"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "customers-2026-09.csv").read_text(), newline="")))
    assert shown.startswith(f"{len(rows)} of 64 customers")


def test_support_sees_who_is_suspended_first_and_searches_without_a_reload(opened):
    page = opened("/quotas")
    assert page.locator("td[data-label=Level]").first.inner_text() == "exceeded"
    page.evaluate("window.stillHere = true")
    page.get_by_label("Search").fill("cust21")
    page.wait_for_url("**/quotas?**q=cust21**")
    page.wait_for_function("document.querySelectorAll('tbody tr').length === 1")
    assert page.evaluate("window.stillHere") is True
    level = page.locator("td[data-label=Level]").inner_text()
    page.get_by_label("Level").select_option(level)
    page.wait_for_url(f"**level={level}**")
    page.reload()
    assert page.get_by_label("Search").input_value() == "cust21", "the address is all that there is to it"
    page.locator("tbody a[href^='/customer?']").first.click()
    assert page.get_by_role("heading", level=1).inner_text() == "Customer 21"
    page.get_by_label("By hour on").fill("2026-10-01")
    page.get_by_role("button", name="Show hours").click()
    page.get_by_role("heading", name="Usage by hour").wait_for(state="visible")


def test_support_sends_an_alert_again_with_one_button(opened, site):
    page = opened("/alerts?type=quota.exceeded")
    page.locator("a[href^='/alert?']").first.click()
    page.get_by_role("button", name="Send again").click()
    assert "Due again at https://hooks.example.com/" in page.get_by_role("status").first.inner_text()
    assert page.url.split("id=")[1].split("&")[0] in site.sent


def test_a_customer_on_a_phone_sees_their_own_month_and_no_way_to_another(opened, site):
    page = opened(site.link, viewport=PHONE)
    assert page.get_by_role("heading", level=1).inner_text() == "Customer 20"
    page.get_by_label("Month").select_option("2026-09")
    page.get_by_role("button", name="Go").click()
    assert page.get_by_role("heading", name=re.compile("INV-2026-")).is_visible()
    leads = {link.get_attribute("href") for link in page.locator("a").all()}
    assert {href for href in leads if not href.startswith("#") and "/usage/" not in href} == set()
    assert page.get_by_text("Margin").count() == 0


def test_everything_is_reached_by_the_keyboard(opened):
    page = opened("/customers?month=2026-09")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href') || ''").startswith("/customer?"):
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "what has the focus is seen"
    page.keyboard.press("Enter")
    page.wait_for_url("**/customer?**")


def test_everything_works_without_scripts(opened):
    page = opened("/customers?month=2026-09", java_script_enabled=False)
    page.get_by_label("Search").fill("cust21")
    page.get_by_role("button", name="Show").click()
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="show all").click()
    page.get_by_role("link", name="Next →").click()
    assert page.get_by_text("Page 2 of 2").is_visible()


def test_plans_are_tried_on_last_month(opened):
    page = opened("/plans")
    page.locator("#backtest").locator("..").get_by_role("link", name="Pro").click()
    plans = page.get_by_label("Plans to try")
    plans.fill(plans.input_value().replace('base_fee = "20.00"', 'base_fee = "25.00"'))
    page.get_by_role("button", name="Rate again").click()
    cards = page.locator("dl.cards").inner_text()
    assert "+320.00 against" in cards, "sixty-four customers pay five dollars more"
