"""Messages for Prometheus Alertmanager, API v2: alerts that expire unless they are posted again. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from metering.alerts.channels.kind import Kind, endpoint, json_bytes, severity, subject_id
from metering.alerts.targets import Endpoint
from metering.alerts.wording import Event, worded
from metering.config import Channel, ChannelKeys
from metering.core.period import parse_time, rfc3339
from metering.core.quotas import EXCEEDED_PERCENT

_TEST_LASTS = timedelta(minutes=1)


def message(events: Iterable[tuple[Event, bool]], now: datetime, lasts: timedelta) -> bytes:
    """A list of alerts for `POST /api/v2/alerts`. Each ends now if it is over, otherwise after `lasts`.

    Labels identify the alert and contain no values; values that change are annotations.
    """
    return json_bytes([_alert(event, now, now if is_over else now + lasts) for event, is_over in events])


def _alert(event: Event, now: datetime, ends_at: datetime) -> dict[str, object]:
    words = worded(event)
    if event["type"] == "webhook.test":
        ends_at = now + _TEST_LASTS
    # Under METERING_NOW the event may be later than the real time, and no alert may start after its end.
    starts_at = min(parse_time(event["data"].get("started_at") or event["timestamp"]), now)
    return {
        "labels": _labels(event),
        "annotations": {"summary": words.title, "description": words.lines},
        "startsAt": rfc3339(starts_at),
        "endsAt": rfc3339(ends_at),
    }


def _labels(event: Event) -> dict[str, str]:
    kind, data = event["type"], event["data"]
    labels = {"job": "metering", "severity": severity(event)}
    if kind == "close.blocked":
        return labels | {"alertname": "MeteringCloseBlocked", "month": data["month"], "alert_id": subject_id(event)}
    if kind == "delivery.failing":
        return labels | {"alertname": "MeteringDeliveryFailing", "endpoint": data["endpoint"]}
    if kind.startswith("backup."):
        return labels | {"alertname": "MeteringBackupFailing", "directory": data["directory"]}
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


def _target(channel: Channel, token: str) -> Endpoint:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return endpoint(channel, f"{(channel.url or '').rstrip('/')}/api/v2/alerts", **headers)


KIND = Kind(
    keys=ChannelKeys(required={"url"}, optional={"secret"}, allows_query=False),
    target=_target,
    message=lambda event, to, now, is_over: message([(event, is_over)], now, to.lasts),
    has_incidents=True,
    reminder=lambda events, to, now: message([(event, False) for event in events], now, to.lasts),
)
