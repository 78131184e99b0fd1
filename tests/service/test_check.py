"""`check` before the first poll, against a sandbox on a real socket."""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.cli.demo.receiver import Received, app
from metering.config import Config
from metering.config import read as read_config
from metering.core.errors import CredentialsError
from metering.core.secrets import Secret
from metering.ledger import ledger
from metering.sandbox.access import PAID_ORGANIZATION_KEY, PERSONAL_KEY, PROJECT_KEY
from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION
from metering.sandbox.server import serve
from metering.service import check as checks
from metering.service import tick
from metering.service.findings import Checked
from metering.store import lock
from tests.support.inbox import receiving
from tests.support.sandbox_world import NOW, sandbox

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
CANARY = "napi_canary0123456789abcdefghijklmnop"
NOWHERE = "http://127.0.0.1:9/api/v2"

PAID = f"""
[[organizations]]
id = "{PAID_ORGANIZATION}"
api_key_env = "NEON_API_KEY"
"""
SPONSORED = f"""
[[organizations]]
id = "{SPONSORED_ORGANIZATION}"
api_key_env = "FREE_KEY"
sponsored = true
"""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with sandbox(projects=6) as world:
        yield str(world.client.base_url).rstrip("/")


def read(directory: Path, text: str, base_url: str = NOWHERE, **neon: int) -> Config:
    more = "".join(f"{name} = {value}\n" for name, value in neon.items())
    file = directory / "config.toml"
    file.write_text(f'[neon]\nbase_url = "{base_url}"\n{more}{text}')
    return read_config(file, environ={})


def checked(
    found: Config,
    keys: Mapping[str, str | CredentialsError] | None = None,
    secrets: Mapping[str, str] | None = None,
    *,
    now: datetime = NOW,
    send_test: bool = False,
) -> Checked:
    known = keys or {}
    return checks.check(
        found,
        {name: Secret(key) if isinstance(key, str) else key for name, key in known.items()},
        {url: Secret(secret) for url, secret in (secrets or {}).items()},
        lambda: now,
        lambda: datetime.now(tz=UTC),
        send_test=send_test,
    )


def states(found: Checked, subject: str) -> dict[str, str]:
    return {row.check: row.state for row in found.findings if row.subject == subject}


ORGANIZATION = f"organization {PAID_ORGANIZATION}"


# -- keys, and what they see


def test_a_personal_key_sees_inventory_and_history(tmp_path, base_url):
    found = checked(read(tmp_path, PAID, base_url), {PAID_ORGANIZATION: PERSONAL_KEY})
    assert found.document()["organizations"] == [
        {
            "organization": PAID_ORGANIZATION,
            "account": "main",
            "sponsored": False,
            "key_source": "environment NEON_API_KEY",
            "key_kind": "personal",
            "key_may": "sees every organization of its user, with history; may move projects between them",
            "key": "ok",
            "inventory": "visible",
            "history": "visible",
        }
    ]
    assert states(found, ORGANIZATION) == {"inventory": "ok", "history": "ok", "key": "ok"}
    assert (found.faults, found.exit_code) == ([], 0)
    assert (found.document()["is_ready"], found.document()["verdict"]) == (True, "ready")


def test_an_organizations_key_is_told_from_a_personal_one(tmp_path, base_url):
    found = checked(read(tmp_path, PAID, base_url), {PAID_ORGANIZATION: PAID_ORGANIZATION_KEY})
    assert found.document()["organizations"][0]["key_kind"] == "organization"
    assert found.exit_code == 0


def test_a_projects_key_sees_too_little(tmp_path, base_url):
    found = checked(read(tmp_path, PAID, base_url), {PAID_ORGANIZATION: PROJECT_KEY})
    section = found.document()["organizations"][0]
    assert (section["key_kind"], section["inventory"], section["history"]) == ("project", "not_visible", "not_visible")
    assert "personal or an organization's key" in section["key_may"]
    assert found.exit_code == 3


def test_a_key_of_another_organization_is_unavailable_and_not_zero(tmp_path, base_url):
    other = PAID.replace(PAID_ORGANIZATION, SPONSORED_ORGANIZATION)
    found = checked(read(tmp_path, other, base_url), {SPONSORED_ORGANIZATION: PAID_ORGANIZATION_KEY})
    assert states(found, f"organization {SPONSORED_ORGANIZATION}") == {
        "inventory": "fault",
        "history": "fault",
        "key": "ok",
    }
    assert found.exit_code == 3


