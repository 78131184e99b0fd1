"""What each channel gets: one wording, escaped as its reader needs it, also with names that mean harm."""

import email
import json
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from email.policy import default
from pathlib import Path

import pytest

from metering.alerts import recording
from metering.alerts.channels import alertmanager, pagerduty, slack
from metering.alerts.channels import email as email_channel
from metering.alerts.channels.kind import severity
from metering.alerts.wording import plain, worded
from metering.quotas.crossings import Crossing, key_of
from metering.quotas.rows import QuotaRow
from tests.support.quota_row import quota_row

NOW = datetime(2026, 10, 15, 9, 5, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)

POISON = {
    "html": "<script>alert(1)</script>&amp;<b>",
    "mention": "<!channel> <@U012AB3CD> <!here|x> @everyone",
    "link": "<https://evil.example|click> https://evil.example [x](javascript:1)",
    "formula": '=HYPERLINK("https://evil.example")',
    "header": "x\r\nBcc: all@example.com\r\n\r\nbody",
    "lines": "a\nb\u2028c\u2029d\x85e\x0bf",
    "control": "\x00\x07\x1b[31mred\x7f",
    "right to left": "مرحبا بالعالم",
    "override": "abc\u202egpj.exe\u202c\u2066x",
    "markdown": "*bold* _it_ ~no~ `code` :fire:",
    "long": "n" * 300,
    "wide": "😀" * 300,
    "surrogate": "\ud800",
    "braces": "{{ .Labels }} ${x} %s {0}",
}


