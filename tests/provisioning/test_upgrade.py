"""Upgrades against the sandbox, which shares no code with the product: it transfers and refuses as Neon does."""

from datetime import UTC, datetime

import httpx
import pytest

from metering import sandbox
from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config import read
from metering.core import meters
from metering.core.errors import CredentialsError, MeteringError, NeonError
from metering.core.period import month_of
from metering.core.secrets import Secret
from metering.ledger import ledger
from metering.neon.client import Neon
from metering.provisioning import upgrade
from metering.provisioning.subscription_file import Choice, switched
from metering.rating import validation
from metering.sandbox.access import PERSONAL_KEY, SPONSORED_ORGANIZATION_KEY
from metering.sandbox.app import create_app
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION, Fleet
from metering.sandbox.gate import UNLIMITED, Clock
from metering.service import tick
from metering.service.clients import client_settings
from metering.store import snapshots

NOW = datetime(2026, 10, 15, 9, 30, 17, 250000, tzinfo=UTC)
PLANS = """
[[plans]]
id = "free"
currency = "USD"
[plans.quota]
compute_time_seconds = 360000000

[[plans]]
id = "pro"
currency = "USD"
base_fee = "20.00"
[plans.quota]
compute_time_seconds = 2700000000
data_transfer_bytes = 0

[[plans]]
id = "tiny"
currency = "USD"
[plans.quota]
compute_time_seconds = 1
"""
HEADER = "project_id,customer,plan,valid_from,valid_to\n"


async def at_once(_seconds):
    """Nobody waits in a test."""


class Desk:
    """A platform with a sponsored and a paid organization at a sandbox; `lose` drops the answers to these changes."""

    def __init__(self, directory, *, key=PERSONAL_KEY, subscriptions=HEADER):
        fleet = Fleet.around(NOW, seed=3, projects=40)
        self.app = create_app(fleet, Clock.at(NOW), limits=UNLIMITED)
        self.key, self.lose, self.asked = key, [], []
        self.file = directory / "subscriptions.csv"
        named = ""
        if subscriptions is not None:
            self.file.write_text(subscriptions)
            named = '[customers]\nsubscriptions = "subscriptions.csv"\n'
        organizations = "".join(
            f'[[organizations]]\nid = "{name}"\napi_key_env = "KEY"\ndefault_plan = "free"\n{more}'
            for name, more in ((PAID_ORGANIZATION, ""), (SPONSORED_ORGANIZATION, "sponsored = true\n"))
        )
        (directory / "config.toml").write_text(f"{organizations}\n{named}\n{PLANS}")
        self.path = directory / "config.toml"
        with self.books() as books:
            tick.poll(books, self.config, self.keys(), wiring=tick.Wiring(neon_of=self.neon_of(books)))
        self.asked.clear()

    @property
    def config(self):
        return read(
            self.path, environ={}, card_faults=lambda card: validation.faults(card.plans, meters.catalogue(card.meters))
        )

    def keys(self):
        return {name: Secret(self.key) for name in (PAID_ORGANIZATION, SPONSORED_ORGANIZATION)}

    def books(self):
        return ledger.open_ledger(self.config.store.directory, lambda: NOW)

    def neon_of(self, books):
        inner = httpx.ASGITransport(self.app)

        async def wire(request):
            if request.method != "GET":
                self.asked.append((request.method, request.url.path.removeprefix("/api/v2/")))
            answer = await inner.handle_async_request(request)
            if request.method in self.lose:
                self.lose.remove(request.method)
                raise httpx.ReadError("the line broke")
            return answer

        class Wire(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request):
                return await wire(request)

        settings = self.config.neon.model_copy(update={"base_url": "http://127.0.0.1/api/v2", "max_retries": 1})
        return lambda _account: Neon(client_settings(settings), clock=books.clock, transport=Wire(), sleep=at_once)

    def project(self, organization):
        """A project that lives in the organization."""
        with snapshots.open_reader(self.config.store.directory) as found:
            rows = found.query("quotas/quota_counters").filter(organization=organization)
            return rows.sort("project_id")["project_id"][0]

    def upgrade(self, project, plan, **more):
        with self.books() as books:
            wanted = upgrade.Wanted(project_id=project, plan=plan, **more)
            return upgrade.upgrade(books, self.config, self.keys(), self.neon_of(books), wanted)

    def home(self, project):
        state = self.app.state.sandbox.state
        return sandbox.state.home_at(state.project(project), NOW)

    def quota(self, project):
        return dict(self.app.state.sandbox.state.project(project).quota)

    def journalled(self):
        with snapshots.open_reader(self.config.store.directory) as found:
            return found.connection.execute("select step, phase from upgrade_step order by seq").fetchall()


def results(done):
    return [(step["step"], step["result"]) for step in done.steps]


