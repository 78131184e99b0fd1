import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from metering.core.errors import CredentialsError
from metering.core.meters import Divisor, Meter
from metering.core.period import parse_time
from metering.core.secrets import Secret
from metering.neon import budget
from metering.neon.client import Neon, Settings
from metering.neon.endpoints import metric_lists
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION
from metering.service.clients import client_settings
from metering.store.journal import JOURNAL, read
from metering.usage.coverage import certified_of
from tests.simulate import Killed, Machine, World, configured, refused, world

START = datetime(2026, 10, 6, 5, 3, tzinfo=UTC)


@pytest.fixture
def here() -> World:
    return world(start=START, projects=12)


def answering(match: Callable[[httpx.Request], bool], status: int) -> Callable[[httpx.Request], httpx.Response | None]:
    return lambda request: refused(status) if match(request) else None


def in_accounts(machine: Machine, **accounts: str) -> None:
    rows = (row.model_copy(update={"account": accounts[row.id[4:8]]}) for row in machine.config.organizations)
    machine.config = machine.config.model_copy(update={"organizations": tuple(rows)})


def polled(machine: Machine) -> set[str]:
    return set(certified_of(machine.books.store.query("billing/coverage_of", as_of_seq=2**63, after=0)))


def test_a_refused_key_stops_its_account_alone(here: World, tmp_path: Path):
    with here.machine(tmp_path) as machine:
        in_accounts(machine, paid="one", free="two")
        machine.keys[PAID_ORGANIZATION] = Secret("revoked")
        report = machine.poll()
        assert report.outcome == "refused"
        assert polled(machine) == {SPONSORED_ORGANIZATION}
        assert [fault.split(":")[0] for fault in report.faults] == ["account one"]
        assert "revoked" not in " ".join(report.faults).replace("was revoked", "")


def test_a_refused_key_leaves_the_other_keys_of_its_account_alone(here: World, tmp_path: Path):
    with here.machine(tmp_path) as machine:
        machine.keys[PAID_ORGANIZATION] = Secret("revoked")
        report = machine.poll()
        assert report.outcome == "refused"
        assert [fault.split(":")[0] for fault in report.faults] == [f"organization {PAID_ORGANIZATION}"]
        assert polled(machine) == {SPONSORED_ORGANIZATION}


def test_a_refused_key_that_all_of_an_account_use_is_told_of_once(here: World, tmp_path: Path):
    with here.machine(tmp_path) as machine:
        machine.keys = dict.fromkeys(machine.keys, Secret("revoked"))
        report = machine.poll()
        assert [fault.split(":")[0] for fault in report.faults] == ["account main"]
        assert polled(machine) == set()
        assert sum(here.sandbox.requests.values()) <= 2  # what was under way when the first was refused


def test_a_missing_key_stops_its_organization_alone(here: World, tmp_path: Path):
    with here.machine(tmp_path) as machine:
        machine.keys[PAID_ORGANIZATION] = CredentialsError("the environment variable KEY is not set")
        report = machine.poll()
        assert report.is_refused
        assert polled(machine) == {SPONSORED_ORGANIZATION}


def test_a_new_key_is_used_by_the_next_poll(here: World, tmp_path: Path):
    with here.machine(tmp_path) as machine:
        machine.keys = dict.fromkeys(machine.keys, Secret("revoked"))
        assert machine.poll().is_refused
        machine.keys = dict.fromkeys(machine.keys, Secret("sandbox-key"))
        assert machine.poll().outcome == "complete"


def test_metrics_that_neon_refuses_are_left_out_and_noted(here: World, tmp_path: Path):
    divisors = (Divisor(valid_from=parse_time("2026-01-01T00:00:00Z"), divisor="3600"),)
    meter = Meter(id="gpu", metrics=("gpu_unit_seconds",), unit="GPU-hour", divisors=divisors)
    with here.machine(tmp_path) as machine:
        machine.config = machine.config.model_copy(update={"meters": (meter,)})
        report = machine.poll()
        assert (report.outcome, report.faults) == ("complete", [])
        assert [note for note in report.notes if "400" in note]
        assert polled(machine) == {PAID_ORGANIZATION, SPONSORED_ORGANIZATION}