def test_history_that_the_plan_does_not_include_is_a_fault(tmp_path, base_url):
    paid_only = SPONSORED.replace("sponsored = true", "")
    found = checked(read(tmp_path, paid_only, base_url), {SPONSORED_ORGANIZATION: PERSONAL_KEY})
    (fault,) = found.faults
    assert fault.startswith(f"organization {SPONSORED_ORGANIZATION}: history is not available: ")
    assert "403" in fault
    assert found.exit_code == 3


def test_a_sponsored_organization_owes_no_history(tmp_path, base_url):
    found = checked(read(tmp_path, SPONSORED, base_url), {SPONSORED_ORGANIZATION: PERSONAL_KEY})
    assert found.document()["organizations"][0]["history"] == "not_expected"
    assert found.exit_code == 0


def test_a_refused_key_is_told_and_never_shown(tmp_path, base_url):
    found = checked(read(tmp_path, PAID, base_url), {PAID_ORGANIZATION: CANARY})
    assert found.document()["organizations"][0]["key"] == "refused"
    assert "401" in found.faults[0]
    assert found.exit_code == 5
    assert CANARY not in json.dumps(found.document()) + repr(found) + repr(found.rows())


def test_a_missing_key_stops_only_its_own_organization(tmp_path, base_url):
    missing = CredentialsError("the environment variable FREE_KEY is not set", hint="export FREE_KEY=…")
    keys = {PAID_ORGANIZATION: PERSONAL_KEY, SPONSORED_ORGANIZATION: missing}
    found = checked(read(tmp_path, PAID + SPONSORED, base_url), keys)
    sections = {row["organization"]: row for row in found.document()["organizations"]}
    assert sections[SPONSORED_ORGANIZATION]["key"] == "missing"
    assert sections[PAID_ORGANIZATION]["history"] == "visible"
    assert found.faults == [
        f"organization {SPONSORED_ORGANIZATION}: the environment variable FREE_KEY is not set (export FREE_KEY=…)"
    ]
    assert found.exit_code == 5


def test_a_refused_key_outweighs_what_is_not_visible(tmp_path, base_url):
    keys = {PAID_ORGANIZATION: PROJECT_KEY, SPONSORED_ORGANIZATION: CANARY}
    assert checked(read(tmp_path, PAID + SPONSORED, base_url), keys).exit_code == 5


def test_where_nobody_answers_nothing_is_said_of_the_key(tmp_path):
    found = checked(read(tmp_path, PAID, NOWHERE, max_retries=0), {PAID_ORGANIZATION: PERSONAL_KEY})
    section = found.document()["organizations"][0]
    assert (section["key"], section["inventory"], section["history"]) == ("unknown", "unknown", "unknown")
    assert found.exit_code == 3


def test_a_metric_that_neon_does_not_know_is_a_note(tmp_path, base_url):
    meter = """
[[meters]]
id = "gpu"
metrics = ["gpu_seconds"]
unit = "GPU-hour"
divisors = [{ valid_from = 2026-01-01, divisor = "3600" }]
"""
    found = checked(read(tmp_path, PAID + meter, base_url), {PAID_ORGANIZATION: PERSONAL_KEY})
    assert any("does not know one of the metrics" in text for text in found.document()["notes"])
    assert found.exit_code == 0


def test_a_clock_far_from_neons_is_a_note_and_five_minutes_are_near(tmp_path, base_url):
    for minutes, is_told in ((5, False), (6, True)):
        later = NOW.replace(minute=NOW.minute + minutes)
        found = checked(read(tmp_path, PAID, base_url), {PAID_ORGANIZATION: PERSONAL_KEY}, now=later)
        assert any("at Neon" in text for text in found.document()["notes"]) is is_told
        assert found.exit_code == 0


def test_without_an_organization_there_is_nothing_to_read(tmp_path):
    assert any("nothing to read" in text for text in checked(read(tmp_path, "")).document()["notes"])


# -- configuration


