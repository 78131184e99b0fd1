"""The text of an alert for people: one wording for all channels, made from the event alone.

Knows the meaning of each event and the order of its facts: who, how much of what, until when, the effect, what to do,
and how fresh the number is. Must not know the channel, nor its escaping.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from metering.core.period import parse_time
from metering.core.quotas import EXCEEDED_PERCENT
from metering.core.text import legible

Event = Mapping[str, Any]
"""`{"type", "timestamp", "data"}`, the JSON body of a webhook."""
Facts = Iterator[tuple[str, str]]

_WORDS = {
    "active_time_seconds": "active time",
    "compute_time_seconds": "compute time",
    "data_transfer_bytes": "data transfer",
    "logical_size_bytes": "logical size",
    "written_data_bytes": "written data",
}
_HUMAN = {"second": (3600, "hours"), "CU-second": (3600, "CU-hours"), "byte": (10**9, "GB")}
"""Neon's unit -> divisor to the unit shown to people, and that unit."""
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
_RIGHT_TO_LEFT = {"R", "AL", "AN"}
_LOOK = "see `metering status`; the next tick tries again by itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A title of one line, and facts of one line each: (label, text). Plain text, not escaped for anything."""

    title: str
    facts: tuple[tuple[str, str], ...]

    @property
    def lines(self) -> str:
        """The facts, one per line."""
        return "\n".join(f"{label}: {text}" for label, text in self.facts)

    @property
    def paragraph(self) -> str:
        """The title and the first three facts as sentences on one line."""
        told = (f"{label}: {text}" for label, text in self.facts[:3])
        return " ".join(sentence.rstrip(".") + "." for sentence in (self.title, *told))


def worded(event: Event) -> Wording:
    """The wording of an event."""
    return _WORDINGS[event["type"]](event)


def plain(text: object) -> str:
    """Foreign text on one line, without line breaks, invisible characters and changes of writing direction."""
    kept = legible(str(text), also=_JOINERS)
    if any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in kept):
        return f"\N{FIRST STRONG ISOLATE}{kept}\N{POP DIRECTIONAL ISOLATE}"
    return kept


# -- quotas


def _quota(event: Event) -> Wording:
    data = event["data"]
    what = f"its included {_WORDS[data['quota']]}"
    if data["threshold_percent"] >= EXCEEDED_PERCENT:
        title = f"{_who(data)} has used all of {what}: {data['percent']} %"
    else:
        title = f"{_who(data)} has used {data['percent']} % of {what}"
    return Wording(title=title, facts=tuple(_quota_facts(data)))


def _quota_facts(data: Event) -> Facts:
    yield "Used", _used(data)
    yield "Period", _period(data)
    yield "At 100 %", _effect(data)
    yield "What to do", _remedy(data)
    if data.get("forecast"):
        yield "Forecast", _forecast(data["forecast"])
    yield "As of", _freshness(data)
    yield from _ids(data)


def _ids(data: Event) -> Facts:
    if data["project"]["name"]:
        yield "Project", plain(data["project"]["id"])
    if data["plan"]:
        yield "Plan", plain(data["plan"])
    yield "Alert", data["alert_id"]


def _who(data: Event) -> str:
    project, name = data["project"], data["customer"]["name"]
    # A project without a known customer is billed under its own id, which need not be shown twice.
    owner = f" of {plain(name)}" if name and name != project["id"] else ""
    return f"Project {plain(project['name'] or project['id'])}{owner}"


def _used(data: Event) -> str:
    used, limit, unit = int(data["used"]), int(data["limit"]), data["unit"]
    divisor, human_unit = _HUMAN[unit]
    raw = f"{used} of {limit} {unit}s"
    if limit < divisor:
        return f"{raw}, {data['percent']} %"
    return f"{_hundredths(used, divisor)} of {_hundredths(limit, divisor)} {human_unit} ({raw}), {data['percent']} %"


def _hundredths(number: int, divisor: int) -> str:
    """A number in a larger unit, cut to two decimals, so that a quota that is not full never looks full."""
    cut = number * 100 // divisor
    return f"{cut // 100}.{cut % 100:02d}"


def _period(data: Event) -> str:
    start, end = moment(data["period"]["start"]), moment(data["period"]["end"])
    if data["quota"] == "logical_size_bytes":
        return f"the month from {start} to {end}; a size does not start again from zero"
    return f"{start} to {end}, when it starts again from zero"


def _effect(data: Event) -> str:
    if data.get("limit_source") == "plan":
        return (
            "nothing is suspended: Neon has no quota for this project, the limit is the plan’s alone "
            "(`metering quotas apply` gives it to Neon)"
        )
    return str(data["effect_at_limit"])


