"""Contract 5.3 from outside: a tax that changes, on invoices, on paper, in ledgers and in e-invoices."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from test_contract_invoices import HOUR, per_unit, plan

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk

Json = dict[str, Any]
Octobers = Callable[[str], tuple[Desk, Json]]
SELLER = """
[seller]
name = "Acme Platforms Ltd"
street = "1 Example Street"
postcode = "1000"
city = "Brussels"
country = "BE"
tax_id = "BE0123456749"
email = "billing@acme.example"
"""
COLUMNS = (
    "customer,name,street,postcode,city,country,email,tax_id,tax_rate_percent,tax_name,tax_category,tax_from,tax_to\n"
)
PARTY = "bee,Bee SA,1 Rue,75001,Paris,FR,ap@bee.example"
CHEAPER = f"{COLUMNS}{PARTY},FR40303265045,19,VAT,,,2026-10-01\n{PARTY},FR40303265045,16,VAT,,2026-10-01,\n"
OWING = f"{COLUMNS}{PARTY},FR40303265045,20,TVA,S,,2026-10-01\n{PARTY},FR40303265045,,,AE,2026-10-01,\n"
OWED = f"{COLUMNS}{PARTY},FR40303265045,,,AE,,2026-10-01\n{PARTY},FR40303265045,20,TVA,S,2026-10-01,\n"

ALONE = f"{COLUMNS}{PARTY},FR40303265045,,,AE,,\n"
LOST = f"{COLUMNS}{PARTY},FR40303265045,,,AE,,2026-10-01\n{PARTY},,20,TVA,S,2026-10-01,\n"
"""From October on the customer has no VAT identifier, which September's reverse charge still needs."""


@contextmanager
def september(directory: Path) -> Iterator[Desk]:
    """On 3 October 2026: the project bee at 1.00 a CU-hour, with 10 hours in September."""
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        fleet.project("bee")
        fleet.use("bee", "2026-09-10", grain="daily", compute_unit_seconds=10 * HOUR)
        subscriptions = "project_id,customer,plan\nbee,bee,pro\n"
        plans = plan(prices=per_unit("compute", "1"))
        yield Desk(
            directory=directory,
            neon=neon,
            now="2026-10-03T00:00:00Z",
            more=SELLER,
            plans=plans,
            subscriptions=subscriptions,
        )


def october(desk: Desk) -> Json:
    """September is closed, 50 hours of it arrive, October has 100, and is closed."""
    desk.good("backfill")
    desk.good("close", "2026-09")
    fleet = desk.neon.fleet("org-a")
    fleet.use("bee", "2026-09-30T20:00", compute_unit_seconds=50 * HOUR)
    fleet.use("bee", "2026-10-20", grain="daily", compute_unit_seconds=100 * HOUR)
    desk.good("backfill")
    desk.now = "2026-11-03T00:00:00Z"
    desk.good("backfill")
    desk.good("close", "2026-10")
    (invoice,) = desk.good("invoices", "2026-10")["invoices"]
    for line in invoice["lines"]:
        assert desk.good("explain", invoice["number"], line["key"])["agrees"], line["key"]
    assert desk.run("verify").code == 0
    return invoice


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with september(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def octobers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Octobers]:
    """Customers -> the desk with these customers whose October is closed, and its invoice; for reading."""
    with ExitStack() as opened:

        @cache
        def closed(customers: str) -> tuple[Desk, Json]:
            found = opened.enter_context(september(tmp_path_factory.mktemp("october")))
            found.customers = customers
            return found, october(found)

        yield closed


def test_late_usage_of_a_month_of_another_rate(octobers: Octobers) -> None:
    """B19: 9.50 + 16.00."""
    _, invoice = octobers(CHEAPER)
    assert [(line["amount"], line["tax_rate_percent"], line["tax_name"]) for line in invoice["lines"]] == [
        ("50.00", "19", "VAT"),
        ("100.00", "16", "VAT"),
    ]
    assert [(tax["rate_percent"], tax["base"], tax["amount"]) for tax in invoice["taxes"]] == [
        ("19", "50.00", "9.50"),
        ("16", "100.00", "16.00"),
    ]
    assert invoice["total"] == "175.50"


