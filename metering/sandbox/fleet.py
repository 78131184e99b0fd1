"""The sandbox's fleet: organizations, their billing periods, and projects with names, sizes, lives and quotas.

Pure: everything is derived from (seed, project number) by a hash, so equal seeds give equal fleets on every machine,
and a larger fleet begins with the smaller one. Must not know HTTP, the clock or when a client may see a value.

The mix follows the fleets that platforms describe: of the paid projects 70 % idle (two in five of these wholly
dormant), 20 % light, 8 % moderate, 2 % always on. Every fourth project belongs to the sponsored organization and is
idle or light. One project in 16 is deleted, one in 48 lives three hours only. Names are
`platform-customer-plan-created`, the platform is `acme`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from metering.core.period import DAY, HOUR, floor_month
from metering.sandbox.project import Organization, Project, draw, number_from
from metering.sandbox.quotas import with_quotas

PAID_ORGANIZATION = "org-paid-11223344"
SPONSORED_ORGANIZATION = "org-free-55667788"
PLANS = ("free", "starter", "pro", "business")
"""The plan words in names: `free` in the sponsored organization, the others in the paid one."""

_FIRST_WORDS = (
    "calm",
    "cold",
    "damp",
    "dawn",
    "late",
    "lucky",
    "misty",
    "noisy",
    "old",
    "quiet",
    "shy",
    "soft",
    "young",
)
_SECOND_WORDS = (
    "bird",
    "boat",
    "bread",
    "cell",
    "dust",
    "field",
    "fire",
    "frog",
    "glade",
    "haze",
    "lake",
    "moon",
    "sky",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a fleet may hold besides ordinary projects.

    `plan_changes`: the paid organization goes from launch to scale at half past ten of its 38th day, inside an hour.
    `transfers`: how many sponsored projects move to the paid organization on the 40th day, inside an hour.
    `strays`: how many projects have a name that no pattern matches.
    """

    plan_changes: bool = True
    transfers: int = 0
    strays: int = 0


def start_for(now: datetime) -> datetime:
    """The start of a fleet that is used around `now`: in the second month before, inside a day and an hour."""
    first = floor_month(floor_month(floor_month(now) - DAY) - DAY)
    return first + timedelta(days=1, hours=18, minutes=4, seconds=52)