def test_metric_lists_shrink_to_what_neon_named_first():
    lists = metric_lists("v2", ["gpu_unit_seconds", "compute_unit_seconds"])
    assert [len(metrics) for metrics in lists] == [9, 8, 7]
    assert lists[0][-1] == "gpu_unit_seconds"
    assert set(lists[1]) - set(lists[2]) == {"snapshot_storage_bytes_month"}
    assert [len(metrics) for metrics in metric_lists("v2", [])] == [8, 7]


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_list_of_deleted_projects_that_is_not_there_is_no_fault(here: World, tmp_path: Path, status: int):
    here.wire.before = answering(lambda request: "recoverable" in request.url.params, status)
    with here.machine(tmp_path) as machine:
        report = machine.poll()
        assert report.outcome == "complete"
        assert len(report.notes) == 2


def test_a_list_of_deleted_projects_that_cannot_be_read_is_a_fault(here: World, tmp_path: Path):
    here.wire.before = answering(lambda request: "recoverable" in request.url.params, 503)
    with here.machine(tmp_path) as machine:
        assert machine.poll().outcome == "partial"


def test_a_project_deleted_since_the_inventory_was_read_is_no_fault(here: World, tmp_path: Path):
    here.wire.before = answering(lambda request: "/projects/" in request.url.path, 404)
    with here.machine(tmp_path) as machine:
        report = machine.poll()
        assert report.outcome == "complete"
        assert report.notes


def test_counters_that_cannot_be_read_are_a_fault_of_their_project_alone(here: World, tmp_path: Path):
    with here.machine(tmp_path) as machine:
        here.wire.before = answering(lambda request: "/projects/" in request.url.path, 500)
        report = machine.poll()
        assert report.outcome == "partial"
        assert all("counters of" in fault for fault in report.faults)
        assert polled(machine) == {PAID_ORGANIZATION, SPONSORED_ORGANIZATION}


def test_a_project_whose_branches_cannot_be_read_owes_them_and_not_its_counters(here: World, tmp_path: Path):
    with here.machine(tmp_path) as machine:
        plan = machine.config.plans[0].model_copy(update={"quota": {"logical_size_bytes": 1000}})
        machine.config = machine.config.model_copy(update={"plans": (plan,)})
        here.wire.before = answering(lambda request: request.url.path.endswith("/branches"), 500)
        machine.poll()
        read = machine.books.store.connection.sql("select count(*) from counter").fetchall()
        assert read > [(0,)]
        assert machine.books.store.connection.sql("select count(*) from branch_size").fetchall() == [(0,)]
        here.wire.before = lambda request: None
        assert machine.poll().outcome == "complete"
        ((counters, sizes),) = machine.books.store.connection.sql(
            "select (select count(*) from counter), (select count(*) from branch_size)"
        ).fetchall()
        assert counters == sizes > 0


def test_a_403_on_one_window_asks_for_no_other(here: World, tmp_path: Path):
    here.wire.before = answering(lambda request: "consumption_history" in request.url.path, 403)
    with here.machine(tmp_path) as machine:
        machine.poll()
        assert len([1 for _, is_history in here.wire.sent_at if is_history]) == 2  # one for each organization


def test_the_whole_reach_is_read_again_once_a_day(here: World, tmp_path: Path):
    def hourly_hours() -> int:
        walk = next(walk for walk in machine.poll().organizations[0]["walks"] if walk["what"] == "hourly history")
        return (parse_time(walk["period_end"]) - parse_time(walk["period_start"])) // timedelta(hours=1)

    with here.machine(tmp_path) as machine:
        assert hourly_hours() == 167
        here.time.move_to(START + timedelta(hours=2))
        assert hourly_hours() == 25
        here.time.move_to(datetime(2026, 10, 7, 0, 1, tzinfo=UTC))
        assert hourly_hours() == 167
        here.time.move_to(datetime(2026, 10, 7, 0, 31, tzinfo=UTC))
        assert hourly_hours() == 25