def test_transfer_then_quotas_then_subscription(tmp_path):
    desk = Desk(tmp_path)
    project = desk.project(SPONSORED_ORGANIZATION)

    done = desk.upgrade(project, "pro", transfer_to=PAID_ORGANIZATION)

    assert results(done) == [("transfer", "done"), ("quotas", "done"), ("subscription", "done")]
    assert desk.asked == [
        ("POST", f"organizations/{SPONSORED_ORGANIZATION}/projects/transfer"),
        ("PATCH", f"projects/{project}"),
    ]
    assert desk.home(project) == PAID_ORGANIZATION
    assert desk.quota(project)["compute_time_seconds"] == 2700000000
    assert desk.file.read_text() == (
        f"{HEADER}{project},{project},free,,2026-10-15T09:30:17Z\n{project},{project},pro,2026-10-15T09:30:17Z,\n"
    )
    assert desk.journalled() == [
        ("transfer", "sending"), ("transfer", "done"), ("subscription", "sending"), ("subscription", "done"),
    ]  # fmt: skip


def test_the_new_plan_is_in_force_from_the_second_of_the_upgrade(tmp_path):
    desk = Desk(tmp_path)
    project = desk.project(PAID_ORGANIZATION)
    desk.upgrade(project, "pro")

    with snapshots.open_reader(desk.config.store.directory) as found:
        month = Month(recorded=Recorded(store=found), terms=terms.of(desk.config), period=month_of(NOW), now=NOW)
        mine = month.segments.filter(project_id=project).select("customer", "plan", "start").rows()

    assert [row[:2] for row in mine] == [(project, "free"), (project, "pro")]
    assert mine[1][2] == NOW.replace(microsecond=0)


def test_a_second_run_finds_everything_done(tmp_path):
    desk = Desk(tmp_path)
    project = desk.project(SPONSORED_ORGANIZATION)
    desk.upgrade(project, "pro", transfer_to=PAID_ORGANIZATION)
    written = desk.file.read_text()
    desk.asked.clear()

    done = desk.upgrade(project, "pro", transfer_to=PAID_ORGANIZATION)

    assert results(done) == [("transfer", "already"), ("quotas", "already"), ("subscription", "already")]
    assert desk.asked == []
    assert desk.file.read_text() == written


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_it_goes_on_where_an_answer_was_lost(tmp_path, method):
    desk = Desk(tmp_path)
    project = desk.project(SPONSORED_ORGANIZATION)
    desk.lose.append(method)

    with pytest.raises(MeteringError, match="whether it happened is not known"):
        desk.upgrade(project, "pro", transfer_to=PAID_ORGANIZATION)
    assert desk.file.read_text() == HEADER
    done = desk.upgrade(project, "pro", transfer_to=PAID_ORGANIZATION)

    assert [step for step, _ in results(done)] == ["transfer", "quotas", "subscription"]
    assert [entry[0] for entry in desk.asked] == ["POST", "PATCH"]  # nothing was asked for twice
    assert desk.home(project) == PAID_ORGANIZATION
    assert desk.quota(project)["compute_time_seconds"] == 2700000000
    assert f"{project},{project},pro," in desk.file.read_text()


def test_an_organizations_key_is_refused_before_anything_happens(tmp_path):
    desk = Desk(tmp_path)
    project = desk.project(SPONSORED_ORGANIZATION)
    desk.key = SPONSORED_ORGANIZATION_KEY

    with pytest.raises(CredentialsError, match="may not transfer"):
        desk.upgrade(project, "pro", transfer_to=PAID_ORGANIZATION)
    assert desk.asked == []


def test_a_transfer_that_neon_refuses_is_told_with_its_reason_and_nothing_else_happens(tmp_path):
    desk = Desk(tmp_path)
    project = desk.project(PAID_ORGANIZATION)

    with pytest.raises(NeonError, match=r"406.*subscription_type"):
        desk.upgrade(project, "free", transfer_to=SPONSORED_ORGANIZATION)
    assert [entry[0] for entry in desk.asked] == ["POST"]
    assert desk.file.read_text() == HEADER
    assert desk.journalled() == [("transfer", "sending"), ("transfer", "failed")]


def busy(desk):
    """A project that used compute in this month."""
    with snapshots.open_reader(desk.config.store.directory) as found:
        month = Month(recorded=Recorded(store=found), terms=terms.of(desk.config), period=month_of(NOW), now=NOW)
        return month.usage.sums.filter(metric="compute_unit_seconds").sort("value")["project_id"][-1]


def test_a_downgrade_below_current_usage_needs_force(tmp_path):
    desk = Desk(tmp_path)
    project = busy(desk)

    with pytest.raises(MeteringError, match=r"compute_time_seconds: \d+ of 1 CU-seconds are used already"):
        desk.upgrade(project, "tiny")
    assert (desk.asked, desk.file.read_text(), desk.journalled()) == ([], HEADER, [])

    done = desk.upgrade(project, "tiny", force=True)

    assert results(done) == [("quotas", "done"), ("subscription", "done")]
    assert desk.quota(project)["compute_time_seconds"] == 1