def test_ledgers_files_and_paper_say_both_rates(octobers: Octobers, tmp_path: Path) -> None:
    found, invoice = octobers(CHEAPER)
    desk = replace(found, more=f'{SELLER}\n[exports]\nxero_tax_type = "{{rate}}% (VAT)"\n')
    number = invoice["number"]
    rows = list(csv.DictReader(io.StringIO(desk.run("export", "xero", "2026-10").out, newline="")))
    assert [(row["*UnitAmount"], row["*TaxType"], row["TaxAmount"]) for row in rows] == [
        ("50.00", "19% (VAT)", "9.50"),
        ("100.00", "16% (VAT)", "16.00"),
    ]
    for form in ("beancount", "hledger"):
        text = desk.run("export", form, "2026-10").out
        assert re.findall(r"Liabilities:Tax\s+(?:USD )?(-[0-9.]+)", text) == ["-9.50", "-16.00"]
    page = tmp_path / "invoice.html"
    desk.run("invoice", number, "--html", str(page))
    text = page.read_text()
    assert "VAT 19 % of 50.00" in text and "VAT 16 % of 100.00" in text


@pytest.mark.parametrize(
    ("customers", "taxes"),
    [
        (CHEAPER, [("19", None, "50.00", "9.50"), ("16", None, "100.00", "16.00")]),
        (OWING, [("20", "S", "50.00", "10.00"), ("0", "AE", "100.00", "0.00")]),
        (OWED, [("20", "S", "100.00", "20.00"), ("0", "AE", "50.00", "0.00")]),
        (LOST, [("20", "S", "100.00", "20.00"), ("0", "AE", "50.00", "0.00")]),
        (ALONE, [("0", "AE", "150.00", "0.00")]),
    ],
)
def test_e_invoices_of_two_taxes_pass_the_official_rules(
    octobers: Octobers, tmp_path: Path, customers: str, taxes: list[tuple[str, str | None, str, str]]
) -> None:
    """Also of a customer who becomes reverse-charge, and of one who stops being so."""
    from tests.support import official_rules

    desk, invoice = octobers(customers)
    names = ("rate_percent", "category", "base", "amount")
    assert [tuple(tax.get(name) for name in names) for tax in invoice["taxes"]] == taxes
    with official_rules.ready() as broken:
        for form, syntax in (("ubl", "ubl"), ("facturx", "cii")):
            file = tmp_path / f"{syntax}.xml"
            ran = desk.run("export", form, "2026-10", "-o", str(file))
            assert ran.code == 0, ran.err
            assert broken(syntax, file.read_bytes(), tmp_path) == []
            assert b"FR40303265045" in file.read_bytes()
            rate = b"Percent" if syntax == "ubl" else b"RateApplicablePercent"
            assert set(re.findall(rb"<(?:cbc|ram):" + rate + rb">([^<]+)<", file.read_bytes())) == {
                tax[0].encode() for tax in taxes
            }
    desk.run("invoice", invoice["number"], "--html", str(tmp_path / "invoice.html"))
    page = (tmp_path / "invoice.html").read_text()
    assert "FR40303265045" in page
    assert ("Reverse charge 0 % of" in page) == ("AE" in [tax[1] for tax in taxes])


def test_a_change_inside_the_month_is_closed_explained_and_verified(desk: Desk) -> None:
    desk.customers = CHEAPER.replace("2026-10-01", "2026-09-16")
    desk.plans = plan(prices=per_unit("compute", "1", 'maximum = "20.01"'), base_fee="30")
    desk.neon.fleet("org-a").use("bee", "2026-09-29T05:00", compute_unit_seconds=20 * HOUR)
    desk.good("backfill")
    desk.good("close", "2026-09")
    (invoice,) = desk.good("invoices", "2026-09")["invoices"]
    assert [(line["kind"], line["amount"], line["tax_rate_percent"]) for line in invoice["lines"]] == [
        ("base_fee", "15.00", "19"),
        ("base_fee", "15.00", "16"),
        ("usage", "10.00", "19"),
        ("discount", "-3.33", "19"),
        ("usage", "20.00", "16"),
        ("discount", "-6.66", "16"),
    ]
    for line in invoice["lines"]:
        assert desk.good("explain", invoice["number"], line["key"])["agrees"], line["key"]
    assert desk.run("verify").code == 0


def test_rows_of_a_customer_that_contradict_each_other_end_a_command_with_4(desk: Desk) -> None:
    desk.customers = CHEAPER.replace(",,2026-10-01\n", ",,2026-09-30\n")
    ran = desk.run("invoices", "2026-09")
    assert ran.code == 4
    assert "'bee' has no tax from 2026-09-30 to 2026-10-01: lines 2 and 3" in ran.err
