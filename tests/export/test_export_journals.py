"""beancount and hledger read our journals and find nothing wrong with them."""

import shutil
import subprocess
from decimal import Decimal

import pytest

from metering.export import beancount, hledger
from tests.support.issued import POISON, book, poisoned

has_hledger = pytest.mark.skipif(shutil.which("hledger") is None, reason="hledger is not installed")


def loaded(text):
    """Entries and errors of beancount's own loader."""
    from beancount.loader import load_string

    entries, errors, _ = load_string(text)
    return entries, errors


def asked(journal, *question):
    return subprocess.run(["hledger", "-f", "-", *question], input=journal.encode(), capture_output=True, check=False)


def test_beancount_finds_no_fault_and_the_same_sums():
    entries, errors = loaded(beancount.file(book(), with_accounts=True))
    assert errors == []
    owed = {}
    for entry in entries[3:]:
        units = entry.postings[0].units
        owed[entry.meta["invoice"]] = f"{units.number} {units.currency}"
        assert sum((posting.units.number for posting in entry.postings), Decimal(0)) == 0
    assert owed["INV-2026-000002"] == "55.99 USD"
    assert owed["INV-2026-000003"] == "7700 JPY"
    assert owed["INV-2026-000004"] == "12.340 KWD"
    assert owed["CN-2026-000001"] == "-121.00 USD"


@pytest.mark.parametrize("text", POISON, ids=lambda text: ascii(text)[:30])
def test_beancount_reads_hostile_names_as_names(text):
    entries, errors = loaded(beancount.file(poisoned(text), with_accounts=True))
    assert errors == []
    assert len(entries) == 3 + 6


def test_without_its_accounts_the_journal_is_a_part_of_a_larger_one():
    part = beancount.file(book())
    assert " open " not in part
    opened = "2020-01-01 open Assets:Receivable\n2020-01-01 open Income:Sales\n2020-01-01 open Liabilities:Tax\n"
    assert loaded(opened + part)[1] == []


@has_hledger
def test_hledger_accepts_it_strictly_and_finds_the_same_sums():
    journal = hledger.file(book(), with_accounts=True)
    assert asked(journal, "check", "--strict").stderr == b""
    told = asked(journal, "balance", "Assets:Receivable", "-O", "csv", "--no-total", "--layout=bare")
    if told.returncode:  # older than 1.25
        told = asked(journal, "balance", "Assets:Receivable", "--no-total")
    assert {"55.99", "9.99", "12.340"} <= set(told.stdout.decode().replace('"', " ").replace(",", " ").split())
    note = asked(journal, "register", "Assets:Receivable", "code:INV-2026-000003").stdout.decode()
    assert "JPY 7,700" in note


@has_hledger
@pytest.mark.parametrize("text", POISON, ids=lambda text: ascii(text)[:30])
def test_hledger_reads_hostile_names_as_names(text):
    checked = asked(hledger.file(poisoned(text), with_accounts=True), "check", "--strict")
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_nothing_issued_is_an_empty_journal():
    assert beancount.file(book([]), with_accounts=True) == hledger.file(book([]), with_accounts=True) == ""