def test_without_a_file_the_lines_are_given_to_add_by_hand(tmp_path):
    desk = Desk(tmp_path, subscriptions=None)
    project = desk.project(PAID_ORGANIZATION)

    done = desk.upgrade(project, "pro")

    assert results(done)[-1] == ("subscription", "by hand")
    assert done.lines == [
        f"{project},{project},free,,2026-10-15T09:30:17Z",
        f"{project},{project},pro,2026-10-15T09:30:17Z,",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing-at-all", "pro", {}), "no project"),
        (("", "gold", {}), "no plan 'gold'"),
        (("", "pro", {"transfer_to": "org-elsewhere"}), "is not configured"),
    ],
)
def test_what_is_unknown_is_refused(tmp_path, arguments, words):
    desk = Desk(tmp_path)
    project, plan, more = arguments

    with pytest.raises(MeteringError, match=words):
        desk.upgrade(project or desk.project(PAID_ORGANIZATION), plan, **more)
    assert desk.asked == []


def test_a_project_of_an_organization_that_is_configured_no_more_is_refused(tmp_path):
    desk = Desk(tmp_path)
    project = desk.project(SPONSORED_ORGANIZATION)
    known = {PAID_ORGANIZATION: desk.keys()[PAID_ORGANIZATION]}

    wanted = upgrade.Wanted(project_id=project, plan="pro")

    with desk.books() as books, pytest.raises(MeteringError, match="is not configured"):
        upgrade.upgrade(books, desk.config, known, desk.neon_of(books), wanted)
    assert desk.asked == []


def test_the_journal_gives_the_same_steps_again(tmp_path):
    from metering.operations import rebuild

    desk = Desk(tmp_path)
    desk.upgrade(desk.project(SPONSORED_ORGANIZATION), "pro", transfer_to=PAID_ORGANIZATION)
    before = desk.journalled()

    rebuild.rebuild(desk.config.store.directory)

    assert desk.journalled() == before


# -- the file


AT = datetime(2026, 10, 15, 9, 30, tzinfo=UTC)
PRO = Choice(project_id="a", customer="acme", plan="pro")


def test_the_row_in_force_ends_and_another_begins_and_nothing_else_changes():
    text = 'project_id,customer,plan,valid_from,valid_to\r\nb,"x, y",free,,\r\na,acme,free,2026-01-01,\r\n# c,d,e,,\r\n'

    new, lines = switched(text, None, PRO, AT)

    assert new == (
        'project_id,customer,plan,valid_from,valid_to\r\nb,"x, y",free,,\r\n'
        "a,acme,free,2026-01-01,2026-10-15T09:30:00Z\r\n# c,d,e,,\r\na,acme,pro,2026-10-15T09:30:00Z,\r\n"
    )
    assert lines == ["a,acme,pro,2026-10-15T09:30:00Z,"]


def test_the_new_row_ends_where_the_old_one_would_have():
    new, _ = switched(f"{HEADER}a,acme,free,,2026-12-01", None, PRO, AT)

    assert new == f"{HEADER}a,acme,free,,2026-10-15T09:30:00Z\na,acme,pro,2026-10-15T09:30:00Z,2026-12-01\n"


def test_a_row_that_began_at_this_second_is_replaced():
    new, _ = switched(f"{HEADER}a,acme,free,2026-10-15T09:30:00Z,\n", None, PRO, AT)

    assert new == f"{HEADER}a,acme,pro,2026-10-15T09:30:00Z,\n"


def test_time_that_an_ended_row_left_open_stays_open():
    before = Choice(project_id="a", customer="acme", plan="free")

    new, _ = switched(f"{HEADER}a,acme,free,,2026-10-01\n", before, PRO, AT)

    assert new == f"{HEADER}a,acme,free,,2026-10-01\na,acme,pro,2026-10-15T09:30:00Z,\n"


def test_other_columns_and_a_byte_order_mark_stay():
    mark = "\N{ZERO WIDTH NO-BREAK SPACE}"

    new, _ = switched(f"{mark}valid_to, plan,customer,project_id,valid_from\n,free,acme,a,\n", None, PRO, AT)

    assert new == (
        f"{mark}valid_to, plan,customer,project_id,valid_from\n"
        "2026-10-15T09:30:00Z,free,acme,a,\n,pro,acme,a,2026-10-15T09:30:00Z\n"
    )


def test_a_later_row_or_a_missing_column_is_left_to_a_person():
    with pytest.raises(MeteringError, match="begins later"):
        switched(f"{HEADER}a,acme,free,2026-11-01,\n", None, PRO, AT)
    with pytest.raises(MeteringError, match="valid_from, valid_to"):
        switched("project_id,customer,plan\na,acme,free\n", None, PRO, AT)
