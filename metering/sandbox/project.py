"""The types of the sandbox: organization, billing period, project, and the hash that numbers are drawn from.

Pure; knows nothing of HTTP or the clock, nor how a fleet is put together (`fleet`) or what it consumes (`consumption`).
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from uuid import UUID

from metering.core.period import next_month


@dataclass(frozen=True, slots=True, kw_only=True)
class NeonPeriod:
    """One billing period of an account: the same for all projects of the organization."""

    id: str
    plan: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """An organization; `plans` are (from, plan) in order, the first from `created_at`. Sponsored: no history."""

    id: str
    name: str
    created_at: datetime
    plans: tuple[tuple[datetime, str], ...]
    sponsored: bool = False

    def plan_at(self, moment: datetime) -> str:
        """The plan in force; the first one before the organization began."""
        return [self.plans[0][1], *(plan for start, plan in self.plans if start <= moment)][-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project: what it is and how it behaves. Sizes in bytes, `quarters` is its size in quarters of a compute unit.

    `homes` are (from, organization id) in order: a transfer appends one. `quota` is what `settings.quota` shows.
    """

    seed: int
    number: int
    id: str
    name: str
    created_at: datetime
    homes: tuple[tuple[datetime, str], ...]
    activity: str
    quarters: int
    root_bytes: int
    growth_bytes_per_day: int
    children: int
    child_bytes: int
    snapshot_bytes: int
    egress_bytes_per_cu_second: int
    has_private_link: bool
    is_counter_stuck: bool
    counter_lag_minutes: int
    deleted_at: datetime | None = None
    updated_at: datetime | None = None
    quota: tuple[tuple[str, int], ...] = ()

    @property
    def organization(self) -> str:
        """The organization that it is in now."""
        return self.homes[-1][1]

    def lives_at(self, moment: datetime) -> bool:
        """Whether it exists at the moment."""
        return self.created_at <= moment and (self.deleted_at is None or moment < self.deleted_at)


def draw(*parts: object) -> bytes:
    """64 bytes that depend on the parts alone: the only source of chance in the sandbox."""
    return blake2b("/".join(map(str, parts)).encode()).digest()


def number_from(digest: bytes, at: int, below: int) -> int:
    """An integer in [0, below) from four bytes of a draw."""
    return int.from_bytes(digest[4 * at : 4 * at + 4], "big") % below


@lru_cache(maxsize=4096)
def periods(organization: Organization, until: datetime) -> tuple[NeonPeriod, ...]:
    """The account's billing periods from its creation to the month of `until`: months, cut where the plan changes."""
    bounds = {organization.created_at} | {start for start, _ in organization.plans}
    month = next_month(organization.created_at)
    last = next_month(until)
    while month <= last:
        bounds.add(month)
        month = next_month(month)
    ordered = sorted(bound for bound in bounds if organization.created_at <= bound <= last)
    return tuple(
        NeonPeriod(id=_uuid(organization.id, start), plan=organization.plan_at(start), start=start, end=end)
        for start, end in pairwise(ordered)
    )


def _uuid(*parts: object) -> str:
    return str(UUID(bytes=draw("uuid", *parts)[:16], version=4))
