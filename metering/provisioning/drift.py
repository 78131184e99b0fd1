"""Compares a plan's quotas with those that Neon holds: the changes needed, and which would stop a project.

Pure. At Neon a quota of 0 or none is unlimited; in a plan 0 says so on purpose, and a quota that the plan does not name
is left as it is. Knows no project's name and asks nobody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metering.core.quotas import QUOTAS


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One quota of one project that is not as its plan says. `was` is Neon's (None: none), `used` what is known."""

    quota: str
    was: int | None
    wanted: int
    used: int | None

    @property
    def is_lower(self) -> bool:
        """Whether it would leave less room than there is."""
        return self.wanted > 0 and (not self.was or self.wanted < self.was)

    @property
    def is_below_usage(self) -> bool:
        """Whether what was used already reaches the new limit, which Neon would act on at once."""
        return self.is_lower and self.used is not None and self.used >= self.wanted

    @property
    def warning(self) -> str | None:
        """The effect of the change, where it has one."""
        if not self.is_below_usage:
            return None
        quota = QUOTAS[self.quota]
        return f"{self.used} of {self.wanted} {quota.unit}s are used already. {quota.effect_at_limit}"


def drift(held: Mapping[str, int], plan: Mapping[str, int], used: Mapping[str, int | None]) -> list[Change]:
    """The changes that make Neon hold what the plan names, by quota; none where nothing differs."""
    out = []
    for name in sorted(plan):
        was, wanted = held.get(name), plan[name]
        if (was or 0) != wanted:
            out.append(Change(quota=name, was=was, wanted=wanted, used=used.get(name)))
    return out


def to_send(held: Mapping[str, int], changes: Iterable[Change]) -> dict[str, int]:
    """The project's whole quota object after the changes: 0 stands in it only where a plan says unlimited."""
    kept = {name: limit for name, limit in held.items() if limit}
    return dict(sorted({**kept, **{change.quota: change.wanted for change in changes}}.items()))


def remaining(held: Mapping[str, int], changes: Iterable[Change]) -> list[Change]:
    """The changes that Neon does not show yet."""
    return [change for change in changes if (held.get(change.quota) or 0) != change.wanted]
