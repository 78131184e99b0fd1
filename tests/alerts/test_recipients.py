"""Everybody who is told, over real sockets: who wants what, what arrives where, and that no secret is kept anywhere."""

import email
import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.policy import default

import pytest

from metering.alerts import delivering, recipients, recording
from metering.config import Channel, Config, Webhook
from metering.core.errors import CredentialsError
from metering.core.secrets import Secret
from metering.ledger import ledger
from metering.ledger.alert_log import attempts as alert_log_attempts
from metering.ledger.alert_log import log, outbox_depth
from metering.store import snapshots
from tests.alerts.test_alert import SECRET, MemoryLedger, row
from tests.alerts.test_channels import POISON
from tests.support.documents import printed
from tests.support.inbox import Inbox, receiving
from tests.support.mail_server import Post, mail_server

NOW = datetime(2026, 10, 16, 12, tzinfo=UTC)
AGAIN = timedelta(seconds=5)
ROUTING_KEY = "R0UT1NGKEY" + "0" * 22
PASSWORD = "hunter2-hunter2"
TOKEN = "t0k3n-t0k3n"


def clock() -> datetime:
    return NOW


@dataclass
class World:
    """A configuration with one channel of each kind and a webhook, each with a real server behind it."""

    config: Config
    secrets: dict[str, Secret]
    slack: Inbox
    pagerduty: Inbox
    alertmanager: Inbox
    webhook: Inbox
    post: Post


@pytest.fixture
def world():
    with ExitStack() as stack:
        slack, pagerduty, alertmanager, webhook = (stack.enter_context(receiving()) for _ in range(4))
        post = stack.enter_context(mail_server())
        slack.url = slack.url.replace("/hook", "/services/T000/B000/s3cr3tpath")
        channels = (
            channel("slack", "ops", secret_env="SLACK"),
            channel("pagerduty", "duty", secret_env="DUTY", url=pagerduty.url),
            channel("alertmanager", "am", secret_env="AM", url=alertmanager.url),
            channel(
                "email",
                "mail",
                secret_env="MAIL",
                url=f"smtp://localhost:{post.port}",
                user="metering",
                sender="metering@example.com",
                to=("a@example.com", "b@example.com"),
            ),
        )
        hook = Webhook(url=webhook.url, secret_env="HOOK", allow_private_network=True)
        yield World(
            config=Config(path="config.toml", webhooks=(hook,), channels=channels),
            secrets={
                "slack:ops": Secret(slack.url),
                "pagerduty:duty": Secret(ROUTING_KEY),
                "alertmanager:am": Secret(TOKEN),
                "email:mail": Secret(PASSWORD),
                webhook.url: Secret(SECRET),
            },
            slack=slack,
            pagerduty=pagerduty,
            alertmanager=alertmanager,
            webhook=webhook,
            post=post,
        )


def channel(kind: str, name: str, **settings) -> Channel:
    return Channel(kind=kind, name=name, allow_private_network=True, **settings)


EVERYBODY = ["alertmanager:am", "email:mail", "pagerduty:duty", "slack:ops"]


def tell(world: World, book: MemoryLedger, now: datetime = NOW) -> dict[str, int]:
    book.now = now
    return dict(delivering.deliver_due(book, world.config, world.secrets, now, clock).outcomes)


# -- who is told


def names(config: Config, kind: str) -> list[str]:
    return recipients.subscribers(config, kind)


def test_each_channel_is_told_what_it_asked_for_and_what_pages_only_of_what_ends():
    config = Config(
        path="config.toml",
        webhooks=(Webhook(url="https://hooks.example.com", secret_env="S", events=("invoice.*",)),),
        channels=(
            channel("slack", "all", secret_env="S"),
            channel("slack", "quota", secret_env="S", events=("quota.*",)),
            channel("pagerduty", "duty", secret_env="S", events=("*",)),
            channel("alertmanager", "am", url="https://am", events=("quota.exceeded",)),
        ),
    )
    assert names(config, "invoice.finalized") == ["https://hooks.example.com", "slack:all"]
    assert names(config, "quota.threshold_reached") == ["pagerduty:duty", "slack:all", "slack:quota"]
    assert names(config, "quota.exceeded") == ["alertmanager:am", "pagerduty:duty", "slack:all", "slack:quota"]
    assert names(config, "poll.recovered") == ["alertmanager:am", "pagerduty:duty", "slack:all"]
    assert names(config, "quota.resolved") == ["alertmanager:am", "pagerduty:duty"]


def test_a_month_that_waits_for_a_person_is_told_to_everybody_and_a_report_to_who_wants_it():
    config = Config(
        path="config.toml",
        webhooks=(Webhook(url="https://hooks.example.com", secret_env="S", events=("quota.exceeded",)),),
        channels=(
            channel("slack", "ops", secret_env="S"),
            channel("slack", "quota", secret_env="S", events=("quota.*",)),
            channel("pagerduty", "duty", secret_env="S"),
            channel("alertmanager", "am", url="https://am", events=("poll.*",)),
        ),
    )
    assert names(config, "close.blocked") == [
        "alertmanager:am",
        "https://hooks.example.com",
        "pagerduty:duty",
        "slack:ops",
        "slack:quota",
    ]
    assert names(config, "report.ready") == ["slack:ops"]


