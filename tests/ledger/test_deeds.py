"""Who did what: records that a person caused say who and from where, and `history` lists them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.cli import author
from metering.core.author import Author
from metering.ledger import history, ledger
from metering.operations import verify
from metering.store import journal
from metering.store.journal import JOURNAL
from tests.support import web_world
from tests.support.platform_desk import Desk, copied
from tests.support.two_customers import two_customers

ALICE = Author(who="alice", origin="cli on books")
NAMED = {"METERING_ACTOR": "alice", "SSH_CONNECTION": "203.0.113.9 50000 10.0.0.5 22"}


@pytest.fixture(scope="module")
def lived(tmp_path_factory) -> Path:
    """September closed by code that names nobody."""
    return web_world.lived_in(tmp_path_factory.mktemp("world")).store.directory


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Iterator[Desk]:
    """September read and closed by alice."""
    with two_customers(tmp_path_factory.mktemp("desk"), now="2026-10-05T12:00:00Z") as desk:
        desk.good("backfill", env=NAMED)
        desk.good("close", "2026-09", env=NAMED)
        yield desk


@pytest.fixture
def desk(kept: Desk, tmp_path: Path) -> Iterator[Desk]:
    with copied(kept, tmp_path / "copy") as found:
        yield found


def test_what_a_person_typed_is_listed_with_name_and_machine_the_latest_first(desk: Desk) -> None:
    number = desk.good("invoices", "2026-09")["invoices"][0]["number"]
    desk.good("void", number, "--reason", "wrong address", env={"METERING_ACTOR": "bob"})
    rows = desk.good("history")["history"]
    assert [row["kind"] for row in rows] == ["void", "close", "cycle"]
    assert [row["who"].split(" (as ")[0] for row in rows] == ["bob", "alice", "alice"]
    assert rows[0]["what"] == f"voided {number}: wrong address"
    assert rows[1]["what"] == "closed 2026-09: 2 invoices"
    assert rows[1]["from"].startswith("cli on ") and rows[1]["from"].endswith(", ssh from 203.0.113.9")
    assert "backfill: complete" in rows[2]["what"]
    assert list(rows[0]) == ["at", "who", "from", "kind", "what", "seq"]


def test_history_is_narrowed_by_customer_kind_and_time(desk: Desk) -> None:
    number, customer = (
        (row["number"], row["customer"]["id"]) for row in desk.good("invoices", "2026-09")["invoices"][:1]
    ).__next__()
    other = desk.good("invoices", "2026-09")["invoices"][1]["customer"]["id"]
    desk.good("void", number, "--reason", "wrong")

    def kinds(*asked: str) -> list[str]:
        return [row["kind"] for row in desk.good("history", *asked)["history"]]

    assert (kinds("--customer", customer), kinds("--customer", other)) == (["void", "close"], ["close"])
    assert (kinds("--kind", "void"), kinds("--since", "2026-10-06")) == (["void"], [])
    assert kinds("--since", "2026-10-05T12:00:00Z") == ["void", "close", "cycle"]
    assert desk.run("history", "--kind", "voids").code == 2
    assert desk.run("history", "--since", "yesterday").code == 2
    table = desk.run("history", "--format", "csv").out.splitlines()
    assert table[0] == "at,who,from,kind,what,seq" and len(table) == 4


def test_the_name_does_not_change_what_was_done_and_verify_and_rebuild_agree(desk: Desk) -> None:
    before = desk.good("history"), desk.good("invoices", "2026-09")
    assert desk.run("verify").code == 0
    assert desk.run("rebuild").code == 0
    assert (desk.good("history"), desk.good("invoices", "2026-09")) == before


def test_records_that_name_nobody_are_listed_as_unknown(lived: Path) -> None:
    with ledger.open_ledger(lived, lambda: web_world.NOW) as books:
        found = history.history(books.store, kind="close")
    assert [(row["who"], row["from"]) for row in found] == [("unknown", "unknown")]


def test_a_store_of_an_older_version_gets_its_history_from_the_journal(lived: Path) -> None:
    with ledger.open_ledger(lived, lambda: web_world.NOW) as books:
        before = history.history(books.store)
        with books.store.transaction():
            books.store.connection.execute("delete from deed")
            books.store.connection.execute("insert into deeds_lacking select seq from position")
    with ledger.open_ledger(lived, lambda: web_world.NOW) as books:
        assert history.history(books.store) == before
        assert books.store.query("ledger/deeds_lacking").height == 0
        assert verify.verify(lived, books.store).faults == []


def test_only_deeds_carry_a_name(tmp_path: Path) -> None:
    with ledger.open_ledger(tmp_path / "var", lambda: web_world.NOW, tmp_path / "witness", by=ALICE) as books:
        books.begin_epoch("copied")
    found = {record.kind: record.data.get("by") for record in journal.read(tmp_path / "var" / JOURNAL)}
    assert found == {"epoch": {"who": "alice", "from": "cli on books"}, "witness": None}


@pytest.mark.parametrize(
    ("environ", "who"),
    [
        ({}, "{user}"),
        ({"SUDO_USER": "alice"}, "alice (as {user})"),
        ({"SUDO_USER": "alice", "METERING_ACTOR": "the release job"}, "the release job (as {user})"),
        ({"METERING_ACTOR": " "}, "{user}"),
    ],
)
def test_the_person_is_who_used_sudo_or_whom_the_environment_names(environ: dict[str, str], who: str) -> None:
    assert author.typed(environ).who == who.format(user=author.own_user())


def test_a_job_that_is_due_by_itself_is_the_schedulers() -> None:
    found = author.scheduled("tick")
    assert (found.who, found.origin.split(" on ")[0]) == ("scheduler", "tick")


def test_a_name_in_the_environment_cannot_break_a_line() -> None:
    assert "\n" not in author.typed({"METERING_ACTOR": "a\nb\x1b[31m" + "c" * 500}).who
    assert os.linesep not in author.typed({"SSH_CONNECTION": "1\n2 3"}).origin