def test_a_stop_lets_the_page_in_hand_finish_and_begins_no_other(here: World, tmp_path: Path):
    here.wire.page_size = 1
    with here.machine(tmp_path) as machine:
        machine.config = machine.config.model_copy(update={"organizations": machine.config.organizations[:1]})

        def stop_at_the_third(_: httpx.Request) -> None:
            if len(here.wire.sent_at) == 3:
                machine.stop.ask()

        here.wire.before = stop_at_the_third
        report = machine.poll()
        assert len(here.wire.sent_at) == 3
        assert report.pages == 3
        assert report.outcome == "partial"
        assert "stopped before everything was read" in report.faults[0]
        kinds = [record.kind for record in read(tmp_path / JOURNAL)]
        assert kinds == ["page", "page", "page", "walk", "cycle"]


def test_every_page_is_in_the_journal_as_it_came(here: World, tmp_path: Path):
    with here.machine(tmp_path) as machine:
        report = machine.poll()
        found = [record for record in read(tmp_path / JOURNAL) if record.kind == "page"]
        assert len(found) == report.pages == report.requests
        assert all(json.loads(record.body) for record in found)
        assert not any(b"sandbox-key" in record.body for record in found)
        assert "sandbox-key" not in json.dumps([record.data for record in found])


def client(tmp_path: Path, here: World, **limits: int) -> Neon:
    config = client_settings(configured(tmp_path, **limits).neon)
    time = here.time
    neon = Neon(config, clock=time.local, sleep=time.sleep, monotonic=time.monotonic)
    neon.use(budget.Budgets(tmp_path, monotonic=time.monotonic), "main")
    return neon


async def spend(neon: Neon, count: int) -> None:
    for _ in range(count):
        await neon.history_budget.take()


def test_a_budget_goes_on_where_the_last_process_left_it(here: World, tmp_path: Path):
    asyncio.run(spend(client(tmp_path, here), 10))
    assert here.time.monotonic() == 0  # the burst
    assert client(tmp_path, here).history_budget.tokens == 0
    here.time.elapsed_us += 4_000_000
    assert client(tmp_path, here).history_budget.tokens == 2
    here.time.elapsed_us += 3600_000_000
    assert client(tmp_path, here).history_budget.tokens == 10


def test_a_torn_note_of_budgets_counts_as_nothing_left(here: World, tmp_path: Path):
    (tmp_path / budget.NAME).write_text('{"main/history": [3.0')
    assert client(tmp_path, here).history_budget.tokens == 0


def test_a_note_from_before_the_machine_was_started_says_nothing(here: World, tmp_path: Path):
    (tmp_path / budget.NAME).write_text('{"main/history": [0.0, 5000.0]}')
    assert client(tmp_path, here).history_budget.tokens == 10


def test_accounts_have_budgets_of_their_own(here: World, tmp_path: Path):
    (tmp_path / budget.NAME).write_text('{"other/history": [0.0, 0.0]}')
    assert client(tmp_path, here).history_budget.tokens == 10


def test_a_configured_limit_of_one_a_minute_is_a_burst_of_one(tmp_path: Path, here: World):
    neon = client(tmp_path, here, history_requests_per_minute=1)
    assert neon.history_budget.burst == 1
    assert Settings().history_requests_per_minute == 30


def test_a_kill_in_the_middle_leaves_a_journal_that_opens(here: World, tmp_path: Path):
    def die(_: httpx.Request) -> None:
        if len(here.wire.sent_at) == 7:
            raise Killed

    here.wire.before = die
    with here.machine(tmp_path) as machine:
        with pytest.raises(Killed):
            machine.poll()
        machine.die()
        pages = [record for record in read(tmp_path / JOURNAL) if record.kind == "page"]
        assert len(pages) >= 6
        landed = machine.books.store.connection.sql("select count(*) from page").fetchall()
        assert landed == [(len(pages),)]