def test_the_end_of_a_crossing_is_no_event_that_a_webhook_could_ask_for():
    hook = Webhook(url="https://hooks.example.com", secret_env="S", events=("*",))
    assert names(Config(path="config.toml", webhooks=(hook,)), "quota.resolved") == []


# -- what arrives


def test_one_alert_reaches_everybody_in_their_own_form(world):
    book = MemoryLedger()
    recording.evaluate(book, [row()], world.config, NOW)
    assert tell(world, book) == {"delivered": 5}
    assert tell(world, book) == {}
    alert_id = log(book.store)[0].alert_id
    ((_, slack),) = world.slack.posts
    assert json.loads(slack)["text"].startswith("Project acme-cust7-pro-1756684800 of cust7 has used 83.00 %")
    ((headers, duty),) = world.pagerduty.posts
    assert (json.loads(duty)["dedup_key"], json.loads(duty)["routing_key"]) == (alert_id, ROUTING_KEY)
    assert not any(name.startswith("webhook-") for name in headers)
    ((headers, posted),) = world.alertmanager.posts
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(posted)[0]["endsAt"] == "2026-10-16T12:45:00Z"
    ((sender, to, raw),) = world.post.messages
    assert (sender, to) == ("metering@example.com", ["a@example.com", "b@example.com"])
    message = email.message_from_bytes(raw, policy=default)
    assert message["message-id"] == f"<{alert_id}@example.com>"
    assert "What to do: " in message.get_content()
    assert world.webhook.events() == [(alert_id, "quota.threshold_reached", 80)]


def test_the_log_shows_how_it_went_at_each_channel_by_kind_and_name(world):
    book = MemoryLedger()
    world.slack.status = 503
    world.post.replies["MAIL"] = "451 later"
    recording.evaluate(book, [row()], world.config, NOW)
    assert tell(world, book) == {"delivered": 3, "retry": 2}
    (one,) = printed(log(book.store))
    assert [(told["endpoint"], told["state"], told["error"]) for told in one["deliveries"]] == [
        ("alertmanager:am", "delivered", ""),
        ("email:mail", "pending", "the mail server answered 451"),
        (world.webhook.url, "delivered", ""),
        ("pagerduty:duty", "delivered", ""),
        ("slack:ops", "pending", "the endpoint answered 503"),
    ]
    world.slack.status = 200
    del world.post.replies["MAIL"]
    assert tell(world, book, NOW + AGAIN) == {"delivered": 2}


def test_every_attempt_by_mail_and_at_pagerduty_has_the_same_bytes(world):
    book = MemoryLedger()
    world.pagerduty.status = 500
    world.post.replies["message"] = "451 later"
    recording.evaluate(book, [row()], world.config, NOW)
    tell(world, book)
    world.pagerduty.status = 202
    tell(world, book, NOW + AGAIN)
    assert len({body for _, body in world.pagerduty.posts}) == 1


def test_a_message_that_a_mail_server_never_takes_fails_alone_after_the_whole_schedule(world):
    book = MemoryLedger()
    only_mail = world.config.model_copy(update={"channels": world.config.channels[3:], "webhooks": ()})
    world.post.replies["message"] = "554 spam"
    recording.evaluate(book, [row()], only_mail, NOW)
    moment = NOW
    for _ in range(10):
        book.now = moment
        delivering.deliver_due(book, only_mail, world.secrets, moment, clock)
        moment += timedelta(hours=24)
    ((endpoint, state, attempts),) = [
        (told.endpoint, told.state, told.attempts) for told in log(book.store)[0].deliveries
    ]
    assert (endpoint, state, attempts) == ("email:mail", "failed", 10)
    world.post.replies.clear()
    recording.evaluate(book, [row(project_id="another")], only_mail, NOW)
    assert delivering.deliver_due(book, only_mail, world.secrets, moment, clock).outcomes == {"delivered": 1}


def test_an_alert_sent_again_reaches_every_channel_again(world):
    book = MemoryLedger()
    recording.evaluate(book, [row()], world.config, NOW)
    tell(world, book)
    again = recording.resend(book, log(book.store)[0].alert_id, world.config, NOW)
    assert again == sorted([*EVERYBODY, world.webhook.url])
    assert tell(world, book) == {"delivered": 5}
    assert world.post.messages[0] == world.post.messages[1]


def test_a_test_reaches_everybody_opens_an_incident_and_ends_it(world):
    sent = delivering.test_event(world.config, world.secrets, NOW, clock)
    assert [(name, attempt.outcome) for name, attempt in sent] == [
        (name, "delivered") for name in sorted([*EVERYBODY, world.webhook.url])
    ]
    assert [json.loads(body)["event_action"] for _, body in world.pagerduty.posts] == ["trigger", "resolve"]
    assert json.loads(world.alertmanager.posts[0][1])[0]["labels"]["alertname"] == "MeteringTest"


