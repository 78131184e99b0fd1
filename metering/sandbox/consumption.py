"""Computes the usage of a project in every hour, and the part of it that the server shows at a given moment.

Pure: a value depends on (seed, project, hour), a shown value also on the server's moment. Must not read a clock or know
HTTP.

The raw numbers are exact integers: CU-seconds, bytes, byte-seconds and branch-seconds. A bucket's value is
`raw // divisor`, truncated per bucket as Neon does: a day of storage may exceed the sum of its 24 truncated hours by
less than 24 (with `exact_hours` a coarser bucket is the sum of the hours' values instead). A client sees these values
before they are final:

- the running hour grows at every quarter of an hour;
- one hour in 16 is late: absent until 5 to 50 minutes after its end;
- one in 32 is revised: too low or too high until 2 to 19 hours after its end, now and then with transfer that later
  vanishes;
- 20 hours after its end every hour is final.
"""

from datetime import UTC, datetime, timedelta

from metering.sandbox.project import Project, draw, number_from

METRICS = (
    "compute_unit_seconds",
    "root_branch_bytes_month",
    "child_branch_bytes_month",
    "instant_restore_bytes_month",
    "public_network_transfer_bytes",
    "private_network_transfer_bytes",
    "extra_branches_month",
    "snapshot_storage_bytes_month",
)
COMPUTE, ROOT, CHILD, RESTORE, PUBLIC, PRIVATE, BRANCHES, SNAPSHOT = range(8)
_BYTE_MONTH = 744 * 3600
DIVISORS = (1, _BYTE_MONTH, _BYTE_MONTH, _BYTE_MONTH, 1, 1, 3600, _BYTE_MONTH)
"""Raw units in one unit of the value: storage is byte-seconds over 744 hours, branches are branch-seconds."""

_AWAKE_BELOW = {"idle": (700, 700), "light": (3_000, 14_000), "moderate": (22_000, 60_000), "always": (65_536, 65_536)}
"""Of 65,536: the chance that an hour outside and inside office hours is awake."""

_ZEROS = (0,) * 24
_NOTHING = (_ZEROS,) * 8
_FINAL_SECONDS = 20 * 3600
_REFRESH_SECONDS = 900
_DAYS_KEPT = 40  # bounds the memory of large fleets: a month with its neighbours
_EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC)
_FAR_SECONDS = 1 << 40

Day = tuple[tuple[int, ...], ...]
"""Eight metrics of 24 raw integers."""
Amounts = tuple[int, ...]
"""One integer per metric, in the order of METRICS."""


def seconds_of(moment: datetime) -> int:
    """Whole seconds since 1970, rounded down."""
    return (moment - _EPOCH_DAY) // timedelta(seconds=1)


def moment_of(seconds: int) -> datetime:
    """The inverse of `seconds_of`."""
    return _EPOCH_DAY + timedelta(seconds=seconds)


def children_on(project: Project, day: int) -> int:
    """Number of child branches on a day (days since 1970): one comes and goes."""
    return project.children + (draw(project.seed, project.number, day, "child")[0] & 1 if project.children else 0)


