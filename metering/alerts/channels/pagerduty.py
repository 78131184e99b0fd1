"""Messages for PagerDuty, Events API v2: an alert opens an incident, and its end resolves it. Pure."""

from collections.abc import Iterable

from metering.alerts.channels.kind import Kind, clipped, endpoint, json_bytes, severity, subject_id
from metering.alerts.wording import Event, worded
from metering.config import ChannelKeys

URL = "https://events.pagerduty.com/v2/enqueue"
LONGEST_SUMMARY = 1024


def message(event: Event, routing_key: str, *, is_over: bool) -> bytes:
    """An event of Events API v2: `trigger`, or `resolve` if the alert is over, with the same dedup_key."""
    sent: dict[str, object] = {
        "routing_key": routing_key,
        "event_action": "resolve" if is_over else "trigger",
        "dedup_key": subject_id(event),
    }
    if not is_over:
        words = worded(event)
        sent["client"] = "metering"
        sent["payload"] = {
            "summary": clipped(words.title, LONGEST_SUMMARY),
            "source": _source(event),
            "severity": severity(event),
            "timestamp": event["timestamp"],
            "class": event["type"],
            "custom_details": _details(words.facts),
        }
    return json_bytes(sent)


def _source(event: Event) -> str:
    project = event["data"].get("project")
    return str(project["id"]) if project else "metering"


def _details(facts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Facts by label; facts with the same label are joined by line breaks."""
    details: dict[str, str] = {}
    for label, text in facts:
        details[label] = f"{details[label]}\n{text}" if label in details else text
    return details


KIND = Kind(
    keys=ChannelKeys(required={"secret"}, optional={"url"}),
    target=lambda channel, _: endpoint(channel, channel.url or URL),
    message=lambda event, to, _now, is_over: message(event, to.secret, is_over=is_over),
    has_incidents=True,
    has_lasting_tests=True,
)