def test_every_value_says_where_it_came_from(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        """
[neon]
timeout_seconds = 20
[[plans]]
id = "pro"
name = "Pro"
currency = "USD"
base_fee = "20.00"
[plans.quota]
compute_time_seconds = 2700000
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "per_unit"
unit_price = "0.35"
"""
    )
    found = read_config(
        file, environ={"METERING_SCHEDULE__POLL_MINUTES": "30"}, overrides={"store.directory": str(tmp_path / "var")}
    )
    values = {row["key"]: (row["value"], row["source"]) for row in checked(found).document()["configuration"]["values"]}
    assert values["neon.timeout_seconds"] == ("20", "file")
    assert values["neon.base_url"] == ("https://console.neon.tech/api/v2", "default")
    assert values["schedule.poll_minutes"] == ("30", "environment METERING_SCHEDULE__POLL_MINUTES")
    assert values["store.directory"] == (str(tmp_path / "var"), "command line")
    assert values["customers.file"] == (None, "default")
    assert values["quota.thresholds_percent"] == ("80, 95", "default")
    assert values["plans[0].base_fee"] == ("20.00", "file")
    assert values["plans[0].quota.compute_time_seconds"] == ("2700000", "file")
    assert values["plans[0].prices[0].valid_from"] == ("2026-01-01T00:00:00Z", "file")
    assert values["plans[0].prices[0].flat_fee_at_zero"] == ("false", "default")


def test_the_table_has_the_findings_and_then_the_values(tmp_path):
    rows = checked(read(tmp_path, "")).rows()
    assert all(set(row) == {"subject", "check", "state", "detail"} for row in rows)
    assert rows[0] == {
        "subject": "configuration",
        "check": "faults",
        "state": "ok",
        "detail": f"{tmp_path / 'config.toml'} has none",
    }
    assert {"subject": "configuration", "check": "neon.max_retries", "state": "default", "detail": "6"} in rows


def test_the_document_is_json_and_its_keys_are_stable(tmp_path):
    document = checked(read(tmp_path, "")).document()
    assert list(document) == [
        "as_of",
        "is_ready",
        "verdict",
        "configuration",
        "network",
        "organizations",
        "store",
        "backup",
        "unknown_plans",
        "customers_without_row",
        "references",
        "tax_ids",
        "taxes_ended",
        "closing",
        "webhooks",
        "channels",
        "service",
        "dashboard",
        "stripe",
        "fonts",
        "faults",
        "notes",
    ]
    assert json.loads(json.dumps(document)) == document


# -- tax ids


def test_check_says_what_it_took_each_tax_id_for(tmp_path):
    (tmp_path / "customers.csv").write_text(
        "customer,country,tax_id\n"
        "aussie,AU,ABN 51 824 753 556\nbelge,BE,be0123456749\nwrong,BE,BE0123456748\nnone,BE,\nus,US,EIN 12-3456789\n"
    )
    text = '[customers]\nfile = "customers.csv"\n[seller]\ntax_id = "BE 0123.456.749"\ncountry = "BE"\n'
    found = checked(read(tmp_path, text))
    assert found.document()["tax_ids"] == {
        "seller": {"written": "BE 0123.456.749", "taken_for": "vat_id", "doubt": ""},
        "customers": {"vat_id": "1", "legal_id": "3", "none": "1"},
        "doubtful": [
            {
                "customer": "wrong",
                "written": "BE0123456748",
                "doubt": "does not satisfy the check digits of BE's VAT identifiers",
            }
        ],
    }
    told = {row.subject: (row.state, row.detail) for row in found.findings if row.check in {"tax id", "tax ids"}}
    assert told == {
        "seller": ("ok", "BE 0123.456.749 is a VAT identifier (BE0123456749)"),
        "customers": ("ok", "1 VAT identifier, 3 legal identifiers, 1 without"),
        "customer wrong": (
            "note",
            "BE0123456748 does not satisfy the check digits of BE's VAT identifiers:"
            " taken for a legal identifier, which e-invoices never write as a VAT number",
        ),
    }