def _remedy(data: Event) -> str:
    move = f"move it to a larger plan (`metering upgrade {plain(data['project']['id'])} --plan …`) or raise its quota"
    if data["quota"] == "logical_size_bytes":
        return f"have data deleted from the largest branch, {move}"
    until = "" if data["threshold_percent"] >= EXCEEDED_PERCENT else ", before it is full"
    return f"tell the customer, {move}{until}"


def _forecast(forecast: Event) -> str:
    at_end = f"{forecast['percent_at_period_end']} % at the period’s end, at this pace"
    reaches = forecast["reaches_100_at"]
    return f"100 % on {moment(reaches)}; {at_end}" if reaches else at_end


def _freshness(data: Event) -> str:
    source = "the consumption history" if data.get("source") == "history" else "Neon’s own counter"
    return f"{moment(data['observed_at'])}, by {source}; Neon measures every 15 minutes and may be an hour late"


def _quota_over(event: Event) -> Wording:
    data = event["data"]
    title = f"{_who(data)} is no longer at {data['threshold_percent']} % of its included {_WORDS[data['quota']]}"
    return Wording(title=title, facts=(("Why", data["reason"]), ("Was", _used(data)), *_ids(data)))


# -- invoices, polling, tests


def _invoice(event: Event) -> Wording:
    data = event["data"]
    name = plain(data["customer"]["name"])
    facts = [
        ("Total", f"{data['total']} {data['currency']}"),
        ("Period", f"{moment(data['period']['start'])} to {moment(data['period']['end'])}"),
    ]
    if event["type"] == "invoice.voided":
        title = f"Invoice {data['number']} of {name} is void"
        facts.append(("Credit note", data["credit_note"]))
        facts.append(("Reason", plain(data["reason"])))
    else:
        title = f"Invoice {data['number']} of {name}: {data['total']} {data['currency']}"
        facts.append(("Due", moment(data["due_at"])))
    facts.append(("What to do", f"look at it with `metering invoice {data['number']}`"))
    return Wording(title=title, facts=(*facts, ("Alert", data["alert_id"])))


def _polling(event: Event) -> Wording:
    data = event["data"]
    facts = [("Since", moment(data["since"]))]
    if event["type"] == "poll.stalled":
        facts.append(("Meanwhile", "quotas are not watched, and usage that Neon stops answering for is lost"))
        facts.append(("What to do", _LOOK))
        facts += [("Fault", plain(fault)) for fault in data["faults"]]
    return Wording(title=plain(data["summary"]).rstrip("."), facts=(*facts, ("Alert", data["alert_id"])))


def _blocked(event: Event) -> Wording:
    data = event["data"]
    facts = [
        fact for row in data["reasons"] for fact in (("Why", plain(row["reason"])), ("What to do", row["way_out"]))
    ]
    title = f"{data['month']} does not close by itself"
    return Wording(title=title, facts=(*facts, ("Alert", data["alert_id"])))


def _failing(event: Event) -> Wording:
    data = event["data"]
    facts = (
        ("Since", moment(data["since"])),
        ("Why", plain(data["error"])),
        ("What to do", plain(data["way_out"])),
        ("Alert", data["alert_id"]),
    )
    return Wording(title=plain(data["summary"]).rstrip("."), facts=facts)


def _backup(event: Event) -> Wording:
    data = event["data"]
    facts = [("Since", moment(data["since"]))]
    if event["type"] == "backup.failing":
        facts += [("Why", plain(data["error"])), ("What to do", plain(data["way_out"]))]
    return Wording(title=plain(data["summary"]).rstrip("."), facts=(*facts, ("Alert", data["alert_id"])))


def _report(event: Event) -> Wording:
    data = event["data"]
    title = f"The report of {data['month']} is ready" + (", as a draft" if data["status"] == "draft" else "")
    facts = (("Where", f"reports/{data['month']}/report.html in the store’s directory"), ("Alert", data["alert_id"]))
    return Wording(title=title, facts=facts)


def _test(event: Event) -> Wording:
    data = event["data"]
    return Wording(title=data["summary"].rstrip("."), facts=(("Sent", moment(event["timestamp"])),))


_WORDINGS: Mapping[str, Callable[[Event], Wording]] = {
    "quota.threshold_reached": _quota,
    "quota.exceeded": _quota,
    "quota.resolved": _quota_over,
    "invoice.finalized": _invoice,
    "invoice.voided": _invoice,
    "poll.stalled": _polling,
    "poll.recovered": _polling,
    "close.blocked": _blocked,
    "delivery.failing": _failing,
    "backup.failing": _backup,
    "backup.recovered": _backup,
    "report.ready": _report,
    "webhook.test": _test,
}


def moment(text: str) -> str:
    """A time for people, to the minute, with its zone: `2026-11-01 00:00 UTC`."""
    return f"{parse_time(text):%Y-%m-%d %H:%M} UTC"
