"""After each command that writes, all that it journalled lies on another disk too, and comes back from there."""

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from metering.store import restoring
from metering.store.journal import JOURNAL, read
from tests.support.deeds import built
from tests.support.inbox import Inbox, receiving
from tests.support.platform_desk import Desk, Ran, copied
from tests.support.two_customers import two_customers

SECRET = "whsec_YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIgYg=="
CUSTOMERS = "customer,name\nbee-1,Bee GmbH\nant-1,Ant Ltd\n"


def webhook(inbox: Inbox) -> str:
    """A receiver that asked for something else."""
    return (
        f'[[webhooks]]\nurl = "{inbox.url}"\nsecret_file = "hook-secret"\nevents = ["report.*"]\n'
        "allow_private_network = true\n"
    )


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, inbox: Inbox) -> Iterator[Desk]:
    """September 2026 of two customers is read, with a backup; nothing is closed."""
    directory = tmp_path_factory.mktemp("first")
    (directory / "backup").mkdir()
    (directory / "hook-secret").write_text(SECRET)
    (directory / "hook-secret").chmod(0o600)
    more = f'[backup]\ndirectory = "backup"\n{webhook(inbox)}'
    with two_customers(directory, more=more) as desk:
        desk.customers = CUSTOMERS
        desk.good("backfill")
        yield desk


@pytest.fixture
def desk(first: Desk, inbox: Inbox, tmp_path: Path) -> Iterator[Desk]:
    inbox.posts.clear()
    with copied(first, tmp_path / "desk") as found:
        (tmp_path / "desk" / "hook-secret").chmod(0o600)
        state = found.directory / "var" / "backup.json"  # as the first command at the new place would leave it
        state.write_text(state.read_text().replace(str(first.directory), str(found.directory)))
        yield found


def lose(desk: Desk) -> None:
    """The disk of the store is gone."""
    shutil.rmtree(desk.directory / "var")


def restored(desk: Desk, *more: str) -> Ran:
    ran = desk.run("restore", str(desk.directory / "backup"), *more)
    assert ran.code == 0, ran
    return ran


def journalled(desk: Desk) -> list[bytes]:
    return [record.hash for record in read(desk.directory / "var" / JOURNAL)]


def kept(desk: Desk) -> list[bytes]:
    """What would be restored now."""
    past = restoring.opened(desk.directory / "backup", None)
    return [
        record.hash for record in read(past.path / JOURNAL) if record.seq <= past.extent.records
    ]  # what lies behind was not acknowledged


@contextmanager
def away(directory: Path) -> Iterator[None]:
    """Its disk is not mounted, and the mount point not there."""
    directory.rename(directory.with_name("away"))
    yield
    directory.with_name("away").rename(directory)


# -- what is lost with a disk


def test_a_lost_disk_loses_nothing_of_the_commands_that_had_ended(desk: Desk) -> None:
    issued = desk.good("close", "2026-09")["issued"]
    assert issued == ["INV-2026-000001", "INV-2026-000002"]
    desk.good("void", "INV-2026-000001", "--reason", "wrong street")
    before, hashes = [desk.good("invoice", number) for number in issued], journalled(desk)
    lose(desk)
    assert "records, the last of 2026-10-02T12:00:00Z" in restored(desk).out
    assert journalled(desk) == hashes
    assert [desk.good("invoice", number) for number in issued] == before
    assert desk.run("verify").code == 0, desk.run("verify")
    assert "witness" in desk.good("close", "2026-09", "--dry-run", code=3)["blocked_by"][-1]["kind"]


def test_a_restored_store_goes_on_in_a_line_of_its_own_and_the_old_one_stays(desk: Desk) -> None:
    lose(desk)
    restored(desk)
    old = {path: path.read_bytes() for path in (desk.directory / "backup" / "line-first").rglob("*") if path.is_file()}
    desk.good("store", "adopt", "--i-compared")
    assert len(desk.good("close", "2026-09")["issued"]) == 2
    assert {path: path.read_bytes() for path in old} == old
    lines = sorted(path.name for path in (desk.directory / "backup").glob("line-*"))
    assert len(lines) == 2
    assert kept(desk) == journalled(desk)
    lose(desk)
    ran = restored(desk)
    assert "there is also line-first" in ran.err
    assert len(desk.good("invoices", "2026-09")["invoices"]) == 2


def test_a_moment_of_the_past_comes_back_with_the_configuration_of_then(desk: Desk) -> None:
    desk.now, desk.customers = "2026-10-02T14:00:00Z", CUSTOMERS.replace("Bee GmbH", "Bee AG")
    desk.good("close", "2026-09")
    lose(desk)
    ran = restored(desk, "--at", "2026-10-02T13:00:00Z")
    assert "the configuration of then is another" in ran.err
    assert (desk.directory / "var" / "configuration" / "customers.csv").read_text() == CUSTOMERS
    assert "Bee AG" in (desk.directory / "customers.csv").read_text()
    assert {row["status"] for row in desk.good("invoices", "2026-09")["invoices"]} == {"draft"}
    lose(desk)
    restored(desk)
    assert not (desk.directory / "var" / "configuration").exists()
    assert {row["status"] for row in desk.good("invoices", "2026-09")["invoices"]} == {"final"}


