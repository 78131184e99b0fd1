"""A store of an older version is migrated; its closed months keep their rules and their documents."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from metering.billing import terms
from metering.store import database as store
from tests.support import old_store
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, Ran

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The old store and the command line of this version."""

    directory: Path
    desk: Desk

    def run(self, *arguments: str, now: str = old_store.NOW) -> Ran:
        self.desk.now = now
        return self.desk.run(*arguments, "--config", str(self.directory / "config.toml"), config=False)

    def good(self, *arguments: str, now: str = old_store.NOW, code: int = 0) -> Any:
        ran = self.run(*arguments, now=now)
        assert ran.code == code, (arguments, ran)
        return json.loads(ran.out)

    def documents(self) -> list[tuple[Any, ...]]:
        return issued(self.directory / "var" / "metering.duckdb")


def issued(database: Path) -> list[tuple[Any, ...]]:
    """The bytes of every document."""
    with closing(duckdb.connect(str(database), read_only=True)) as connection:
        return connection.execute("select number, status, document from invoice order by number").fetchall()


@pytest.fixture(scope="module")
def taken_over(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The migrated store: the first writing command migrates it."""
    directory = tmp_path_factory.mktemp("taken_over")
    old_store.unpacked(directory)
    with served(PlainNeon()) as neon:
        found = Shop(directory=directory, desk=Desk(directory=directory, neon=neon))
        assert found.run("verify").code == 0
        yield found


@pytest.fixture
def shop(taken_over: Shop, tmp_path: Path) -> Shop:
    """A copy of it for one test."""
    shutil.copytree(taken_over.directory, tmp_path, dirs_exist_ok=True)
    return Shop(directory=tmp_path, desk=taken_over.desk)


def test_documents_of_an_older_store_stay_to_the_byte(tmp_path: Path) -> None:
    old_store.unpacked(tmp_path)
    database = tmp_path / "var" / "metering.duckdb"
    before = issued(database)
    with closing(store.open_writer(tmp_path / "var").connection) as migrated:
        assert migrated.execute("select distinct rules, paper from closing").fetchall() == [(1, None)]
    assert issued(database) == before
    assert len(before) == 15


def test_what_an_older_version_printed_of_its_months_is_printed_again(shop: Shop) -> None:
    for month in ("2026-09", "2026-10"):
        shown = shop.good("invoices", month)["invoices"]
        then = old_store.told(shop.directory, f"invoices-{month}")["invoices"]
        assert [one for one in shown if one["number"]] == [one for one in then if one["number"]]


def test_an_older_store_verifies_without_being_rated_again(shop: Shop) -> None:
    ran = shop.run("verify")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "everything agrees")
    assert "183 journal records" in ran.out
    assert "15 invoices checked" in ran.out
    assert "2026-09 was closed under older rules (1, today 2) by record 152: its 7 invoices hold to the byte" in ran.out


def test_verify_finds_a_changed_document_of_an_older_closing(shop: Shop) -> None:
    with closing(duckdb.connect(str(shop.directory / "var" / "metering.duckdb"))) as connection:
        connection.execute(
            """update invoice set document = replace(document, '"amount":"155.38"', '"amount":"155.39"')
            where number = 'INV-2026-000002'"""
        )
    ran = shop.run("verify")
    assert ran.code == 1
    assert "table invoice: " in ran.err
    assert "check invoices_add_up: 1 rows" in ran.err


def test_verify_finds_older_terms_that_are_not_those_of_their_documents(shop: Shop) -> None:
    with closing(duckdb.connect(str(shop.directory / "var" / "metering.duckdb"))) as connection:
        connection.execute("""update terms set document = replace(document, '"0.19"', '"0.20"')""")
    ran = shop.run("verify")
    assert ran.code == 1
    assert "invoice INV-2026-000001: it names another rate card than its closing's" in ran.err


def test_verify_finds_an_older_credit_note_that_does_not_take_everything_back(shop: Shop) -> None:
    with closing(duckdb.connect(str(shop.directory / "var" / "metering.duckdb"))) as connection:
        connection.execute(
            """update invoice set document = replace(document, '"amount":"-20.00"', '"amount":"-20.01"')
            where number = 'CN-2026-000002'"""
        )
    assert "credit note CN-2026-000002: it does not cancel INV-2026-000003" in shop.run("verify").err


def test_a_rebuild_from_the_older_journal_gives_equal_tables(shop: Shop) -> None:
    before = shop.documents()
    (shop.directory / "var" / "metering.duckdb").unlink()
    assert shop.run("rebuild").code == 0
    assert shop.documents() == before
    assert shop.run("verify").code == 0


def test_status_says_which_months_are_closed_under_older_rules(shop: Shop) -> None:
    assert shop.good("status")["closed_under_older_rules"] == [
        {"month": "2026-09", "rules": "1", "invoices": "6"},
        {"month": "2026-10", "rules": "1", "invoices": "5"},
    ]


def test_late_usage_of_a_month_under_older_rules_makes_no_adjustment(shop: Shop) -> None:
    # The version that closed September had 7.33 for the 21st on cust1's next invoice.
    drafts = shop.good("invoices", "2026-11", now="2026-12-01T11:00:00Z")["invoices"]
    assert next(one["customer"]["id"] for one in drafts if one["number"] is None) == "cust1"
    assert [line["kind"] for one in drafts for line in one["lines"] if line["kind"] == "adjustment"] == []


def test_a_line_of_older_rules_is_explained_by_its_document_and_its_pages(shop: Shop) -> None:
    told = shop.good("explain", "INV-2026-000002", "2")
    assert told["closing"]["rules"] == 1
    assert told["agrees"] is None
    assert told["steps"] == [
        "closed under older rules: the line is shown as it was issued and is not computed again",
        "on the document: 969.188888888889 CU-hour at 0.15: 155.38",
    ]
    # 969.1888… CU-hours beyond the 500 that are included.
    assert sum(int(row["value"]) for row in told["observations"]) == 5289080
    assert {row["seq"] for row in told["observations"]} == {14}
    text = shop.run("explain", "INV-2026-000002", "2", "--format", "table")
    assert text.code == 0
    assert "under older rules (1)" in text.out


@pytest.mark.parametrize("number", ["INV-2026-000002", "INV-2026-000009", "INV-2026-000008", "CN-2026-000001"])
def test_every_line_of_an_older_document_is_explained(shop: Shop, number: str) -> None:
    lines = shop.good("explain", number)["lines"]
    for line in lines:
        told = shop.good("explain", number, line["key"])
        shown = told["line"] if "line" in told else told["lines"][0]
        assert shown["amount"] == line["amount"]


def test_an_adjustment_of_older_rules_is_explained_as_it_was_issued(shop: Shop) -> None:
    told = shop.good("explain", "INV-2026-000009", "2")
    assert told["line"]["amount"] == "7.35"
    assert told["steps"][-1] == "on the document: 49.012777777778 CU-hour: 7.35"


def test_reports_of_months_under_older_rules_come_from_their_documents(shop: Shop) -> None:
    assert shop.run("report", "2026-09", "--format", "html,json").code == 0
    file = shop.directory / "var" / "reports" / "2026-09" / "report.json"
    totals = json.loads(file.read_text())["totals"]
    # 0.17 + 315.64 + 57.64 + 5.00 + 80.00 + 1.17, and cust2's draft of 20.00
    assert [(row["currency"], row["subtotal"]) for row in totals] == [("USD", "479.62")]


@pytest.mark.parametrize("form", ["focus", "xero", "quickbooks", "beancount", "hledger", "cloudevents", "lago"])
def test_exports_of_months_under_older_rules_come_from_their_documents(shop: Shop, form: str) -> None:
    ran = shop.run("export", form, "2026-09")
    assert ran.code == 0, ran
    assert ran.out


def test_only_void_and_close_moves_a_customer_to_the_newest_rules(shop: Shop) -> None:
    assert shop.run("void", "INV-2026-000005", "--reason", "to be issued anew").code == 0
    closed = shop.good("close", "2026-09", code=3)  # cust2 is still on hold
    assert closed["issued"] == ["INV-2026-000014"]
    assert shop.good("explain", "INV-2026-000014")["closing"]["rules"] == terms.RULES == 2
    assert shop.good("status")["closed_under_older_rules"] == [
        {"month": "2026-09", "rules": "1", "invoices": "5"},
        {"month": "2026-10", "rules": "1", "invoices": "5"},
    ]
    ran = shop.run("verify")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "everything agrees")


def test_an_adjustment_of_a_month_under_older_rules_survives_its_invoice_being_issued_anew(shop: Shop) -> None:
    assert shop.run("void", "INV-2026-000009", "--reason", "to be issued anew").code == 0
    closed = shop.good("close", "2026-10", "--allow-incomplete", "as before")
    assert closed["issued"] == ["INV-2026-000014"]
    anew = shop.good("invoice", "INV-2026-000014")
    # 7.35 was billed for September under older rules and stays; usage known since then (7.33) is not billed.
    adjusted = [line for line in anew["lines"] if line["kind"] == "adjustment"]
    assert [(line["amount"], line["from"]) for line in adjusted] == [("7.35", "2026-09-01T00:00:00Z")]
    assert adjusted[0]["tax_rate_percent"] == "21"  # the rate of the original document, whose lines had no rate
    assert (anew["subtotal"], anew["total"]) == ("208.16", "251.87")
    told = shop.good("explain", "INV-2026-000014", adjusted[0]["key"])
    assert (told["agrees"], told["line"]["amount"]) == (None, "7.35")
    assert shop.run("verify").code == 0


def test_both_months_voided_and_closed_anew_are_rated_by_the_newest_rules_alone(shop: Shop) -> None:
    for number in ("INV-2026-000009", "INV-2026-000002"):
        assert shop.run("void", number, "--reason", "to be issued anew").code == 0
    shop.good("close", "2026-09", code=3)
    closed = shop.good("close", "2026-10", "--allow-incomplete", "as before")
    anew = shop.good("invoice", closed["issued"][0])
    assert [line for line in anew["lines"] if line["kind"] == "adjustment"] == []
    assert shop.run("verify").code == 0