@pytest.mark.parametrize(("count", "more"), [(10, []), (11, ["and 1 more of this kind"])])
def test_of_tax_ids_in_doubt_the_first_ten_are_named(tmp_path, count, more):
    rows = "".join(f"c-{number:02},BE,BE0123456748\n" for number in range(count))
    (tmp_path / "customers.csv").write_text(f"customer,country,tax_id\n{rows}")
    found = checked(read(tmp_path, '[customers]\nfile = "customers.csv"\n'))
    named = [row.subject for row in found.findings if row.check == "tax id" and row.subject != "customers"]
    assert named == [f"customer c-{number:02}" for number in range(10)]
    assert [row.detail for row in found.findings if row.subject == "customers" and row.check == "tax id"] == more
    assert len(found.document()["tax_ids"]["doubtful"]) == count
    assert found.exit_code == 0


# -- store


def test_a_store_that_does_not_exist_yet_is_not_made(tmp_path):
    found = checked(read(tmp_path, ""))
    section = found.document()["store"]
    assert (section["exists"], section["is_writable"], section["lock"]) == (False, True, "free")
    assert section["has_snapshot"] is False
    assert int(section["free_bytes"]) > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]


def test_a_lock_that_somebody_holds_is_a_note_with_the_holder(tmp_path):
    found = read(tmp_path, "")
    found.store.directory.mkdir()
    holder = lock.held(found.store.directory)
    with holder:
        seen = checked(found)
    section = seen.document()["store"]
    assert section["lock"] == "held"
    assert int(section["lock_holder"]) > 0
    assert any(f"process {section['lock_holder']} holds the store" in text for text in seen.document()["notes"])
    assert seen.exit_code == 0


def test_a_free_lock_stays_free(tmp_path):
    found = read(tmp_path, "")
    found.store.directory.mkdir()
    assert checked(found).document()["store"]["lock"] == "free"
    with lock.held(found.store.directory):
        pass


def test_a_directory_that_takes_no_files_is_a_fault(tmp_path):
    (tmp_path / "var").write_text("a file where the directory should be")
    found = checked(read(tmp_path, ""))
    assert found.document()["store"]["is_writable"] is False
    assert found.exit_code == 1


def test_a_snapshot_that_cannot_be_read_is_a_fault(tmp_path):
    found = read(tmp_path, PAID, max_retries=0)
    found.store.directory.mkdir()
    (found.store.directory / "snapshot.duckdb").write_bytes(b"no database" * 1000)
    seen = checked(found, {PAID_ORGANIZATION: PERSONAL_KEY})
    assert any("the readers' copy cannot be read" in text for text in seen.faults)
    assert seen.exit_code == 1


# -- plans that names ask for


def test_names_that_ask_for_an_unknown_plan_are_listed_once_they_are_known(tmp_path):
    pattern = r"'(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\d+)'"
    plan = '[[plans]]\nid = "pro"\nname = "Pro"\ncurrency = "USD"\n'
    with sandbox(projects=6) as world:
        base_url = str(world.client.base_url).rstrip("/")
        text = f"{PAID}[customers]\nproject_name_pattern = {pattern}\n{plan}"
        found, keys = read(tmp_path, text, base_url), {PAID_ORGANIZATION: PERSONAL_KEY}
        assert checked(found, keys).document()["unknown_plans"] == []
        with ledger.open_ledger(found.store.directory, lambda: NOW) as books:
            tick.poll(books, found, {PAID_ORGANIZATION: Secret(PERSONAL_KEY)})
        names = [project.name for project in world.state.fleet.projects.values()]
        seen = checked(found, keys)
    listed = {row["project_name"]: row["plan"] for row in seen.document()["unknown_plans"]}
    assert listed
    assert set(listed) <= set(names)
    assert all(plan != "pro" and f"-{plan}-" in name for name, plan in listed.items())
    assert seen.document()["store"]["has_snapshot"] is True
    assert seen.exit_code == 3
    name, asked = min(listed.items())
    assert seen.verdict == (
        f"not ready: first project {name}: its name asks for the plan {asked!r}, which does not exist; known here: pro"
    )


# -- webhooks


def hook(url: str, *, is_private: bool = True) -> str:
    return f'[[webhooks]]\nurl = "{url}"\nsecret_env = "HOOK"\nallow_private_network = {str(is_private).lower()}\n'


