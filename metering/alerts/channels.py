"""An event as each channel wants it: Slack's blocks, PagerDuty's and Alertmanager's JSON, an e-mail.

Pure: events in, bytes out; the words are wording.py's. Names come from strangers, so each form is escaped as its reader
needs it. Must not know an address, a schedule, or what was told before.
"""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from metering.alerts.wording import Event, worded
from metering.core.period import parse_time, rfc3339
from metering.core.quotas import EXCEEDED_PERCENT

LONGEST_SLACK_HEADER = 150
LONGEST_SLACK_TEXT = 3000
LONGEST_PAGERDUTY_SUMMARY = 1024
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_TEST_LASTS = timedelta(minutes=1)


def subject_id(event: Event) -> str:
    """The id of the alert that an event begins or ends: both are about the same incident."""
    return str(event["data"].get("resolves") or event["data"]["alert_id"])


def severity(event: Event) -> str:
    """How bad it is, in PagerDuty's words: critical, error, warning or info."""
    kind, data = event["type"], event["data"]
    if kind.startswith("quota."):
        if data["threshold_percent"] >= EXCEEDED_PERCENT:
            return "critical"
        return "error" if data.get("level") == "critical" else "warning"
    return "error" if kind.startswith("poll.") else "warning" if kind == "close.blocked" else "info"


# -- Slack


def slack(event: Event) -> bytes:
    """A message of plain-text blocks: in these, a name can mention nobody, link nowhere and draw no emoji."""
    told = worded(event)
    message = {
        # What notifications and screen readers get instead of the blocks.
        "text": _escaped(told.title, LONGEST_SLACK_TEXT),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": _plain_text(told.title, LONGEST_SLACK_HEADER)},
            {"type": "section", "text": _plain_text(told.lines, LONGEST_SLACK_TEXT)},
        ],
    }
    return _json(message)


def _plain_text(text: str, most: int) -> dict[str, object]:
    return {"type": "plain_text", "text": _escaped(text, most), "emoji": False}


def _escaped(text: str, most: int) -> str:
    """The text as Slack wants it, at most so long, with no entity cut in two."""
    whole = "".join(_HTML.get(character, character) for character in text)
    if len(whole) <= most:
        return whole
    kept = ""
    for character in text:
        shown = _HTML.get(character, character)
        if len(kept) + len(shown) >= most:
            break
        kept += shown
    return kept + "…"


# -- PagerDuty


def pagerduty(event: Event, routing_key: str, *, is_over: bool) -> bytes:
    """An event of Events API v2: `trigger`, or `resolve` once it is over, under the same dedup_key."""
    sent: dict[str, object] = {
        "routing_key": routing_key,
        "event_action": "resolve" if is_over else "trigger",
        "dedup_key": subject_id(event),
    }
    if not is_over:
        told = worded(event)
        sent["client"] = "metering"
        sent["payload"] = {
            "summary": _clipped(told.title, LONGEST_PAGERDUTY_SUMMARY),
            "source": _source(event),
            "severity": severity(event),
            "timestamp": event["timestamp"],
            "class": event["type"],
            "custom_details": _details(told.facts),
        }
    return _json(sent)


def _source(event: Event) -> str:
    project = event["data"].get("project")
    return str(project["id"]) if project else "metering"


def _details(facts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The facts by label; those that share one stand under it line by line."""
    found: dict[str, str] = {}
    for label, text in facts:
        found[label] = f"{found[label]}\n{text}" if label in found else text
    return found


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


# -- Alertmanager


def alertmanager(events: Iterable[tuple[Event, bool]], now: datetime, lasts: timedelta) -> bytes:
    """A list of alerts for `POST /api/v2/alerts`: each ends `lasts` from now unless it is posted again, or now if over.

    Labels say which alert it is and never a value; what changes stands in the annotations.
    """
    return _json([_alert(event, now, now if is_over else now + lasts) for event, is_over in events])


def _alert(event: Event, now: datetime, ends_at: datetime) -> dict[str, object]:
    told = worded(event)
    if event["type"] == "webhook.test":
        ends_at = now + _TEST_LASTS
    # In a rehearsal the event may lie ahead of the real time, and no alert may start after its end.
    starts_at = min(parse_time(event["data"].get("started_at") or event["timestamp"]), now)
    return {
        "labels": _labels(event),
        "annotations": {"summary": told.title, "description": told.lines},
        "startsAt": rfc3339(starts_at),
        "endsAt": rfc3339(ends_at),
    }


def _labels(event: Event) -> dict[str, str]:
    kind, data = event["type"], event["data"]
    labels = {"job": "metering", "severity": severity(event)}
    if kind == "close.blocked":
        return labels | {"alertname": "MeteringCloseBlocked", "month": data["month"], "alert_id": subject_id(event)}
    if not kind.startswith("quota."):
        return labels | {"alertname": "MeteringPollStalled" if kind.startswith("poll.") else "MeteringTest"}
    is_exceeded = data["threshold_percent"] >= EXCEEDED_PERCENT
    return labels | {
        "alertname": "NeonQuotaExceeded" if is_exceeded else "NeonQuotaThresholdReached",
        "project_id": data["project"]["id"],
        "quota": data["quota"],
        "threshold_percent": str(data["threshold_percent"]),
        "alert_id": subject_id(event),
    }


# -- e-mail


def email(event: Event, sender: str, recipients: Iterable[str]) -> bytes:
    """A message in plain text, the same bytes at every attempt: Date and Message-ID are the event's."""
    told = worded(event)
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(display_name="metering", addr_spec=sender)
    message["To"] = [Address(addr_spec=recipient) for recipient in recipients]
    message["Subject"] = told.title
    message["Date"] = format_datetime(parse_time(event["timestamp"]))
    message["Message-ID"] = f"<{event['data']['alert_id']}@{sender.rpartition('@')[2]}>"
    # Nobody's out-of-office reply is wanted (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{told.title}.\n\n{told.lines}\n")
    return message.as_bytes()


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
