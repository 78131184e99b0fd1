"""Why a computed amount and an invoiced one differ: the fewest causes that explain a difference, to the cent.

Each candidate is what our own figure would change by if one cause were so, worked out by rating again. A cause is named
only where, with the others named, it leaves no more than rounding explains; otherwise the difference is unknown. Pure:
knows neither Neon nor where an amount came from. Amounts are whole minor units.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

CAUSES = (
    "rounding",
    "granularity",
    "allowance scope",
    "deleted projects",
    "plan change",
    "unit change",
    "unknown",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The change of our amount under one cause, and its words."""

    cause: str
    amount: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What may differ without a figure of its own: rounding either way, and coarse buckets between two amounts."""

    rounding: int
    granularity: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A difference in parts by cause (all of CAUSES, summing to it), and the candidates that were taken."""

    parts: dict[str, int]
    taken: tuple[Candidate, ...] = field(default=())


def split(difference: int, candidates: Iterable[Candidate], bounds: Bounds) -> Split:
    """The difference by cause: by the fewest that explain it, and of those by what leaves the least to rounding."""
    told = [one for one in candidates if abs(one.amount) > bounds.rounding]
    best: tuple[tuple[int, int], Split] | None = None
    for taken in _choices(told):
        rest = difference - sum(one.amount for one in taken)
        coarse = _coarse(rest, bounds)
        left = rest - coarse
        if abs(left) > bounds.rounding:
            continue
        order = (len(taken) + (coarse != 0), abs(left))
        if best is None or order < best[0]:
            best = order, Split(parts=_parts(taken, coarse, left), taken=taken)
        if len(taken) > (best[0][0] if best else len(told)):
            break
    if best is None:
        return Split(parts={**dict.fromkeys(CAUSES, 0), "unknown": difference})
    return best[1]


def _choices(candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, ...]]:
    """Every choice with at most one candidate of each cause, the fewest first."""
    by_cause: dict[str, list[Candidate]] = {}
    for one in candidates:
        by_cause.setdefault(one.cause, []).append(one)
    for size in range(len(by_cause) + 1):
        for causes in combinations(sorted(by_cause), size):
            yield from product(*(by_cause[cause] for cause in causes))


def _coarse(rest: int, bounds: Bounds) -> int:
    """The part of the rest that coarse buckets explain, where rounding alone does not explain it."""
    low, high = bounds.granularity
    return 0 if abs(rest) <= bounds.rounding else min(max(rest, low), high)


def _parts(taken: Iterable[Candidate], coarse: int, left: int) -> dict[str, int]:
    out = dict.fromkeys(CAUSES, 0)
    for one in taken:
        out[one.cause] += one.amount
    out["granularity"] += coarse
    out["rounding"] += left
    return out


def summed(splits: Iterable[Split]) -> dict[str, int]:
    """The parts of several differences, added by cause."""
    out = dict.fromkeys(CAUSES, 0)
    for one in splits:
        for cause, amount in one.parts.items():
            out[cause] += amount
    return out