def test_a_test_event_is_delivered_signed(tmp_path):
    received = Received()
    with serve(app(SECRET, received)) as server:
        url = f"{server.root_url}/"
        found = checked(read(tmp_path, hook(url)), secrets={url: SECRET}, send_test=True)
    (section,) = found.document()["webhooks"]
    assert (section["secret"], section["address"]) == ("ok", "ok")
    assert section["test"] == {"outcome": "delivered", "status": 204, "error": ""}
    assert [event["type"] for event in received.events.values()] == ["webhook.test"]
    assert found.exit_code == 0


def test_without_being_asked_nothing_is_sent(tmp_path):
    received = Received()
    with serve(app(SECRET, received)) as server:
        url = f"{server.root_url}/"
        found = checked(read(tmp_path, hook(url)), secrets={url: SECRET})
    assert found.document()["webhooks"][0]["test"] is None
    assert received.verified == 0


def test_a_receiver_that_refuses_the_signature_is_a_fault(tmp_path):
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    with serve(app(other, Received())) as server:
        url = f"{server.root_url}/"
        found = checked(read(tmp_path, hook(url)), secrets={url: SECRET}, send_test=True)
    assert found.document()["webhooks"][0]["test"]["status"] == 401
    assert found.faults == [f"webhook {url}: the test was not delivered: the endpoint answered 401"]
    assert found.exit_code == 3


@pytest.mark.parametrize("secrets", [{}, {"https://127.0.0.1/": "whsec_tooshort"}])
def test_a_secret_that_is_missing_or_malformed_is_a_fault_and_nothing_is_sent(tmp_path, secrets):
    found = checked(read(tmp_path, hook("https://127.0.0.1/")), secrets=secrets, send_test=True)
    (section,) = found.document()["webhooks"]
    assert (section["secret"], section["secret_source"], section["test"]) == ("unusable", "environment HOOK", None)
    assert found.faults[0].startswith("webhook https://127.0.0.1/: environment HOOK: ")
    assert "tooshort" not in json.dumps(found.document())
    assert found.exit_code == 5


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1:8443/x"])
def test_an_address_that_is_not_public_is_a_fault_unless_allowed(tmp_path, url):
    refused = checked(read(tmp_path, hook(url, is_private=False)), secrets={url: SECRET})
    assert "not public" in refused.document()["webhooks"][0]["address"]
    assert refused.exit_code == 3
    assert checked(read(tmp_path, hook(url)), secrets={url: SECRET}).exit_code == 0


def test_a_name_that_leads_nowhere_is_a_fault(tmp_path):
    url = "https://hooks.invalid/"
    found = checked(read(tmp_path, hook(url)), secrets={url: SECRET})
    assert found.faults == [f"webhook {url}: the name could not be resolved"]


# -- channels


def test_a_channel_is_looked_at_and_tested_and_its_secret_address_stands_nowhere(tmp_path):
    text = (
        '[[channels]]\nname = "ops"\nkind = "slack"\nsecret_env = "SLACK"\nallow_private_network = true\n'
        '[[channels]]\nname = "duty"\nkind = "pagerduty"\nsecret_file = "key"\nurl = "https://127.0.0.1/"\n'
    )
    with receiving() as slack:
        url = slack.url.replace("/hook", "/services/s3cr3tpath")
        found = checked(read(tmp_path, text), secrets={"slack:ops": url}, send_test=True)
    duty, ops = found.document()["channels"]
    assert ops == {
        "name": "ops",
        "kind": "slack",
        "events": ["*"],
        "secret_source": "environment SLACK",
        "secret": "ok",
        "address": "ok",
        "test": {"outcome": "delivered", "status": 200, "error": ""},
    }
    assert (duty["secret"], duty["test"]) == ("unusable", None)
    assert "not public" in duty["address"]
    assert found.faults[0] == f"channel pagerduty:duty: file {tmp_path / 'key'}: no secret"
    assert len(slack.posts) == 1
    assert "s3cr3tpath" not in json.dumps(found.document())
    assert found.exit_code == 5


def test_a_channel_without_its_secret_address_has_nothing_to_be_looked_up(tmp_path):
    found = checked(read(tmp_path, '[[channels]]\nname = "ops"\nkind = "slack"\nsecret_env = "SLACK"\n'))
    assert found.document()["channels"][0]["address"] is None
