"""A ledger fed by hand: inventories and history walks as literals, the way a poll journals them, without a network."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from metering.config import Config, read
from metering.core import meters
from metering.ledger import ledger
from metering.rating import validation

LENGTHS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1)}
GRAINS = ("hourly", "daily", "monthly")


def when(text: str) -> datetime:
    """`2026-09-01` or `2026-09-01T10` in UTC."""
    return datetime.fromisoformat(text if "T" not in text else text + ":00" * (2 - text.count(":"))).replace(tzinfo=UTC)


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class Books:
    """A store directory with one organization's facts in it; `at` is the business clock."""

    def __init__(self, directory: Path, organization: str = "org-1") -> None:
        self.directory, self.organization = directory, organization
        self.at = when("2026-09-01")
        self.walks = 0

    @contextmanager
    def open(self):
        with ledger.open_ledger(self.directory, lambda: self.at) as found:
            yield found

    def inventory(self, found, projects, *, at: str | None = None, deleted=()):
        """Every project that is listed: {id: name}, or {id: (name, created)}."""
        self.at = when(at) if at else self.at
        items = []
        for project, told in projects.items():
            name, created = told if isinstance(told, tuple) else (told, "2026-01-01")
            items.append({"id": project, "name": name, "created_at": stamp(when(created)), "settings": {}})
        self._walk(found, "inventory", [{"projects": items}], {})
        first = stamp(when("2026-01-01"))
        gone = [
            {"id": project, "name": name, "created_at": first, "deleted_at": stamp(when(moment))}
            for project, name, moment in deleted
        ]
        self._walk(found, "recoverable", [{"projects": gone}], {})

    def history(
        self, found, usage, *, since: str, until: str, at=None, grain="hourly", plan="scale", period_start="2026-01-01"
    ):
        """A complete walk over [since, until): {project: {start: {metric: value}}}; returns the page's record."""
        self.at = when(at) if at else self.at
        span = {"grain": GRAINS.index(grain), "period_start": stamp(when(since)), "period_end": stamp(when(until))}
        projects = [
            {"project_id": project, "periods": [self._period(buckets, grain, plan, period_start)] if buckets else []}
            for project, buckets in usage.items()
        ]
        return self._walk(found, "history", [{"projects": projects}], span)

    def counters(self, found, project: str, **counters: int):
        """The project's own page: its quota counters in the month of the clock."""
        self.walks += 1
        body = {
            "id": project,
            "name": project,
            "created_at": "2026-01-01T00:00:00Z",
            "settings": {},
            "consumption_period_start": stamp(self.at.replace(day=1, hour=0, minute=0, second=0)),
            "consumption_period_end": "2026-10-01T00:00:00Z",
            **counters,
        }
        page = {
            "walk": self.walks,
            "endpoint": "project",
            "organization": self.organization,
            "path": f"projects/{project}",
            "params": {},
            "sent_at": stamp(self.at),
            "received_at": stamp(self.at),
            "request_id": f"request-{self.walks}",
            "project_id": project,
        }
        return found.record("page", page, body=json.dumps({"project": body}).encode())

    def _period(self, buckets, grain, plan, period_start):
        consumption = [
            {
                "timeframe_start": stamp(when(start)),
                "timeframe_end": stamp(when(start) + LENGTHS[grain]),
                "metrics": [{"metric_name": name, "value": value} for name, value in values.items()],
            }
            for start, values in buckets.items()
        ]
        return {
            "period_id": f"period of {period_start}",
            "period_plan": plan,
            "period_start": stamp(when(period_start)),
            "consumption": consumption,
        }

    def _walk(self, found, endpoint, bodies, span):
        self.walks += 1
        head = {"walk": self.walks, "endpoint": endpoint, "organization": self.organization}
        seq = 0
        for number, body in enumerate(bodies):
            page = {
                **head,
                "path": endpoint,
                "params": {},
                "sent_at": stamp(self.at),
                "received_at": stamp(self.at),
                "request_id": f"request-{self.walks}-{number}",
                **span,
            }
            seq = found.record("page", page, body=json.dumps(body).encode())
        none = dict.fromkeys(("grain", "period_start", "period_end"))
        found.record("walk", {**head, **none, **span, "first_sent_at": stamp(self.at), "kind": "", "reason": ""})
        return seq


def configured(
    directory: Path,
    plans: str,
    *,
    subscriptions: str = "",
    customers: str = "customer\nacme\n",
    more="",
    default_plan="",
) -> Config:
    """A configuration with one organization and these plans; its store is `directory`/var."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "customers.csv").write_text(customers)
    named = '[customers]\nfile = "customers.csv"\n'
    if subscriptions:
        (directory / "subscriptions.csv").write_text(subscriptions)
        named += 'subscriptions = "subscriptions.csv"\n'
    default = f'default_plan = "{default_plan}"\n' if default_plan else ""
    seller = "" if "[seller]" in more else '[seller]\nname = "Acme Platforms Ltd"\n'
    text = f'[[organizations]]\nid = "org-1"\napi_key_env = "KEY"\n{default}\n{named}\n{seller}\n{more}\n{plans}'
    (directory / "config.toml").write_text(text)
    return read(
        directory / "config.toml",
        environ={},
        card_faults=lambda card: validation.faults(card.plans, meters.catalogue(card.meters)),
    )