def row(**changes) -> QuotaRow:
    document = {
        "project_id": "calm-frog-01056041",
        "project_name": "acme-cust87-pro-1785788732",
        "customer": "cust87",
        "plan": "pro",
        "quota": "compute_time_seconds",
        "used": "67096",
        "limit": "76245",
        "limit_source": "neon",
        "unit": "CU-second",
        "percent": "88.00",
        "threshold_percent": 80,
        "level": "warning",
        "source": "counter",
        "observed_at": "2026-10-15T09:05:00Z",
        "period": {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"},
        "forecast": {"percent_at_period_end": "189.18", "reaches_100_at": "2026-10-17T09:16:28Z"},
        **changes,
    }
    return quota_row(document)


def event(threshold: int = 80, customer_name: str = "Customer 87", **changes) -> dict:
    """A quota event as it comes back from the ledger."""
    reading = row(**changes)
    crossing = Crossing(key=key_of(reading, threshold), status="send", reason="", row=reading)
    data = recording.quota_data(crossing, {"cust87": customer_name})
    found: dict = json.loads(recording.body(recording.event_type(threshold), data, NOW))
    return found


def other(kind: str, **data) -> dict:
    found: dict = json.loads(recording.body(kind, {"alert_id": "alert_1", **data}, NOW))
    return found


STALL = other(
    "poll.stalled",
    since="2026-10-15T08:00:20Z",
    last_complete_at="2026-10-15T08:00:20Z",
    poll_minutes="15",
    faults=["organization org-1, hourly history: failed", "org-2: failed"],
    summary="No polling cycle was complete since 2026-10-15T08:00:20Z: usage and quotas are as old as that.",
)
RECOVERY = other(
    "poll.recovered",
    since="2026-10-15T08:00:20Z",
    resolves="alert_stall",
    recovered_at="2026-10-15T09:00:00Z",
    summary="Polling is complete again at 2026-10-15T09:00:00Z; it was not since 2026-10-15T08:00:20Z.",
)
INVOICE = other(
    "invoice.finalized",
    number="INV-2026-000001",
    customer={"id": "cust87", "name": "Customer 87"},
    currency="USD",
    period={"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"},
    issued_at="2026-10-15T10:05:00Z",
    due_at="2026-11-14T10:05:00Z",
    subtotal="2.00",
    total="2.42",
)
VOID = other(
    "invoice.voided",
    **{name: value for name, value in INVOICE["data"].items() if name not in ("alert_id", "due_at")},
    credit_note="CN-2026-000001",
    reason="wrong price",
)
BLOCKED = other(
    "close.blocked",
    month="2026-09",
    reasons=[
        {
            "kind": "unassigned",
            "projects": "2",
            "neon_cost": "12.40",
            "reason": "usage of projects that nobody pays for (2 projects, Neon cost 12.40 USD)",
            "way_out": "map them",
        },
        {
            "kind": "seller",
            "projects": "3",
            "neon_cost": None,
            "reason": "seller.name is empty (3 projects, Neon cost unknown)",
            "way_out": "write it",
        },
    ],
    summary="2026-09 does not close by itself: …",
)
FAILING = other(
    "delivery.failing",
    endpoint="slack:ops",
    state="disabled",
    since="2026-10-15T10:05:00Z",
    error="the endpoint is gone (410)",
    way_out="give it another URL or secret, or run `metering alerts enable slack:ops`",
    summary="slack:ops is off: it answered that it is gone (410).",
)
REPORT = other("report.ready", month="2026-09", status="draft", summary="The draft report of 2026-09 is written.")
TEST = other("webhook.test", summary="A test of this endpoint: nothing happened.")
OVER = other(
    "quota.resolved",
    **{
        **event()["data"],
        "alert_id": "alert_2",
        "resolves": event()["data"]["alert_id"],
        "reason": "a new period began",
    },
)
EVERY_EVENT = [event(), event(100), OVER, STALL, RECOVERY, INVOICE, VOID, BLOCKED, FAILING, REPORT, TEST]


# -- the wording


def test_an_endpoint_that_fails_is_told_with_the_reason_and_what_to_do_about_it():
    told = worded(FAILING)
    assert told.title == "slack:ops is off: it answered that it is gone (410)"
    assert told.facts == (
        ("Since", "2026-10-15 10:05 UTC"),
        ("Why", "the endpoint is gone (410)"),
        ("What to do", "give it another URL or secret, or run `metering alerts enable slack:ops`"),
        ("Alert", "alert_1"),
    )
    assert severity(FAILING) == "warning"


def test_a_blocked_month_is_told_with_each_reason_and_what_to_do_about_it():
    told = worded(BLOCKED)
    assert told.title == "2026-09 does not close by itself"
    assert told.facts == (
        ("Why", "usage of projects that nobody pays for (2 projects, Neon cost 12.40 USD)"),
        ("What to do", "map them"),
        ("Why", "seller.name is empty (3 projects, Neon cost unknown)"),
        ("What to do", "write it"),
        ("Alert", "alert_1"),
    )
    assert severity(BLOCKED) == "warning"
    [posted] = json.loads(alertmanager.message([(BLOCKED, False)], NOW, HALF_HOUR))
    assert (posted["labels"]["alertname"], posted["labels"]["month"]) == ("MeteringCloseBlocked", "2026-09")
    assert worded(REPORT).title == "The report of 2026-09 is ready, as a draft"


def test_an_alert_says_who_how_much_until_when_what_then_what_to_do_and_how_fresh():
    told = worded(event())
    assert (
        told.title == "Project acme-cust87-pro-1785788732 of Customer 87 has used 88.00 % of its included compute time"
    )
    assert told.facts == (
        ("Used", "18.63 of 21.17 CU-hours (67096 of 76245 CU-seconds), 88.00 %"),
        ("Period", "2026-10-01 00:00 UTC to 2026-11-01 00:00 UTC, when it starts again from zero"),
        (
            "At 100 %",
            "Neon suspends all computes of the project; they do not start again on connection until the billing "
            "period ends or the quota is raised or removed.",
        ),
        (
            "What to do",
            "tell the customer, move it to a larger plan (`metering upgrade calm-frog-01056041 --plan …`) or raise "
            "its quota, before it is full",
        ),
        ("Forecast", "100 % on 2026-10-17 09:16 UTC; 189.18 % at the period’s end, at this pace"),
        (
            "As of",
            "2026-10-15 09:05 UTC, by Neon’s own counter; Neon measures every 15 minutes and may be an hour late",
        ),
        ("Project", "calm-frog-01056041"),
        ("Plan", "pro"),
        ("Alert", told.facts[-1][1]),
    )


def test_the_manual_shows_what_its_event_is_worded_as():
    manual = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    shown = json.loads(re.search(r'^```json\n(\{"type": "quota.*?)^```', manual, re.MULTILINE | re.DOTALL)[1])
    (text,) = re.findall(r"^```text\n(.*?)^```", manual, re.MULTILINE | re.DOTALL)
    assert text == f"{worded(shown).title}.\n\n{worded(shown).lines}\n"
    summary, dots = shown["data"]["summary"][:-1], shown["data"]["summary"][-1]
    assert dots == "…"
    assert worded(shown).paragraph.startswith(summary)


def fact(told_event: dict, label: str) -> str:
    return dict(worded(told_event).facts)[label]


def test_bytes_are_told_in_gigabytes_and_as_they_are():
    told = event(quota="data_transfer_bytes", unit="byte", used="49999999999", limit="50000000000", percent="99.99")
    assert fact(told, "Used") == "49.99 of 50.00 GB (49999999999 of 50000000000 bytes), 99.99 %"


def test_hours_never_look_full_before_they_are():
    assert fact(event(used="359999", limit="360000", percent="99.99"), "Used").startswith("99.99 of 100.00 CU-hours")


def test_a_limit_below_one_unit_is_told_as_it_is():
    assert fact(event(used="83", limit="3599"), "Used") == "83 of 3599 CU-seconds, 88.00 %"
    assert fact(event(used="83", limit="3600"), "Used").startswith("0.02 of 1.00 CU-hours (")


def test_a_full_quota_says_that_all_is_used():
    told = event(100, percent="104.08")
    assert worded(told).title.endswith("has used all of its included compute time: 104.08 %")


def test_a_full_size_fails_writes_does_not_start_again_and_wants_data_deleted():
    told = event(
        quota="logical_size_bytes", unit="byte", used="9000000000", limit="10000000000", percent="90.00", forecast=None
    )
    assert "Writes to the full branch fail" in fact(told, "At 100 %")
    assert "does not start again from zero" in fact(told, "Period")
    assert fact(told, "What to do").startswith("have data deleted from the largest branch")
    assert "Forecast" not in dict(worded(told).facts)


def test_a_limit_that_neon_does_not_know_suspends_nothing():
    assert fact(event(limit_source="plan"), "At 100 %").startswith("nothing is suspended: Neon has no quota")


def test_a_forecast_below_the_limit_names_no_day():
    below = {"percent_at_period_end": "91.00", "reaches_100_at": None}
    assert fact(event(forecast=below), "Forecast") == "91.00 % at the period’s end, at this pace"


def test_a_project_that_nobody_pays_for_is_called_by_its_id():
    told = worded(event(project_name=None, customer=None, plan=None))
    assert told.title.startswith("Project calm-frog-01056041 has used")
    assert {"Project", "Plan"}.isdisjoint(dict(told.facts))


def test_a_customer_that_is_called_like_its_project_is_named_once():
    told = worded(event(customer="calm-frog-01056041"))
    assert told.title == "Project acme-cust87-pro-1785788732 has used 88.00 % of its included compute time"


def test_what_is_full_is_not_said_to_become_full():
    assert fact(event(80), "What to do").endswith("before it is full")
    assert fact(event(100), "What to do").endswith("or raise its quota")


def test_history_is_named_as_the_source():
    assert "by the consumption history" in fact(event(source="history"), "As of")


def test_the_other_events_have_a_title_and_what_to_do():
    assert worded(INVOICE).title == "Invoice INV-2026-000001 of Customer 87: 2.42 USD"
    assert fact(INVOICE, "Due") == "2026-11-14 10:05 UTC"
    assert worded(VOID).title == "Invoice INV-2026-000001 of Customer 87 is void"
    assert (fact(VOID, "Credit note"), fact(VOID, "Reason")) == ("CN-2026-000001", "wrong price")
    assert worded(STALL).title.startswith("No polling cycle was complete since 2026-10-15T08:00:20Z")
    assert "metering status" in fact(STALL, "What to do")
    assert [text for label, text in worded(STALL).facts if label == "Fault"] == STALL["data"]["faults"]
    assert worded(RECOVERY).title.startswith("Polling is complete again")
    assert worded(TEST).title == "A test of this endpoint: nothing happened"


@pytest.mark.parametrize("text", POISON.values(), ids=POISON)
def test_a_name_ends_no_line_hides_nothing_and_turns_no_direction(text):
    shown = plain(text)
    assert len(shown.splitlines()) == 1
    allowed = {"\u2068", "\u2069", "\u200c", "\u200d"}
    assert all(c in allowed or unicodedata.category(c)[0] != "C" for c in shown)
    assert shown.count("\u2068") == shown.count("\u2069") == (1 if text == POISON["right to left"] else 0)


# -- Slack


def slack_texts(message: dict) -> list[str]:
    return [message["text"], *(block["text"]["text"] for block in message["blocks"])]


@pytest.mark.parametrize("text", POISON.values(), ids=POISON)
def test_in_slack_a_name_mentions_nobody_and_is_no_markup(text):
    message = json.loads(slack.message(event(customer_name=text, project_name=text, plan=text)))
    assert all(block["text"]["type"] == "plain_text" for block in message["blocks"])
    assert all(block["text"]["emoji"] is False for block in message["blocks"])
    assert (message["mrkdwn"], message["link_names"], message["unfurl_links"]) == (False, False, False)
    for shown in slack_texts(message):
        assert "<" not in shown
        assert ">" not in shown
        rest = shown.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert "&" not in rest, "an entity was cut in two"
    header, section = (block["text"]["text"] for block in message["blocks"])
    assert len(header) <= 150
    assert len(section) <= 3000


def test_slack_gets_the_title_and_every_fact():
    message = json.loads(slack.message(event()))
    header, section = (block["text"]["text"] for block in message["blocks"])
    assert header == worded(event()).title
    assert section.splitlines()[0] == "Used: 18.63 of 21.17 CU-hours (67096 of 76245 CU-seconds), 88.00 %"
    assert len(section.splitlines()) == len(worded(event()).facts)


@pytest.mark.parametrize(("length", "cut"), [(150, False), (151, True)])
def test_a_header_is_cut_at_150_characters(length, cut):
    base = len(worded(event(customer_name="")).title)
    name = "n" * (length - base - len(" of "))
    header = json.loads(slack.message(event(customer_name=name)))["blocks"][0]["text"]["text"]
    assert len(header) == 150
    assert header.endswith("…") is cut


# -- PagerDuty


def test_pagerduty_opens_an_incident_and_ends_it_under_the_same_key():
    begun = json.loads(pagerduty.message(event(), "R" * 32, is_over=False))
    alert_id = event()["data"]["alert_id"]
    assert (begun["routing_key"], begun["event_action"], begun["dedup_key"]) == ("R" * 32, "trigger", alert_id)
    assert begun["payload"]["source"] == "calm-frog-01056041"
    assert begun["payload"]["timestamp"] == "2026-10-15T09:05:00Z"
    assert begun["payload"]["custom_details"]["Used"].startswith("18.63 of 21.17")
    assert json.loads(pagerduty.message(OVER, "R" * 32, is_over=True)) == {
        "routing_key": "R" * 32,
        "event_action": "resolve",
        "dedup_key": alert_id,
    }


@pytest.mark.parametrize(
    ("told", "severity"),
    [
        (event(100, level="exceeded"), "critical"),
        (event(95, level="critical"), "error"),
        (event(80, level="warning"), "warning"),
        (STALL, "error"),
        (TEST, "info"),
    ],
)
def test_severity_goes_by_the_level(told, severity):
    assert json.loads(pagerduty.message(told, "R", is_over=False))["payload"]["severity"] == severity


@pytest.mark.parametrize("text", POISON.values(), ids=POISON)
def test_a_summary_has_one_line_of_at_most_1024_characters(text):
    sent = pagerduty.message(event(customer_name=text, project_name=text), "R", is_over=False)
    summary = json.loads(sent)["payload"]["summary"]
    assert len(summary) <= 1024
    assert len(summary.splitlines()) == 1


def test_a_longer_summary_is_cut_at_1024_characters():
    for length in (1024, 1025):
        told = other("poll.recovered", since="2026-10-15T08:00:20Z", summary="s" * length)
        summary = json.loads(pagerduty.message(told, "R", is_over=False))["payload"]["summary"]
        assert len(summary) == 1024
        assert summary.endswith("…") is (length > 1024)


# -- Alertmanager


def posted(*told: tuple[dict, bool]) -> list[dict]:
    found: list[dict] = json.loads(alertmanager.message(told, NOW + HALF_HOUR, timedelta(minutes=45)))
    return found


def test_alertmanagers_labels_are_identity_and_its_annotations_the_words():
    (one,) = posted((event(), False))
    assert one["labels"] == {
        "alertname": "NeonQuotaThresholdReached",
        "job": "metering",
        "severity": "warning",
        "project_id": "calm-frog-01056041",
        "quota": "compute_time_seconds",
        "threshold_percent": "80",
        "alert_id": event()["data"]["alert_id"],
    }
    assert one["annotations"]["summary"] == worded(event()).title
    assert one["annotations"]["description"].startswith("Used: 18.63 of 21.17 CU-hours")
    assert (one["startsAt"], one["endsAt"]) == ("2026-10-15T09:05:00Z", "2026-10-15T10:20:00Z")


def test_the_labels_are_the_same_when_the_value_moved_and_when_it_is_over():
    began = event()
    moved = event(used="70000", percent="91.80")
    first, second, third = posted((began, False), (moved, False), (OVER, True))
    assert first["labels"] == second["labels"] == third["labels"]
    assert third["endsAt"] == "2026-10-15T09:35:00Z"
    stalled, recovered = posted((STALL, False), (RECOVERY, True))
    assert stalled["labels"] == recovered["labels"]


def test_no_alert_starts_after_its_end_when_the_business_clock_is_ahead():
    ahead = {**event(), "timestamp": "2027-01-01T00:00:00Z"}
    (one,) = posted((ahead, True))
    assert one["startsAt"] == one["endsAt"] == "2026-10-15T09:35:00Z"


def test_a_test_lasts_a_minute():
    (one,) = posted((TEST, False))
    assert one["labels"] == {"alertname": "MeteringTest", "job": "metering", "severity": "info"}
    assert one["endsAt"] == "2026-10-15T09:36:00Z"


# -- e-mail


def mail(told: dict) -> email.message.EmailMessage:
    return email.message_from_bytes(
        email_channel.message(told, "metering@example.com", ["a@example.com"]), policy=default
    )


def test_a_message_has_the_words_and_the_alerts_id_and_time():
    told = event()
    message = mail(told)
    assert message["from"] == "metering <metering@example.com>"
    assert message["to"] == "a@example.com"
    assert message["subject"] == worded(told).title
    assert message["message-id"] == f"<{told['data']['alert_id']}@example.com>"
    assert message["date"].datetime == NOW
    assert message["auto-submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert message.get_content().splitlines()[0] == worded(told).title + "."
    assert message.get_content().splitlines()[2:] == worded(told).lines.splitlines()


def test_every_attempt_has_the_same_bytes():
    assert email_channel.message(event(), "m@example.com", ["a@example.com"]) == email_channel.message(
        event(), "m@example.com", ["a@example.com"]
    )


@pytest.mark.parametrize("text", POISON.values(), ids=POISON)
def test_a_name_adds_no_header_and_is_read_back_as_it_was(text):
    told = event(customer_name=text, project_name=text, plan=text)
    raw = email_channel.message(told, "metering@example.com", ["a@example.com"])
    message = email.message_from_bytes(raw, policy=default)
    names = "from to subject date message-id auto-submitted content-type content-transfer-encoding mime-version"
    assert sorted(name.lower() for name, _ in message.items()) == sorted(names.split())
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert " ".join(message["subject"].split()) == " ".join(worded(told).title.split())
    assert message.get_content().splitlines()[2:] == worded(told).lines.splitlines()
    assert not message.defects


@pytest.mark.parametrize("told", EVERY_EVENT, ids=lambda told: told["type"])
def test_every_event_has_words_for_every_channel(told):
    assert worded(told).title
    slack.message(told)
    pagerduty.message(told, "R", is_over=False)
    if not told["type"].startswith("invoice."):
        assert posted((told, False))
    assert mail(told)["subject"]
