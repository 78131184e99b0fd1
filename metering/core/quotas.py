"""Neon's quotas: their names, units and what happens at the limit. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

EXCEEDED_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One quota field of a Neon project."""

    name: str
    unit: str
    has_history: bool
    """Whether the consumption history measures the same thing, so that it can stand in for a counter that lags."""
    effect_at_limit: str


_SUSPENDED = (
    "Neon suspends all computes of the project; they do not start again on connection until the billing period ends "
    "or the quota is raised or removed."
)


QUOTAS: Mapping[str, Quota] = {
    quota.name: quota
    for quota in (
        Quota(name="active_time_seconds", unit="second", has_history=False, effect_at_limit=_SUSPENDED),
        Quota(name="compute_time_seconds", unit="CU-second", has_history=True, effect_at_limit=_SUSPENDED),
        Quota(name="data_transfer_bytes", unit="byte", has_history=True, effect_at_limit=_SUSPENDED),
        Quota(
            name="logical_size_bytes",
            unit="byte",
            has_history=False,
            effect_at_limit="Writes to the full branch fail until data is deleted or the quota is raised or removed.",
        ),
        Quota(name="written_data_bytes", unit="byte", has_history=False, effect_at_limit=_SUSPENDED),
    )
}
