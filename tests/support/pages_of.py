"""A real ledger fed with pages that a test writes down: no HTTP, no fleet, a clock that stands where it is put.

`Books.read` journals one complete walk over the hours of some months, with everything that is in `used` at that time;
changing `used` and reading again is how values arrive late or are revised.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from metering.alerts.invoices import announce_invoices
from metering.config import Config, SellerConfig
from metering.config.models import InvoicesConfig, StoreConfig
from metering.core.parties import Customer, Discount, Organization, Subscription
from metering.core.period import Period, month_of, parse_month, rfc3339
from metering.core.plans import Plan
from metering.invoicing import close
from metering.invoicing.amending.voiding import void as voiding_void
from metering.invoicing.closing import Closing, month_invoices
from metering.invoicing.issued import read
from metering.invoicing.rated_month import months_of
from metering.ledger.ledger import Ledger, open_ledger
from metering.operations import verify
from metering.service import tick

ORGANIZATION = "org-1"
Json = dict[str, Any]


def month(name: str) -> Period:
    """`2026-09` as a period."""
    return parse_month(name, datetime(2026, 1, 1, tzinfo=UTC))


def moment(text: str) -> datetime:
    """`2026-09-30` or `2026-09-30T05`, in UTC."""
    return datetime.fromisoformat(text if "T" in text else f"{text}T00").replace(tzinfo=UTC)


@dataclass(kw_only=True)
class Books:
    """`used` maps (project, hour such as 2026-09-10T05) to metrics; `now` is the business clock."""

    ledger: Ledger
    directory: Path
    now: datetime
    used: dict[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)
    plans: tuple[Plan, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    customers: tuple[Customer, ...] = ()
    default_plan: str | None = None
    discounts: tuple[Discount, ...] = ()
    invoices: InvoicesConfig = field(default_factory=InvoicesConfig)
    listed: tuple[Mapping[str, str], ...] = ()
    walk: int = 0

    @property
    def config(self) -> Config:
        """The configuration as it stands."""
        return Config(
            path=self.directory / "config.toml",
            store=StoreConfig(directory=self.directory),
            organizations=(Organization(id=ORGANIZATION, api_key_env="KEY", default_plan=self.default_plan),),
            plans=self.plans,
            subscription_rows=self.subscriptions,
            customer_rows=self.customers,
            invoices=self.invoices,
            discounts=self.discounts,
            seller=SellerConfig(name="Acme Platforms Ltd"),
        )

    def use(self, project: str, hour: str, **metrics: int) -> None:
        """Sets what an hour shows from the next reading on."""
        self.used[project, hour] = metrics

    def see(self, *projects: Mapping[str, str]) -> None:
        """Journals a complete inventory: {id, name, created_at …} which holds until the next one."""
        self.listed = projects
        shown = [{"region_id": "aws", "settings": {}, **project} for project in projects]
        live = [project for project in shown if "deleted_at" not in project]
        self._walk("inventory", {}, {"projects": live})
        self._walk("recoverable", {}, {"projects": [project for project in shown if project not in live]})

    def read(self, *months: str, until: str | None = None) -> None:
        """Journals inventory, and a complete walk from the first month's start to the last one's end, or to `until`."""
        self.see(*self.listed)
        period = Period(start=month(months[0]).start, end=moment(until) if until else month(months[-1]).end)
        span = {"grain": 0, "period_start": rfc3339(period.start), "period_end": rfc3339(period.end)}
        inside = {key: metrics for key, metrics in self.used.items() if period.contains(moment(key[1]))}
        projects = [
            {
                "project_id": project,
                "periods": [
                    {
                        "period_id": "p",
                        "period_plan": "scale",
                        "period_start": "2026-01-01T00:00:00Z",
                        "consumption": [
                            _bucket(hour, metrics)
                            for (owner, hour), metrics in sorted(inside.items())
                            if owner == project
                        ],
                    }
                ],
            }
            for project in sorted({project for project, _ in inside})
        ]
        self._walk("history", span, {"projects": projects})

    def _walk(self, endpoint: str, span: Json, page: Json) -> None:
        self.walk += 1
        sent_at = rfc3339(self.now)
        head = {"walk": self.walk, "endpoint": endpoint, "organization": ORGANIZATION, **span}
        asked = {
            "path": endpoint,
            "params": {},
            "sent_at": sent_at,
            "received_at": sent_at,
            "request_id": str(self.walk),
        }
        self.ledger.record("page", {**head, **asked}, body=json.dumps(page).encode())
        none = {"grain": None, "period_start": None, "period_end": None}
        self.ledger.record("walk", {**none, **head, "first_sent_at": sent_at, "kind": "", "reason": ""})

    def rehearse(self, name: str) -> Closing:
        """What `close MONTH --dry-run` does."""
        return close.rehearse(self.ledger.store, self.config, month(name), self.now)

    def close(self, name: str, **more: Any) -> Closing:
        """What `close MONTH` does, with its announcements."""
        done = close.close(self.ledger, self.config, month(name), self.now, **more)
        announce_invoices(self.ledger, self.config, read(done.invoices), self.now)
        return done

    def supplement(self, name: str) -> Closing:
        """What `close MONTH --supplement` does."""
        return tick.supplement_typed(self.ledger, self.config, month(name), self.now)

    def void(self, number: str, reason: str = "wrong price") -> Json:
        """What `void NUMBER` does."""
        note = voiding_void(self.ledger, number, reason, self.now)
        announce_invoices(self.ledger, self.config, [note.invoice], self.now)
        return note.printed()

    def shown(self, name: str) -> Json:
        """What `invoices MONTH` prints."""
        return month_invoices(months_of(self.ledger.store, self.config, self.now).of(month(name)).today).printed()

    def invoice(self, name: str, customer: str) -> Json:
        """The customer's one invoice or draft of the month that stands."""
        [found] = [row for row in self.shown(name)["invoices"] if row["customer"]["id"] == customer and stands(row)]
        return found

    def faults(self) -> list[str]:
        """What `verify` finds."""
        self.ledger.flush()
        return verify.verify(self.directory, self.ledger.store).faults


def stands(row: Json) -> bool:
    """Whether it is an invoice that is not void."""
    return bool(row["status"] != "void" and row.get("kind") != "credit_note")


def _bucket(hour: str, metrics: Mapping[str, int]) -> Json:
    start = moment(hour)
    values = [{"metric_name": name, "value": value} for name, value in metrics.items()]
    frame = {"timeframe_start": rfc3339(start), "timeframe_end": rfc3339(start + timedelta(hours=1))}
    return {**frame, "metrics": values}


@contextmanager
def books(directory: Path, now: str, **more: Any) -> Iterator[Books]:
    """An empty ledger in the directory."""
    clock: list[Books] = []
    with open_ledger(directory, lambda: clock[0].now if clock else moment(now)) as ledger:
        clock.append(Books(ledger=ledger, directory=directory, now=moment(now), **more))
        yield clock[0]


@contextmanager
def copied(kept: Books, directory: Path) -> Iterator[Books]:
    """A second ledger, in `directory`, with the files of `kept`, which is at rest."""
    shutil.copytree(kept.directory, directory, dirs_exist_ok=True)
    clock: list[Books] = []
    with open_ledger(directory, lambda: clock[0].now if clock else kept.now) as ledger:
        clock.append(replace(kept, ledger=ledger, directory=directory, used=dict(kept.used)))
        yield clock[0]


__all__ = ["Books", "books", "copied", "moment", "month", "month_of", "stands"]