def test_where_nothing_is_left_the_configuration_comes_back_too_and_no_secret_was_kept(desk: Desk) -> None:
    desk.good("poll")
    config = (desk.directory / "config.toml").read_bytes()
    backup = desk.directory.with_name("elsewhere")
    (desk.directory / "backup").rename(backup)
    shutil.rmtree(desk.directory)
    desk.directory.mkdir()
    ran = desk.run("restore", str(backup), "--config", str(desk.directory / "config.toml"), config=False)
    assert ran.code == 0, ran
    assert (desk.directory / "config.toml").read_bytes() == config
    assert (desk.directory / "customers.csv").read_text() == CUSTOMERS
    assert len(journalled(desk)) > 3
    assert not (desk.directory / "hook-secret").exists()
    content = b"".join(path.read_bytes() for path in backup.rglob("*") if path.is_file())
    assert SECRET.encode() not in content


def test_a_whole_backup_made_by_hand_is_restored_as_of_a_moment_too(desk: Desk) -> None:
    before = journalled(desk)
    desk.now = "2026-10-02T14:00:00Z"
    desk.good("close", "2026-09")
    assert desk.run("backup", str(desk.directory / "whole")).code == 0
    (whole,) = (desk.directory / "whole").iterdir()
    lose(desk)
    assert desk.run("restore", str(whole), "--at", "2026-10-02T13:00:00Z").code == 0
    assert journalled(desk) == before
    lose(desk)
    ran = desk.run("restore", str(whole), "--at", "2026-10-01")
    assert (ran.code, ran.out) == (2, "")
    assert "nothing was recorded at 2026-10-01T00:00:00Z or before" in ran.err
    assert "the first record was written at 2026-10-02T12:00:00Z" in ran.err


# -- what fails


def test_a_backup_that_fails_is_told_to_everybody_once_and_its_end_once(desk: Desk, inbox: Inbox) -> None:
    with away(desk.directory / "backup"):
        ran = desk.run("close", "2026-09")
        assert ran.code == 3
        assert ran.json["issued"] == ["INV-2026-000001", "INV-2026-000002"]
        assert "backup is not there; mount its disk" in ran.err
        assert ran.err.count("the backup is not up to date") == 1
        ran = desk.run("tick")
        assert ran.code == 3
        assert ran.err.count("the backup is not up to date") == 1
        assert desk.run("tick").code == 3
        assert [kind for _, kind, _ in inbox.events()] == ["backup.failing"]
        status = desk.good("status")["backup"]
        assert status["failing_since"] == "2026-10-02T12:00:00Z"
        assert int(status["lacks"]) > 3
        checked = desk.run("check", "--format", "json")
        assert checked.code == 3
        assert "not ready: first backup: " in checked.json["verdict"]
        assert "metering_backup_failing 1.0" in desk.ran("metrics").out
        assert not (desk.directory / "backup").exists()
    assert desk.run("tick").code == 0
    assert [kind for _, kind, _ in inbox.events()] == ["backup.failing", "backup.recovered"]
    assert desk.good("status")["backup"]["lacks"] == "0"
    assert "metering_backup_failing 0.0" in desk.ran("metrics").out
    assert kept(desk) == journalled(desk)
    (failing, recovered) = (json.loads(body)["data"] for _, body in inbox.posts)
    assert recovered["resolves"] == failing["alert_id"]
    assert failing["way_out"].startswith("mount its disk")


def test_a_mount_point_without_its_disk_is_not_taken_for_a_new_backup(desk: Desk) -> None:
    with away(desk.directory / "backup"):
        (desk.directory / "backup").mkdir()
        ran = desk.run("close", "2026-09")
        assert ran.code == 3
        assert "metering backup --begin" in ran.err
        assert [path.name for path in (desk.directory / "backup").iterdir()] == ["lock"]
        shutil.rmtree(desk.directory / "backup")
    assert desk.run("poll").code == 0
    shutil.rmtree(desk.directory / "backup" / "line-first")
    assert desk.run("poll").code == 3
    ran = desk.run("backup", "--begin")
    assert ran.code == 0, ran
    assert ran.out.endswith(" journal records, verified\n")
    assert kept(desk) == journalled(desk)


def test_the_backup_of_another_store_is_refused_and_the_command_s_own_work_stands(desk: Desk) -> None:
    lose(desk)  # and nobody restores
    desk.now = "2026-10-02T15:00:00Z"
    ran = desk.run("poll")
    assert ran.code == 3
    assert "holds the backup of another store" in ran.err
    assert ran.json["outcome"] == "complete"
    ran = desk.run("backup")
    assert (ran.code, ran.out) == (3, "")


