"""The command line as a shell sees it: exit codes, streams, formats, and errors that name the thing."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import TOP, Desk
from tests.support.quiet_time import PATIENCE_SECONDS

READING = (("usage", "current"), ("quota",), ("invoices", "current"), ("status",), ("alerts", "list"))
COMMANDS = (
    *("init", "check", "poll", "backfill", "tick", "status", "usage", "quota", "alerts", "price", "close", "invoices"),
    *("invoice", "report", "verify", "rebuild", "demo", "sandbox", "run"),
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        fleet.project("calm-dawn-1", settings={"quota": {"compute_time_seconds": 1000}})
        fleet.use("calm-dawn-1", "2026-10-05T02:00", compute_unit_seconds=500)
        yield Desk(directory=tmp_path, neon=neon, now="2026-10-05T12:00:00Z", default_plan="pro")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text_under_its_own_name(desk: Desk, command: str) -> None:
    ran = desk.run(command, "--help", config=False)
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: metering {command}")


@pytest.mark.parametrize("command", READING)
def test_a_reading_command_works_before_the_first_poll_and_without_a_key(desk: Desk, command: tuple[str, ...]) -> None:
    desk.environment = {}
    for form in ("json", "csv", "table"):
        ran = desk.run(*command, "--format", form)
        assert ran.code == 0, ran
        assert ran.out


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "october", "2026-10-01", "", "0000-01"])
def test_a_bad_month_is_wrong_usage_and_says_what_is_right(desk: Desk, month: str) -> None:
    for command in ("usage", "invoices", "close", "report"):
        ran = desk.run(command, month)
        assert (ran.code, ran.out) == (2, ""), (command, ran)
        assert "2026-10, current or previous" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [("usage",), ("usage", "current", "--by", "week"), ("no-such",), ("alerts", "resend"), ("alerts", "list", "x")],
)
def test_wrong_usage_ends_with_2(desk: Desk, arguments: tuple[str, ...]) -> None:
    ran = desk.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err


def test_a_missing_configuration_is_named_and_ends_with_4(desk: Desk) -> None:
    ran = desk.run("usage", "current", "--config", str(desk.directory / "absent.toml"), config=False)
    assert (ran.code, ran.out) == (4, "")
    assert "absent.toml" in ran.err
    assert "metering init" in ran.err


def test_the_environment_names_the_configuration_and_overrides_it(desk: Desk) -> None:
    path = str(desk.write())
    ran = desk.run("status", config=False, env={"METERING_CONFIG": path})
    assert ran.code == 0
    elsewhere = desk.directory / "elsewhere"
    ran = desk.run("poll", config=False, env={"METERING_CONFIG": path, "METERING_STORE__DIRECTORY": str(elsewhere)})
    assert ran.code == 0
    assert (elsewhere / "journal").is_dir()
    assert not (desk.directory / "var").exists()


def test_all_faults_of_a_configuration_come_at_once(desk: Desk) -> None:
    desk.more = '[schedule]\npoll_minuets = 15\nclose_day = 40\n[invoices]\nrounding = "down"\n'
    ran = desk.run("usage", "current")
    assert (ran.code, ran.out) == (4, "")
    for key in ("schedule.poll_minuets", "schedule.close_day", "invoices.rounding"):
        assert key in ran.err


def test_a_missing_csv_file_is_named(desk: Desk) -> None:
    desk.customers = "customer\nant-1\n"
    desk.write()
    (desk.directory / "customers.csv").unlink()
    desk.customers = None
    desk.more = '[customers]\nfile = "customers.csv"\n'
    ran = desk.run("usage", "current")
    assert ran.code == 4
    assert "customers.csv" in ran.err


def test_a_faulty_csv_row_is_named_by_file_row_and_key(desk: Desk) -> None:
    desk.customers = "customer,tax_rate_percent\nant-1,21\nbee-1,many\n"
    ran = desk.run("usage", "current")
    assert ran.code == 4
    assert "customers.csv row 2 (line 3), tax_rate_percent" in ran.err


def test_an_unknown_plan_and_two_subscriptions_at_once_are_named(desk: Desk) -> None:
    desk.subscriptions = (
        "project_id,customer,plan,valid_from,valid_to\n"
        "p-1,ant-1,gold,,\n"
        "p-2,ant-1,pro,2026-01-01,2026-03-01\n"
        "p-2,bee-1,pro,2026-02-28T23:59:59Z,\n"
    )
    ran = desk.run("usage", "current")
    assert ran.code == 4
    assert "subscriptions.csv row 1 (line 2), plan" in ran.err
    assert "'gold'" in ran.err
    assert "subscriptions.csv row 3 (line 4), project_id" in ran.err


def test_metering_now_is_announced_in_one_line_and_never_on_stdout(desk: Desk) -> None:
    ran = desk.run("status")
    assert ran.err == "metering: rehearsing at 2026-10-05T12:00:00Z (METERING_NOW)\n"
    assert "rehearsing" not in ran.out
    desk.now = "yesterday"
    ran = desk.run("status")
    assert (ran.code, ran.out) == (2, "")
    assert "METERING_NOW" in ran.err


@pytest.mark.parametrize("command", [["usage", "current"], ["usage", "previous"], ["status"], ["quota"], ["forecast"]])
def test_the_ends_of_the_calendar_are_years_like_others_or_refused(desk: Desk, command: list[str]) -> None:
    for now in ("9998-12-31T23:59:59Z", "1970-01-01T00:00:00Z"):
        desk.now = now
        assert desk.run(*command).code == 0
    for now in ("9999-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z"):
        desk.now = now
        ran = desk.run(*command)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == ("metering: METERING_NOW is outside the years 1970 to 9998\n  write 2026-10-15T12:00:00Z\n")


def test_a_quiet_success_leaves_stderr_empty(desk: Desk) -> None:
    desk.now = None
    for command in (("tick",), ("poll",), ("status",), ("usage", "current"), ("verify",)):
        ran = desk.run(*command)
        assert (ran.code, ran.err) == (0, ""), (command, ran)
    assert desk.run("tick").out == ""


def test_poll_tells_what_it_read_in_strings(desk: Desk) -> None:
    told = desk.good("poll")
    assert (told["outcome"], told["requests"], told["changes"]) == ("complete", "5", "1")

    def numbers(value: object) -> list[object]:
        if isinstance(value, dict):
            return [found for inner in value.values() for found in numbers(inner)]
        if isinstance(value, list):
            return [found for inner in value for found in numbers(inner)]
        return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []

    assert numbers(told) == []
    assert numbers(desk.good("status")) == []


def test_a_refused_key_ends_with_5_and_other_accounts_go_on(desk: Desk) -> None:
    desk.neon.keys = {"good-key"}
    desk.environment = {"BAD": "bad-key", "GOOD": "good-key"}
    desk.organizations = ()
    desk.more = (
        '[[organizations]]\nid = "org-b"\napi_key_env = "BAD"\naccount = "one"\n'
        '[[organizations]]\nid = "org-a"\napi_key_env = "GOOD"\naccount = "two"\n'
    )
    ran = desk.run("poll")
    assert ran.code == 5
    assert "bad-key" not in ran.out + ran.err
    assert [row["value"] for row in desk.good("usage", "current")["usage"]] == ["500"]


def test_a_missing_key_ends_with_5_and_names_its_variable(desk: Desk) -> None:
    desk.environment = {}
    ran = desk.run("poll")
    assert ran.code == 5
    assert "NEON_API_KEY" in ran.err


def test_csv_has_a_header_and_one_row_for_each_and_a_header_alone_for_none(desk: Desk) -> None:
    empty = desk.run("usage", "current", "--format", "csv").out
    desk.good("poll")
    full = desk.run("usage", "current", "--format", "csv").out
    (row,) = csv.DictReader(io.StringIO(full))
    assert (row["organization"], row["metric"], row["value"]) == ("org-a", "compute_unit_seconds", "500")
    assert empty.splitlines() == full.splitlines()[:1]
    for command in (("quota",), ("invoices", "2026-08"), ("alerts", "list")):
        header = desk.run(*command, "--format", "csv").out.splitlines()[0]
        assert "," in header, (command, header)


def test_a_table_is_aligned_and_numbers_stand_right(desk: Desk) -> None:
    desk.good("poll")
    lines = desk.run("usage", "current", "--format", "table").out.splitlines()
    assert lines[0].split()[:3] == ["organization", "project_id", "project_name"]
    assert len(lines) == 2
    at = lines[0].index("value") + len("value")
    assert lines[1][at - 3 : at] == "500"


def test_a_null_member_makes_no_column_of_its_own(desk: Desk) -> None:
    desk.good("poll")
    header = desk.run("quota", "--all", "--format", "csv").out.splitlines()[0].split(",")
    assert "forecast" not in header
    assert {"period.start", "period.end"} <= set(header)


def test_a_name_cannot_write_to_the_terminal_or_become_a_formula(desk: Desk) -> None:
    desk.neon.fleet("org-a").projects[0]["name"] = "=1+1\x1b[31m"
    desk.good("poll")
    assert "\x1b" not in desk.run("usage", "current", "--format", "table").out
    (row,) = csv.DictReader(io.StringIO(desk.run("usage", "current", "--format", "csv").out))
    assert row["project_name"].startswith("'=")


def test_init_writes_what_check_accepts_and_never_overwrites(desk: Desk) -> None:
    target = desk.directory / "new"
    ran = desk.run("init", str(target))
    assert ran.code == 0
    assert {path.name for path in target.iterdir()} == {
        "dashboard-token",
        "config.toml",
        "customers.csv",
        "subscriptions.csv",
    }
    again = desk.run("init", str(target))
    assert (again.code, again.out) == (1, "")
    assert "config.toml" in again.err
    status = desk.run("status", "--config", str(target / "config.toml"), config=False)
    assert status.code == 0, status


def test_price_answers_each_line_in_its_place(desk: Desk) -> None:
    good = b'{"price": {"model": "per_unit", "unit_price": "0.5"}, "quantity": "26"}'
    ran = desk.run("price", stdin=good + b"\nnot json\n" + good + b"\n")
    assert ran.code == 1
    assert len(ran.out.splitlines()) == 3
    assert '"error"' in ran.out.splitlines()[1]
    assert '"amount": "13.00"' in ran.out.splitlines()[0]
    assert desk.run("price", stdin=good).code == 0


def test_ctrl_c_ends_with_130_and_leaves_a_store_that_verifies(desk: Desk) -> None:
    desk.neon.gate.clear()
    process = desk.spawn("poll", "--config", str(desk.write()))
    wait_for_lock(desk)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    desk.neon.gate.set()
    assert (process.returncode, out) == (130, b"")
    assert desk.run("poll").code == 0
    assert desk.run("verify").code == 0


def wait_for_lock(desk: Desk) -> None:
    """Until a process has written its id into the lock file and waits for the server."""
    lock = desk.directory / "var" / "lock"
    until = time.monotonic() + PATIENCE_SECONDS
    while not (lock.exists() and lock.read_text().strip()):
        assert time.monotonic() < until, "the process never took the lock"
        time.sleep(0.02)


def test_a_second_writer_gets_75_with_the_holders_id_while_readers_go_on(desk: Desk) -> None:
    desk.good("poll")
    desk.neon.gate.clear()
    holder = desk.spawn("poll", "--config", str(desk.write()))
    try:
        wait_for_lock(desk)
        until = time.monotonic() + PATIENCE_SECONDS
        while (desk.directory / "var" / "lock").read_text().strip() != str(holder.pid):
            assert time.monotonic() < until
            time.sleep(0.02)
        for command in (("poll",), ("tick",), ("close", "2026-09"), ("rebuild",), ("verify",), ("backfill",)):
            ran = desk.run(*command)
            assert (ran.code, ran.out) == (75, ""), (command, ran)
            assert str(holder.pid) in ran.err
        for command in READING:
            assert desk.run(*command).code == 0, command
        assert desk.good("usage", "current")["usage"][0]["value"] == "500"
    finally:
        desk.neon.gate.set()
        holder.communicate(timeout=PATIENCE_SECONDS)
    assert holder.returncode == 0


def test_a_poll_that_was_killed_is_healed_by_the_next(desk: Desk) -> None:
    desk.neon.gate.clear()
    process = desk.spawn("poll", "--config", str(desk.write()))
    wait_for_lock(desk)
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    desk.neon.gate.set()
    assert process.returncode == -signal.SIGKILL
    desk.good("poll")
    assert [row["value"] for row in desk.good("usage", "current")["usage"]] == ["500"]
    assert desk.run("verify").code == 0


def test_a_reader_that_goes_away_is_no_noise(desk: Desk) -> None:
    desk.good("poll")
    path = str(desk.write())
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "METERING_NOW": "2026-10-05T12:00:00Z"}
    process = subprocess.run(
        [sys.executable, "-m", "metering", "usage", "current", "--config", path],
        cwd=TOP,
        env=environment,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert b"Traceback" not in process.stderr
    assert b"BrokenPipe" not in process.stderr


def test_as_a_process_of_its_own_data_is_pure_and_quiet(desk: Desk) -> None:
    desk.now = None
    polled = desk.ran("poll")
    assert (polled.code, polled.err) == (0, "")
    listed = desk.ran("usage", "current")
    assert (listed.code, listed.err) == (0, "")
    assert listed.json["usage"] is not None


def test_the_key_stands_in_no_file_and_no_output(desk: Desk) -> None:
    ran = desk.run("poll")
    desk.neon.fail("org-a", "history", 500)
    failed = desk.run("poll")
    assert "key-of-the-platform" not in ran.out + ran.err + failed.out + failed.err
    for path in (desk.directory / "var").rglob("*"):
        if path.is_file():
            assert b"key-of-the-platform" not in path.read_bytes()


def test_store_and_journal_are_the_users_alone(desk: Desk) -> None:
    desk.good("poll")
    store = desk.directory / "var"
    for path in (store / "metering.duckdb", store / "snapshot.duckdb", *(store / "journal").iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_damaged_store_is_told_in_a_line_and_made_anew(desk: Desk) -> None:
    desk.good("poll")
    store = desk.directory / "var"
    (store / "metering.duckdb").write_bytes(b"this is no database" * 500)
    (store / "snapshot.duckdb").write_bytes(b"this is no database" * 500)
    ran = desk.run("usage", "current")
    assert ran.code == 0, ran
    assert "damaged blocks: set aside and made anew: metering.duckdb, snapshot.duckdb" in ran.err
    assert desk.run("rebuild").code == 0
    assert [row["value"] for row in desk.good("usage", "current")["usage"]] == ["500"]


def test_a_file_where_the_store_should_be_is_named(desk: Desk) -> None:
    (desk.directory / "var").write_text("a file where the directory should be")
    for command in (("poll",), ("report", "current")):
        ran = desk.run(*command)
        assert (ran.code, ran.out) == (1, ""), (command, ran)
        assert str(desk.directory / "var") in ran.err
