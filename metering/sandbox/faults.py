"""Faults on request: their kinds and frequency; equal seeds give equal faults.

One text each, `KIND[:CHANCE[:ARGUMENT]]`, the chance a decimal in (0, 1] (1 where left out). A fault that is drawn by
chance depends on (seed, fault, number of the request), so a retry is a new draw and the same calls in order meet the
same faults.

    429:0.1              too many requests; `429:0.1:7` also sends `Retry-After: 7` (Neon was never seen to do so)
    500:0.05             any status from 400 to 599, answered before anything is done
    html200:0.1          200 with an HTML page of a gateway
    truncate:0.02        the connection ends in the middle of the body
    slow:0.05:3          the body arrives in ten pieces over so many seconds (default 3)
    duplicate-project    each following page of a history walk begins with the project that ended the page before
    loop-cursor          a page asked for with a cursor answers with that same cursor
    unavailable-project  the list of projects names its last one in `unavailable_project_ids` instead
    missing-metric:NAME  history leaves the metric out, though asked for
    new-metric:NAME      history holds a metric that nobody asked for, value 2^53 + 1
    legacy-history:ORG   the organization is on a legacy plan: its history is at the legacy endpoint, 403 at the others

Pure: it decides; `app` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from metering.core.errors import UsageError
from metering.sandbox.project import draw

_PLAIN = ("duplicate-project", "loop-cursor", "unavailable-project")
_BY_CHANCE = ("html200", "truncate", "slow")
_NAMED = ("missing-metric", "new-metric", "legacy-history")
_HINT = "write for example 429:0.1, slow:0.05:3, truncate:0.02, loop-cursor or missing-metric:compute_unit_seconds"
_WHOLE = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """One kind of fault; `chance` of 2^32, `argument` seconds (slow, Retry-After) or a metric's name."""

    kind: str
    chance: int = _WHOLE
    argument: str = ""


def parse(text: str) -> Mishap:
    """One fault from its text; raises UsageError for anything else."""
    kind, _, rest = text.partition(":")
    if kind in _NAMED and rest:
        return Mishap(kind=kind, argument=rest)
    chance, _, argument = rest.partition(":")
    is_status = len(kind) == 3 and kind.isascii() and kind.isdigit() and "400" <= kind <= "599"
    if not (is_status or kind in _PLAIN or kind in _BY_CHANCE):
        raise UsageError(f"{text!r} is no fault that the sandbox knows", hint=_HINT)
    if argument and not (argument.isascii() and argument.isdigit()):
        raise UsageError(f"{text!r}: {argument!r} is not a whole number of seconds", hint=_HINT)
    return Mishap(kind=kind, chance=_chance(text, chance or "1"), argument=argument)


def _chance(text: str, chance: str) -> int:
    try:
        value = Decimal(chance)
    except InvalidOperation:
        value = Decimal(0)
    if not (value.is_finite() and 0 < value <= 1):
        raise UsageError(f"{text!r}: {chance!r} is not a chance above 0 and up to 1", hint=_HINT)
    return int(value * _WHOLE)


class Mishaps:
    """The faults of one server."""

    def __init__(self, texts: Sequence[str] = (), *, seed: int = 1) -> None:
        self._all = [parse(text) for text in texts]
        self._seed = seed

    def happens(self, kind: str, request_number: int) -> Mishap | None:
        """The fault of the kind, if it applies to this request."""
        return next((one for one in self._all if one.kind == kind and self._strikes(one, request_number)), None)

    def status(self, request_number: int) -> Mishap | None:
        """The first status fault that applies to this request."""
        statuses = (one for one in self._all if one.kind.isdigit())
        return next((one for one in statuses if self._strikes(one, request_number)), None)

    def names(self, kind: str) -> list[str]:
        """The arguments of all faults of this kind: metrics, or organizations."""
        return [one.argument for one in self._all if one.kind == kind]

    def _strikes(self, one: Mishap, request_number: int) -> bool:
        digest = draw(self._seed, one.kind, request_number, "fault")
        return int.from_bytes(digest[:4], "big") < one.chance
