"""What a read of history proves once it has reached its end: which hours are certified, which metrics are unknown.

Pure: facts and rows in, verdict out. A full read over an organization certifies its hours; a read of some projects by
id certifies none. Both prove that values which they leave out are zero. Knows neither pages nor tables.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from metering.core.grain import GRAINS
from metering.core.meters import KNOWN_METRICS
from metering.core.period import Period
from metering.usage.coverage import certified_from, certified_until

FLEET_SUDDENLY_SILENT = 10
"""If so many projects reported a metric before the window, a complete answer without it is implausible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A read of history that reached its end. `metrics` are those it shows anywhere, `grains` those of its buckets.

    `is_whole`: it asked for all projects of the organization.
    """

    asked: Period
    grain: int
    first_sent_at: datetime
    metrics: frozenset[str]
    grains: tuple[int, ...]
    is_whole: bool
    is_legacy: bool

    @property
    def answered(self) -> int:
        """The grain of its buckets, which may be coarser than the one that was asked for."""
        return self.grains[0] if self.grains else self.grain

    @property
    def provable(self) -> tuple[datetime, datetime]:
        """(start, end) of the hours it can prove something about; empty if the end is not later than the start."""
        start = certified_from(self.answered, self.asked.start)
        return start, certified_until(self.answered, self.first_sent_at, self.asked.end)

    @property
    def absent(self) -> frozenset[str]:
        """The known metrics that it should show and shows nowhere; empty unless every metric is expected of it."""
        return frozenset(KNOWN_METRICS) - self.metrics if self.is_whole and not self.is_legacy else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the store holds about the metrics of the organization.

    `omitted`: values above zero were left out in provable hours. `missing`: unknown since an earlier read.
    `reporters`: how many projects reported each metric just before the window.
    """

    omitted: frozenset[str]
    missing: frozenset[str]
    reporters: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`unproven`: values of these metrics that were left out stay as they were; those of other metrics are zero.

    `vanished` metrics are missing from now on, `returned` ones no longer. `certified`: None if no hour is.
    """

    unproven: frozenset[str]
    vanished: frozenset[str] = frozenset()
    returned: frozenset[str] = frozenset()
    certified: Period | None


def verdict(ended: Ended, evidence: Evidence) -> Verdict:
    """Decides what the end of a read proves.

    A metric vanishes if a full read leaves out, everywhere, what was above zero in provable hours, or if many projects
    that reported it just before the window are silent at once. It is missing until a full read shows it again. A read
    of projects by id, or of the legacy endpoint, proves nothing about metrics that it shows nowhere.
    """
    hidden = evidence.omitted - ended.metrics
    if not ended.is_whole or ended.is_legacy:
        unproven = hidden if ended.is_whole else hidden | evidence.missing
        return Verdict(unproven=unproven, certified=_certified(ended, unproven))
    silent = {metric for metric in ended.absent if evidence.reporters.get(metric, 0) >= FLEET_SUDDENLY_SILENT}
    unproven = (evidence.missing - ended.metrics) | (hidden & ended.absent) | silent
    return Verdict(
        unproven=unproven,
        vanished=unproven - evidence.missing,
        returned=evidence.missing - unproven,
        certified=_certified(ended, unproven),
    )


def _certified(ended: Ended, unproven: Collection[str]) -> Period | None:
    start, end = ended.provable
    return Period(start=start, end=end) if ended.is_whole and not unproven and start < end else None


def grain_fault(asked: int, answered: Sequence[int]) -> str:
    """Why buckets of these grains certify nothing; empty if they may. Coarser than asked is accepted, mixed is not."""
    if len(answered) > 1:
        return "buckets of " + " and ".join(GRAINS[grain] for grain in answered) + " length in one answer"
    if answered and answered[0] < asked:
        return f"{GRAINS[answered[0]]} buckets where {GRAINS[asked]} ones were asked for"
    return ""