def test_records_that_were_cut_off_the_journal_are_still_in_the_backup(desk: Desk) -> None:
    desk.good("close", "2026-09")
    whole = journalled(desk)
    segment = max((desk.directory / "var" / JOURNAL).glob("*.journal"))
    with segment.open("r+b") as file:
        file.truncate(segment.stat().st_size * 3 // 4)
    ran = desk.run("rebuild")
    assert ran.code == 3
    assert f"are lost; the backup in {desk.directory / 'backup'} may have them" in ran.err
    assert kept(desk) == journalled(desk)
    lose(desk)
    assert desk.run("restore", str(desk.directory / "backup" / "line-first")).code == 0
    assert journalled(desk) == whole


def test_of_two_copies_of_a_store_one_is_refused_until_it_has_a_backup_of_its_own(desk: Desk) -> None:
    shutil.copytree(desk.directory / "var", desk.directory / "second")
    second = replace(desk, more=desk.more + '[store]\ndirectory = "second"\n')
    assert desk.run("poll").code == 0
    before = kept(desk)
    second.now = "2026-10-02T12:30:00Z"
    ran = second.run("poll")
    assert ran.code == 3
    assert "goes on otherwise than this store, which is a copy or has one" in ran.err
    assert "a backup.directory of its own" in ran.err
    assert kept(desk) == before
    assert desk.run("poll").code == 0
    (desk.directory / "other").mkdir()
    second.more = second.more.replace('directory = "backup"', 'directory = "other"')
    assert second.run("poll").code == 0


def test_what_a_command_recorded_before_it_failed_is_kept(desk: Desk) -> None:
    desk.good("close", "2026-09")
    desk.neon.fleets.clear()
    ran = desk.run("quotas", "apply", "--project", "nobody")
    assert ran.code == 1
    assert kept(desk) == journalled(desk)


def test_a_backup_beside_the_store_s_own_files_is_a_fault(desk: Desk) -> None:
    desk.more = desk.more.replace('directory = "backup"', 'directory = "var/backup"')
    ran = desk.run("poll")
    assert ran.code == 4
    assert "backup.directory: lies with the store" in ran.err


def test_backup_without_a_directory_needs_a_configured_one(desk: Desk) -> None:
    desk.more = ""
    ran = desk.run("backup")
    assert (ran.code, ran.out) == (2, "")
    assert "no backup.directory is configured" in ran.err
    for wrong in (("backup", "--keep", "2"), ("backup", "x", "--begin")):
        assert desk.run(*wrong).code == 2


# -- kills and full disks


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to build the striker with")
    return built(tmp_path_factory.mktemp("strike"))


def strike(desk: Desk, library: Path, how: str, at: int, under: str = "") -> Ran:
    """`close` of September, struck at a call that changes the disk of the store or of the backup."""
    orders = {
        "LD_PRELOAD": str(library),
        "STRIKE_UNDER": f"{desk.directory.resolve()}/{under}",
        "STRIKE_AT": str(at),
        "STRIKE_HOW": how,
        "STRIKE_COUNT": str(library.with_name("calls")),
    }
    return desk.ran("close", "2026-09", env=orders)


def again(desk: Desk, saved: Path) -> None:
    for name in ("var", "backup"):
        shutil.rmtree(desk.directory / name)
        shutil.copytree(saved / name, desk.directory / name)


def survived(desk: Desk, library: Path, how: str, places: list[int]) -> None:
    """After each kill the backup is whole and has all that was there before; the next command makes up for it."""
    saved = desk.directory.with_name("saved")
    shutil.copytree(desk.directory, saved)
    before = journalled(desk)
    for at in places:
        again(desk, saved)
        assert strike(desk, library, how, at).code == -9, at
        found = kept(desk)
        assert found[: len(before)] == before, at
        desk.good("close", "2026-09")
        assert found == journalled(desk)[: len(found)], at
        assert kept(desk) == journalled(desk), at


@pytest.mark.parametrize("how", ["half", "after"])
def test_a_close_that_is_killed_leaves_a_backup_that_is_whole(desk: Desk, library: Path, how: str) -> None:
    """Some of the calls; the slow test takes them all."""
    calls = counted(desk, library)
    assert calls > 30
    survived(desk, library, how, random.Random(how).sample(range(calls // 2, calls), 3))


def counted(desk: Desk, library: Path) -> int:
    """How many calls of a `close` change the disk of the store or of the backup."""
    saved = desk.directory.with_name("counted")
    shutil.copytree(desk.directory, saved)
    assert strike(desk, library, "after", 0).code == 0
    again(desk, saved)
    return int(library.with_name("calls").read_text())


@pytest.mark.slow
def test_a_close_that_is_killed_at_any_call_leaves_a_backup_that_is_whole(desk: Desk, library: Path) -> None:
    calls = counted(desk, library)
    survived(desk, library, "half", list(range(1, calls, 2)))


def test_a_full_disk_of_the_backup_stops_nothing_and_the_next_command_goes_on(desk: Desk, library: Path) -> None:
    ran = strike(desk, library, "ENOSPC", 2, under="backup/")
    assert ran.code == 3
    assert len(ran.json["issued"]) == 2
    assert "No space left on device" in ran.err
    assert kept(desk) == journalled(desk)[: len(kept(desk))]
    assert desk.run("poll").code == 0
    assert kept(desk) == journalled(desk)