@pytest.mark.parametrize("text", POISON.values(), ids=POISON)
def test_a_name_that_means_harm_arrives_everywhere_as_text(world, text):
    book = MemoryLedger()
    recording.evaluate(book, [row(project_name=text, customer=text, plan=text)], world.config, NOW)
    assert tell(world, book) == {"delivered": 5}
    events = [json.loads(inbox.posts[0][1]) for inbox in (world.slack, world.pagerduty, world.alertmanager)]
    assert "<" not in json.dumps(events[0])
    ((_, to, raw),) = world.post.messages
    assert to == ["a@example.com", "b@example.com"]
    assert email.message_from_bytes(raw, policy=default)["bcc"] is None


# -- secrets


def test_the_address_that_is_a_secret_is_in_no_log(world, caplog):
    caplog.set_level("INFO")
    delivering.test_event(world.config, world.secrets, NOW, clock)
    assert len(world.slack.posts) == 1
    assert "s3cr3tpath" not in caplog.text


def test_a_secret_stands_neither_in_the_journal_nor_in_the_store_nor_in_the_log(world, tmp_path):
    world.pagerduty.status = 500
    world.slack.status = 404
    world.post.replies["AUTH"] = f"535 no {PASSWORD}"
    with ledger.open_ledger(tmp_path, clock) as book:
        recording.evaluate(book, [row()], world.config, NOW)
        assert delivering.deliver_due(book, world.config, world.secrets, NOW, clock).outcomes == {
            "delivered": 2,
            "retry": 3,
        }
        shown = json.dumps([printed(log(book.store)), alert_log_attempts(book.store), outbox_depth(book.store)])
    with snapshots.open_reader(tmp_path) as found:
        shown += json.dumps(printed(log(found)))
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) + shown.encode()
    for secret in ("s3cr3tpath", ROUTING_KEY, PASSWORD, TOKEN):
        assert secret.encode() not in kept


def test_a_secret_is_in_no_repr(world):
    ready, faults = recipients.ready(world.config, world.secrets)
    assert faults == ()
    found = repr(ready) + repr([recipients.tests(one, "alert_1", TEST_BODY, NOW) for one in ready.values()])
    for secret in ("s3cr3tpath", ROUTING_KEY, PASSWORD, TOKEN):
        assert secret not in found


TEST_BODY = recording.body("webhook.test", {"alert_id": "alert_1", "summary": "A test."}, NOW)


@pytest.mark.parametrize("secret", ["not-a-url", "ftp://x", "https://", "https://me:pw@hooks.slack.com/x"])
def test_a_slack_secret_that_is_no_url_is_named_without_being_repeated(secret):
    config = Config(path="config.toml", channels=(channel("slack", "ops", secret_env="SLACK"),))
    ready, faults = recipients.ready(config, {"slack:ops": Secret(secret)})
    assert (ready, faults) == ({}, ("slack:ops: the secret is no URL",))


def test_who_lacks_a_secret_is_named_and_who_needs_none_is_ready():
    config = Config(
        path="config.toml",
        channels=(
            channel("slack", "ops", secret_env="SLACK"),
            channel("alertmanager", "am", url="https://alertmanager.example.com/prefix/"),
            channel("email", "mail", url="smtps://mail.example.com", sender="m@example.com", to=("a@example.com",)),
            channel("pagerduty", "duty", secret_env="DUTY"),
        ),
    )
    ready, faults = recipients.ready(config, {"pagerduty:duty": Secret("R" * 32)})
    assert faults == ("slack:ops: no secret",)
    assert ready["alertmanager:am"].target.url == "https://alertmanager.example.com/prefix/api/v2/alerts"
    assert ready["pagerduty:duty"].target.url == "https://events.pagerduty.com/v2/enqueue"
    assert (ready["email:mail"].target.port, ready["email:mail"].target.is_tls) == (465, True)
    with pytest.raises(CredentialsError, match="slack:ops: no secret"):
        delivering.test_event(config, {}, NOW, clock)


@pytest.mark.parametrize("kind", ["slack", "pagerduty", "alertmanager", "email"])
def test_an_address_that_is_not_public_is_refused_at_every_channel_unless_allowed(world, kind):
    guarded = [
        one.model_copy(update={"allow_private_network": False}) for one in world.config.channels if one.kind == kind
    ]
    config = Config(path="config.toml", channels=tuple(guarded))
    book = MemoryLedger()
    recording.evaluate(book, [row()], config, NOW)
    assert delivering.deliver_due(book, config, world.secrets, NOW, clock).outcomes == {"refused": 1}
    assert world.slack.posts == world.pagerduty.posts == world.alertmanager.posts == world.post.said == []
