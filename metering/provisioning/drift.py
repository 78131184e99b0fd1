"""Compares a plan's quotas with those at Neon: the needed changes, and which of them would stop a project.

Pure. At Neon a quota of 0 or none means unlimited. In a plan 0 means unlimited, and a quota that the plan does not name
is left unchanged.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metering.core.quotas import QUOTAS


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A quota of a project that differs from its plan. `was`: Neon's limit (None: none). `used`: the known usage."""

    quota: str
    was: int | None
    wanted: int
    used: int | None

    @property
    def is_lower(self) -> bool:
        """Whether the new limit is lower than the old one."""
        return self.wanted > 0 and (not self.was or self.wanted < self.was)

    @property
    def is_below_usage(self) -> bool:
        """Whether the usage already reaches the new limit: Neon would suspend the project at once."""
        return self.is_lower and self.used is not None and self.used >= self.wanted

    @property
    def warning(self) -> str | None:
        """The effect of the change on the project, if any."""
        if not self.is_below_usage:
            return None
        quota = QUOTAS[self.quota]
        return f"{self.used} of {self.wanted} {quota.unit}s are used already. {quota.effect_at_limit}"


def drift(held: Mapping[str, int], plan: Mapping[str, int], used: Mapping[str, int | None]) -> list[Change]:
    """The changes that bring Neon's quotas to the plan's, by quota; none where they are equal."""
    out = []
    for name in sorted(plan):
        was, wanted = held.get(name), plan[name]
        if (was or 0) != wanted:
            out.append(Change(quota=name, was=was, wanted=wanted, used=used.get(name)))
    return out


def to_send(held: Mapping[str, int], changes: Iterable[Change]) -> dict[str, int]:
    """The project's complete quota object after the changes; 0 only where a plan says unlimited."""
    kept = {name: limit for name, limit in held.items() if limit}
    return dict(sorted({**kept, **{change.quota: change.wanted for change in changes}}.items()))


def remaining(held: Mapping[str, int], changes: Iterable[Change]) -> list[Change]:
    """The changes that Neon does not show yet."""
    return [change for change in changes if (held.get(change.quota) or 0) != change.wanted]