class Fleet:
    """The organizations and projects of a seed, by their ids.

    `start` is the moment at which the organizations began (history starts there). `tuned_at` (default: 75 days later)
    is the moment for which the quotas are chosen, such that some stand above 80 %, 95 % and 100 % then.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        projects: int = 200,
        start: datetime,
        tuned_at: datetime | None = None,
        extras: Extras | None = None,
    ) -> None:
        extras = extras or Extras()
        self.seed = seed
        self.start = start.astimezone(UTC).replace(microsecond=0)
        self.tuned_at = tuned_at or self.start + 75 * DAY
        organizations = _organizations(self.start, extras.plan_changes)
        self.organizations = {organization.id: organization for organization in organizations}
        drawn = [_project(seed, number, self.start, is_stray=number < extras.strays) for number in range(projects)]
        drawn = with_quotas(_transferred(drawn, extras.transfers, self.start), self.tuned_at)
        self.projects = {project.id: project for project in drawn}

    @classmethod
    def around(cls, now: datetime, *, seed: int = 1, projects: int = 200) -> "Fleet":
        """A fleet with two whole months of past at `now`, and quotas tuned for `now`."""
        return cls(seed=seed, projects=projects, start=start_for(now), tuned_at=now)


def _organizations(start: datetime, plan_changes: bool) -> tuple[Organization, Organization]:
    change = (start + 38 * DAY).replace(hour=10, minute=30, second=0)
    plans = ((start, "launch"), (change, "scale")) if plan_changes else ((start, "launch"),)
    return (
        Organization(id=PAID_ORGANIZATION, name="Acme Paid", created_at=start, plans=plans),
        Organization(
            id=SPONSORED_ORGANIZATION, name="Acme Free", created_at=start, plans=((start, "free"),), sponsored=True
        ),
    )


def _project(seed: int, number: int, start: datetime, *, is_stray: bool) -> Project:
    digest = draw(seed, number, "project")
    is_sponsored = number % 4 == 3
    rank = number // 4 if is_sponsored else 3 * (number // 4) + number % 4
    activity = _activity(rank, is_sponsored, digest)
    created_at = _created_at(rank, start, digest)
    plan = "free" if is_sponsored else PLANS[1 + digest[40] % 3]
    name = f"scratch{number}" if is_stray else f"acme-cust{1 + number // 2}-{plan}-{int(created_at.timestamp())}"
    scale = {"dormant": 0, "idle": 1, "light": 4, "moderate": 40, "always": 400}[activity]
    return Project(
        seed=seed,
        number=number,
        id=_project_id(seed, number),
        name=name,
        created_at=created_at,
        deleted_at=_deleted_at(rank, created_at, digest),
        homes=((created_at, SPONSORED_ORGANIZATION if is_sponsored else PAID_ORGANIZATION),),
        activity=activity,
        quarters={"moderate": 2, "always": 4}.get(activity, 1) << digest[41] % 3,
        root_bytes=8192 * scale * (3800 + number_from(digest, 2, 6000)),
        growth_bytes_per_day=8192 * scale * number_from(digest, 3, 40),
        children=_children(activity, is_sponsored, digest),
        child_bytes=8192 * (100 + number_from(digest, 4, 900)) * scale,
        snapshot_bytes=8192 * scale * 3000 if digest[42] % 8 == 0 and not is_sponsored else 0,
        egress_bytes_per_cu_second=500 + number_from(digest, 5, 60_000) * (1 + 4 * (digest[43] % 16 == 0)),
        has_private_link=digest[44] % 10 == 0 and not is_sponsored,
        is_counter_stuck=digest[45] % 32 == 0,
        counter_lag_minutes=15 + digest[46] % 46,
    )


def _project_id(seed: int, number: int) -> str:
    digest = draw(seed, number, "id")
    first, second = _FIRST_WORDS[digest[0] % len(_FIRST_WORDS)], _SECOND_WORDS[digest[1] % len(_SECOND_WORDS)]
    # the digits contain the number, so ids are unique in a fleet of any size
    return f"{first}-{second}-{(number * 61 + 7) % 1_000_000:06d}{digest[2] % 90 + 10}"


def _activity(rank: int, is_sponsored: bool, digest: bytes) -> str:
    percent = rank * 37 % 100  # 37 and 100 share no factor: the shares are exact in every hundred
    if percent < 10 and not is_sponsored:
        return "always" if percent < 2 else "moderate"
    if percent < 30:
        return "light"
    return "dormant" if digest[47] % 5 < 2 else "idle"


def _created_at(rank: int, start: datetime, digest: bytes) -> datetime:
    reach = 90 * 86400 if rank % 4 == 3 else 2 * 86400
    return start + timedelta(seconds=1 + number_from(digest, 0, reach))


def _deleted_at(rank: int, created_at: datetime, digest: bytes) -> datetime | None:
    if rank % 48 == 7:
        return created_at + 3 * HOUR + timedelta(seconds=digest[48])
    if rank % 16 == 5:
        return created_at + timedelta(seconds=10 * 86400 + number_from(digest, 1, 50 * 86400))
    return None


def _children(activity: str, is_sponsored: bool, digest: bytes) -> int:
    if activity == "dormant" or digest[49] % 5 < 3:
        return 0
    most = 2 if is_sponsored else {"idle": 2, "light": 5, "moderate": 15, "always": 40}[activity]
    return 1 + digest[50] % most


def _transferred(projects: list[Project], transfers: int, start: datetime) -> list[Project]:
    """The first `transfers` sponsored projects move to the paid organization in their second month, inside an hour."""
    moved_at = (start + 40 * DAY).replace(hour=15, minute=20, second=0)
    free = [project for project in projects if project.organization == SPONSORED_ORGANIZATION]
    movers = {project.id for project in [project for project in free if project.created_at < moved_at][:transfers]}
    return [_moved(project, moved_at) if project.id in movers else project for project in projects]


def _moved(project: Project, moved_at: datetime) -> Project:
    return replace(project, homes=(*project.homes, (moved_at, PAID_ORGANIZATION)), deleted_at=None)