def root_size(project: Project, day: int) -> int:
    """The root branch's logical size on a day, in bytes: whole pages of 8192."""
    age = max(0, day - seconds_of(project.created_at) // 86400)
    return project.root_bytes + age * project.growth_bytes_per_day


class Consumption:
    """The hours of one project; days are computed when asked for and kept for a while."""

    __slots__ = ("_days", "_end", "_start", "_sums", "exact_hours", "project")

    def __init__(self, project: Project, *, exact_hours: bool = False) -> None:
        self.project = project
        self.exact_hours = exact_hours
        self._start = seconds_of(project.created_at)
        self._end = _FAR_SECONDS if project.deleted_at is None else seconds_of(project.deleted_at)
        self._days: dict[int, Day] = {}
        self._sums: dict[int, Amounts] = {}

    def day(self, day: int) -> Day:
        """The final raw hours of a day (days since 1970), zero outside the project's life."""
        found = self._days.get(day)
        if found is None:
            if len(self._days) == _DAYS_KEPT:
                del self._days[next(iter(self._days))]
            found = self._days[day] = self._clipped(day)
        return found

    def final(self, start: int, end: int) -> Amounts:
        """The final values of [start, end) (seconds since 1970), as the sum of the hours' values."""
        values = [0] * 8
        for hour in range(start // 3600, -(-end // 3600)):
            raw = self._part(hour, start, end)
            for metric, amount in enumerate(raw):
                values[metric] += amount // DIVISORS[metric]
        return tuple(values)

    def shown(self, start: int, end: int, now: int) -> Amounts:
        """The values of one bucket, cut to [start, end), as the server shows them at `now` (all seconds since 1970)."""
        first_day, last_day = start // 86400, -(-end // 86400)
        sums = [0] * 8
        for day in range(first_day, last_day):
            if self.day(day) is _NOTHING:
                continue
            midnight = 86400 * day
            is_whole = start <= midnight and midnight + 86400 <= end
            is_final = is_whole and midnight + 86400 + _FINAL_SECONDS <= now
            amounts = self._final_day(day) if is_final else self._running_day(day, start, end, now)
            for metric, amount in enumerate(amounts):
                sums[metric] += amount
        return tuple(sums) if self.exact_hours else tuple(amount // DIVISORS[m] for m, amount in enumerate(sums))

    def zeros_shown(self, hour: int) -> int:
        """Eight bits, a quarter of them set, for a bucket that starts at the hour: which zeros are present."""
        digest = draw(self.project.seed, self.project.number, hour // 24, "zero")
        return digest[hour % 24] & digest[24 + hour % 24]

    def life_within(self, start: int, end: int) -> tuple[int, int]:
        """The part of [start, end) in which the project exists; empty (start >= end) if there is none."""
        return max(start, self._start), min(end, self._end)

    def has_anything(self, day: int) -> bool:
        """False where a day holds nothing at all (cheap to ask)."""
        return self.day(day) is not _NOTHING

    def _final_day(self, day: int) -> Amounts:
        found = self._sums.get(day)
        if found is None:
            hours = self.day(day)
            if self.exact_hours:
                found = tuple(sum(raw // DIVISORS[m] for raw in metric) for m, metric in enumerate(hours))
            else:
                found = tuple(map(sum, hours))
            self._sums[day] = found
        return found

    def _running_day(self, day: int, start: int, end: int, now: int) -> Amounts:
        sums = [0] * 8
        for hour in range(max(24 * day, start // 3600), min(24 * day + 24, -(-end // 3600))):
            raw = self._visible(hour, start, end, now)
            if raw is None:
                continue
            for metric, amount in enumerate(raw):
                sums[metric] += amount // DIVISORS[metric] if self.exact_hours else amount
        return tuple(sums)

    def _visible(self, hour: int, start: int, end: int, now: int) -> Amounts | None:
        """The raw hour, cut to [start, end), as shown at `now`; None while it is missing."""
        hour_start, hour_end = 3600 * hour, 3600 * hour + 3600
        if now >= hour_end + _FINAL_SECONDS:
            return self._part(hour, start, end)
        known_until = now - now % _REFRESH_SECONDS
        digest = draw(self.project.seed, self.project.number, hour, "late")
        is_late, is_revised = digest[0] < 16, 16 <= digest[0] < 24
        if known_until <= hour_start or (is_late and now < hour_end + 60 * (5 + digest[1] % 46)):
            return None
        if known_until < hour_end:
            return self._part(hour, start, min(end, known_until))
        raw = self._part(hour, start, end)
        if is_revised and now < hour_end + 3600 * (2 + digest[1] % 18):
            return _provisional(raw, 12 + digest[2] % 9)
        return raw

    def _part(self, hour: int, start: int, end: int) -> Amounts:
        """The raw hour, cut to [start, end) so that the parts of an hour always sum to the hour."""
        hours = self.day(hour // 24)
        at = hour % 24
        a, b = max(start - 3600 * hour, 0), min(end - 3600 * hour, 3600)
        if a == 0 and b == 3600:
            return tuple(metric[at] for metric in hours)
        return tuple(metric[at] * b // 3600 - metric[at] * a // 3600 for metric in hours) if a < b else (0,) * 8

    def _clipped(self, day: int) -> Day:
        midnight = 86400 * day
        if self.project.activity == "dormant" or midnight + 86400 <= self._start or self._end <= midnight:
            return _NOTHING
        hours = _raw_day(self.project, day)
        if self._start <= midnight and midnight + 86400 <= self._end:
            return hours
        starts = range(midnight, midnight + 86400, 3600)
        shares = [max(0, min(self._end, hour + 3600) - max(self._start, hour)) for hour in starts]
        clipped = tuple(tuple(raw * s // 3600 for raw, s in zip(metric, shares, strict=True)) for metric in hours)
        return clipped if any(map(any, clipped)) else _NOTHING


def _provisional(raw: Amounts, sixteenths: int) -> Amounts:
    """The first values of an hour that is revised later: too low, too high, or with transfer that did not happen."""
    shown = [amount * sixteenths // 16 for amount in raw]
    if sixteenths == 16 and raw[PUBLIC] == 0 and any(raw):
        shown[PUBLIC] = 1_048_576
    return tuple(shown)


def _raw_day(project: Project, day: int) -> Day:
    digest = draw(project.seed, project.number, day, "day")
    compute = tuple(_compute(project, digest, hour, day) for hour in range(24))
    public = tuple(seconds * project.egress_bytes_per_cu_second for seconds in compute)
    private = tuple(amount // 3 for amount in public) if project.has_private_link else _ZEROS
    children = children_on(project, day)
    is_active = any(compute)
    restore = project.root_bytes // 64 * (1 + digest[60] % 8) if is_active else 0
    return (
        compute,
        _constant(root_size(project, day)),
        _constant(children * (project.child_bytes + 8192 * digest[61])),
        _constant(restore),
        public,
        private,
        _constant(children),
        _constant(project.snapshot_bytes),
    )


def _constant(per_second: int) -> tuple[int, ...]:
    return (3600 * per_second,) * 24 if per_second else _ZEROS


def _compute(project: Project, digest: bytes, hour: int, day: int) -> int:
    """CU-seconds of one hour; whether the project was awake depends on activity, hour and weekday."""
    chance = int.from_bytes(digest[2 * hour : 2 * hour + 2], "big")
    is_office = 7 <= hour < 19 and (day + 3) % 7 < 5  # 1970-01-01 was a Thursday
    if chance >= _AWAKE_BELOW[project.activity][is_office]:
        return 0
    if project.activity == "always":
        return 900 * project.quarters + chance % 300
    return (300 + chance % 3300) * project.quarters // 4


def written_bytes(compute_unit_seconds: int) -> int:
    """The quota counter `written_data_bytes`, which no history metric shows: in proportion to compute."""
    return 21_000 * compute_unit_seconds


def active_seconds(project: Project, compute_unit_seconds: int) -> int:
    """The quota counter `active_time_seconds`: compute time without its size."""
    return compute_unit_seconds * 4 // project.quarters


def branch_weight(project: Project, branch: int) -> int:
    """How much of a project's activity a branch takes: the root 12, each child 1 to 4."""
    return 12 if branch == 0 else 1 + number_from(draw(project.seed, project.number, branch, "weight"), 0, 4)
