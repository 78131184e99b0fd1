"""What was told as begun: its end is told once to those who keep incidents, and Alertmanager is reminded until then."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from metering.alerts import delivering, firing, recipients, recording
from metering.config import Channel, Config, Webhook
from metering.core.secrets import Secret
from metering.ledger.alert_log import log
from tests.alerts.test_alert import MemoryLedger, apply, row
from tests.alerts.test_channels import POISON
from tests.support.blank import blank_store
from tests.support.documents import printed
from tests.support.inbox import receiving

NOW = datetime(2026, 10, 16, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
NOVEMBER = {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}
SECRETS = {"pagerduty:duty": Secret("R" * 32), "slack:ops": Secret("https://hooks.slack.com/x")}


def channel(kind: str, name: str, url: str = "https://am.example.com", **settings) -> Channel:
    return Channel(kind=kind, name=name, url=url, allow_private_network=True, **settings)


def config(duty: str = "https://duty.example.com", am: str = "https://am.example.com") -> Config:
    return Config(
        path="config.toml",
        webhooks=(Webhook(url="https://hooks.example.com", secret_env="S", events=("*",)),),
        channels=(
            channel("pagerduty", "duty", duty, secret_env="S"),
            channel("alertmanager", "am", am),
            Channel(kind="slack", name="ops", secret_env="S"),
        ),
    )


@pytest.fixture
def book():
    return MemoryLedger()


def evaluated(book, *rows, settings=None, now=NOW) -> int:
    """What a tick does with the rows that reached a threshold; how many crossings ended."""
    settings = settings or config()
    reached = [one for one in rows if one.threshold_percent is not None]
    ended = firing.resolve(book, reached, settings, now)
    recording.evaluate(book, reached, settings, now)
    return ended


def ends(book) -> list[dict]:
    return [printed(one) for one in log(book.store) if one.type == "quota.resolved"]


def body_of(book, alert_id: str) -> dict:
    frame = book.store.query("ledger/alert_log")
    return json.loads(dict(zip(frame["alert_id"], frame["body"], strict=True))[alert_id])


# -- ends


@pytest.mark.parametrize(
    ("later", "now", "reason"),
    [
        (row("79"), NOW, "80 % is not reached any more, or the limit or the project is gone"),
        (row("83", "200"), NOW, "80 % is not reached any more, or the limit or the project is gone"),
        (row("166", "200"), NOW, "the limit is 200 CU-seconds now"),
        (row("90", period=NOVEMBER), NOW, "a new period began"),
        (row("1", period=NOVEMBER), datetime(2026, 11, 1, tzinfo=UTC), "a new period began"),
    ],
)
def test_a_crossing_ends_where_it_is_below_or_its_limit_or_period_is_another(book, later, now, reason):
    evaluated(book, row())
    assert evaluated(book, later, now=now) == 1
    (end,) = ends(book)
    assert [told["endpoint"] for told in end["deliveries"]] == ["alertmanager:am", "pagerduty:duty"]
    data = body_of(book, end["alert_id"])["data"]
    assert data["resolves"] == log(book.store)[0].alert_id
    assert (data["reason"], data["started_at"]) == (reason, "2026-10-16T12:00:00Z")
    assert end["summary"].startswith(
        "Project acme-cust7-pro-1756684800 of cust7 is no longer at 80 % of its included compute time. Why: "
    )


def test_what_lasts_does_not_end_however_it_moves_above_the_threshold(book):
    evaluated(book, row("80"))
    for used in ("94", "80", "83"):
        assert evaluated(book, row(used)) == 0


@pytest.mark.parametrize(("used", "ended"), [("80", 0), ("79", 1)])
def test_the_end_is_below_the_threshold_and_not_at_it(book, used, ended):
    evaluated(book, row("83"))
    assert evaluated(book, row(used)) == ended


def test_a_higher_threshold_may_end_while_the_lower_one_lasts(book):
    evaluated(book, row("83"))
    evaluated(book, row("96"))
    assert evaluated(book, row("90")) == 1
    assert [end["threshold_percent"] for end in ends(book)] == [95]


def test_a_project_that_is_gone_ends_its_crossings(book):
    evaluated(book, row())
    assert evaluated(book) == 1


def test_an_end_is_recorded_once_and_a_return_in_the_same_period_is_not_told_again(book):
    evaluated(book, row())
    for used, ended in (("79", 1), ("79", 0), ("81", 0), ("79", 0)):
        assert evaluated(book, row(used)) == ended
    assert len(log(book.store)) == 2


def test_a_superseded_crossing_was_told_to_nobody_and_so_has_no_end(book):
    evaluated(book, row("99"))
    assert evaluated(book, row("10")) == 1
    assert [end["threshold_percent"] for end in ends(book)] == [95]


def test_without_a_channel_that_keeps_incidents_no_end_is_recorded(book):
    webhooks = Config(path="config.toml", webhooks=(Webhook(url="https://hooks.example.com", secret_env="S"),))
    evaluated(book, row(), settings=webhooks)
    assert evaluated(book, row("10"), settings=webhooks) == 0
    assert evaluated(book, row("10"), settings=config()) == 0, "a channel that came later was told of nothing"
    assert len(log(book.store)) == 1


def test_a_rebuild_knows_what_lasts_and_what_is_over(book):
    evaluated(book, row(), row(project_id="another"))
    evaluated(book, row(project_id="another"))
    again = blank_store()
    for record in book.records:
        apply(again, record)
    names = recipients.with_incidents(config())
    lasting = [found.query("alerts/alerts_firing", endpoints=names) for found in (book.store, again)]
    assert lasting[0].equals(lasting[1])
    assert lasting[0].get_column("project_id").to_list() == ["another", "another"]


# -- PagerDuty


def delivered(book, settings, now=NOW) -> dict:
    book.now = now
    return dict(delivering.deliver_due(book, settings, SECRETS, now, lambda: now).outcomes)


def only(settings: Config, kind: str) -> Config:
    kept = tuple(one for one in settings.channels if one.kind == kind)
    return settings.model_copy(update={"channels": kept, "webhooks": ()})


def test_pagerduty_hears_of_the_begin_and_of_the_end(book):
    with receiving() as duty:
        settings = only(config(duty=duty.url), "pagerduty")
        evaluated(book, row(), settings=settings)
        assert delivered(book, settings) == {"delivered": 1}
        evaluated(book, row("10"), settings=settings)
        assert delivered(book, settings) == {"delivered": 1}
    begun, ended = (json.loads(body) for _, body in duty.posts)
    assert (begun["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert begun["dedup_key"] == ended["dedup_key"]


def test_a_begin_that_comes_through_only_after_its_end_opens_nothing(book):
    with receiving() as duty:
        settings = only(config(duty=duty.url), "pagerduty")
        evaluated(book, row(), settings=settings)
        duty.status = 500
        delivered(book, settings)
        evaluated(book, row("10"), settings=settings)
        duty.status = 202
        assert delivered(book, settings, NOW + timedelta(days=1)) == {"delivered": 2}
    assert [json.loads(body)["event_action"] for _, body in duty.posts] == ["trigger", "resolve", "resolve"]


def test_a_stall_ends_with_the_recovery(book):
    stall = recording.event_id("poll.stalled", "2026-10-16T09:00:00Z")
    with receiving() as duty:
        settings = only(config(duty=duty.url), "pagerduty")
        said = {"since": "2026-10-16T09:00:00Z", "summary": "x.", "faults": []}
        recording.announce(book, "poll.stalled", said, ["2026-10-16T09:00:00Z"], config=settings, now=NOW)
        recording.announce(book, "poll.recovered", {**said, "resolves": stall}, ["x"], config=settings, now=NOW)
        delivered(book, settings)
    assert [(json.loads(body)["event_action"], json.loads(body)["dedup_key"]) for _, body in duty.posts] == [
        ("resolve", stall),  # it was over already
        ("resolve", stall),
    ]


# -- Alertmanager


def test_alertmanager_is_reminded_of_what_lasts_until_it_ends(book):
    with receiving() as am:
        settings = only(config(am=am.url), "alertmanager")
        evaluated(book, row(), settings=settings)
        delivered(book, settings)
        assert firing.remind(book, settings, SECRETS, lambda: NOW + QUARTER) == ()
        evaluated(book, row("10"), settings=settings, now=NOW + 2 * QUARTER)
        delivered(book, settings, NOW + 2 * QUARTER)
        assert firing.remind(book, settings, SECRETS, lambda: NOW + 2 * QUARTER) == ()
    posts = [json.loads(body)[0] for _, body in am.posts]
    assert [(post["startsAt"][11:16], post["endsAt"][11:16]) for post in posts] == [
        ("12:00", "12:45"),
        ("12:00", "13:00"),
        ("12:00", "12:30"),
    ]
    assert len({json.dumps(post["labels"]) for post in posts}) == 1
    assert len(book.records) == 4, "a reminder is no fact: two alerts, two deliveries"


def test_what_waits_in_the_outbox_is_not_reminded_of(book):
    with receiving() as am:
        settings = only(config(am=am.url), "alertmanager")
        evaluated(book, row(), settings=settings)
        assert firing.remind(book, settings, SECRETS, lambda: NOW) == ()
    assert am.posts == []


def test_a_fleet_is_reminded_of_in_few_posts(book):
    with receiving() as am:
        settings = only(config(am=am.url), "alertmanager")
        evaluated(book, *(row(project_id=f"p{number:03d}") for number in range(201)), settings=settings)
        delivered(book, settings)
        am.posts.clear()
        firing.remind(book, settings, SECRETS, lambda: NOW)
    assert [len(json.loads(body)) for _, body in am.posts] == [200, 1]


def test_an_alertmanager_that_is_down_is_a_sentence_and_no_more(book):
    with receiving() as am:
        settings = only(config(am=am.url), "alertmanager")
        evaluated(book, row(), settings=settings)
        delivered(book, settings)
        am.status = 503
        assert firing.remind(book, settings, SECRETS, lambda: NOW) == (
            "alertmanager:am was not reminded of what lasts: the endpoint answered 503",
        )


# -- the real one


@pytest.fixture
def alertmanager(tmp_path):
    """The address of an Alertmanager of its own."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("no Alertmanager is installed (Debian: prometheus-alertmanager)")
    settings = tmp_path / "alertmanager.yml"
    manual = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    (rules,) = re.findall(r"^```yaml\n(.*?)^```", manual, re.MULTILINE | re.DOTALL)
    settings.write_text(f"route: {{receiver: nobody}}\nreceivers: [{{name: nobody}}]\n{rules}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [f"--config.file={settings}", f"--storage.path={tmp_path}", "--cluster.listen-address="]
    process = subprocess.Popen(
        [program, *options, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _ready(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()


def _ready(url: str) -> str:
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"{url}/-/ready") as answer:
                if answer.status == 200:
                    return url
        except urllib.error.URLError:
            time.sleep(0.05)
    raise AssertionError("Alertmanager did not start")


def firing_in(url: str) -> list[dict]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts?active=true") as answer:
        return json.load(answer)


def test_a_real_alertmanager_shows_what_lasts_and_drops_what_is_over(book, alertmanager):
    settings = only(config(am=alertmanager), "alertmanager")
    now = datetime.now(tz=UTC).replace(microsecond=0)
    fleet = [row(project_id=f"p-{name}", project_name=text, customer=text) for name, text in POISON.items()]
    evaluated(book, *fleet, settings=settings, now=now)
    assert sum(delivered(book, settings, now).values()) == len(fleet)
    assert firing.remind(book, settings, SECRETS, lambda: now + QUARTER) == ()
    shown = firing_in(alertmanager)
    assert {one["labels"]["project_id"] for one in shown} == {one.project_id for one in fleet}
    for one in shown:
        assert one["labels"]["alertname"] == "NeonQuotaThresholdReached"
        assert "used 83.00 % of its included compute time" in one["annotations"]["summary"]
        assert datetime.fromisoformat(one["endsAt"]) == now + 4 * QUARTER
    evaluated(book, settings=settings, now=now)
    assert delivered(book, settings, now) == {"delivered": len(fleet)}
    assert firing_in(alertmanager) == []


def test_by_the_manuals_rules_a_real_alertmanager_mutes_the_lower_thresholds(book, alertmanager):
    settings = only(config(am=alertmanager), "alertmanager")
    now = datetime.now(tz=UTC).replace(microsecond=0)
    for used, level in (("83", "warning"), ("96", "critical"), ("100", "exceeded")):
        evaluated(book, row(used, level=level), settings=settings, now=now)
    delivered(book, settings, now)
    muted: dict[str, bool] = {}
    for _ in range(100):  # its inhibitor hears of an alert a moment after its API
        muted = {
            one["labels"]["threshold_percent"]: bool(one["status"]["inhibitedBy"]) for one in firing_in(alertmanager)
        }
        if sum(muted.values()) == 2:
            break
        time.sleep(0.05)
    assert muted == {"80": True, "95": True, "100": False}
