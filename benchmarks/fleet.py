"""A store full of a synthetic fleet, made without a poll: what the benchmarks of rating, closing and quotas measure.

70 % of the projects are idle, 20 % light, 8 % moderate, 2 % always on; storage is never zero, compute is zero in most
hours. Every value is a function of (project, hour), so a fleet of a size is the same everywhere. Rows lie as landing
leaves them: hour by hour, in each hour project by project.
"""

import csv
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from metering.config import Config, read
from metering.core.period import HOUR, Period
from metering.ledger.projections.rollup import roll
from metering.store import database as store
from metering.store import journal
from metering.store.database import Store

Found = TypeVar("Found")

MONTH = Period(start=datetime(2026, 10, 1, tzinfo=UTC), end=datetime(2026, 11, 1, tzinfo=UTC))
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
ORGANIZATION = "org-fleet-12345678"
PROJECTS_PER_PAGE = 100
METRICS = 8
SUBSCRIBED_BELOW = 4
"""Projects whose number is below this in every hundred have a line in subscriptions.csv: 3 % change their plan."""

CONFIG = f"""
[[organizations]]
id = "{ORGANIZATION}"
api_key_env = "FLEET_API_KEY"
plan = "scale"

[customers]
subscriptions = "subscriptions.csv"
project_name_pattern = '(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\\d+)'

[[plans]]
id = "free"
name = "Free"
currency = "USD"
prices = []
[plans.quota]
compute_time_seconds = 360000
data_transfer_bytes = 5368709120

[[plans]]
id = "pro"
name = "Pro"
currency = "USD"
base_fee = "20.00"
prices = [
  {{ meter = "compute", valid_from = 2026-01-01, model = "graduated", included = "100", tiers = [
        {{ up_to = "500", unit_price = "0.16" }}, {{ unit_price = "0.12" }} ] }},
  {{ meter = "compute", valid_from = 2026-10-16, model = "graduated", included = "100", tiers = [
        {{ up_to = "500", unit_price = "0.18" }}, {{ unit_price = "0.14" }} ] }},
  {{ meter = "storage", valid_from = 2026-01-01, model = "per_unit", unit_price = "0.40", included = "10" }},
  {{ meter = "public_transfer", valid_from = 2026-01-01, model = "package", package_size = "10", package_price = "1" }},
]
[plans.quota]
compute_time_seconds = 2700000
data_transfer_bytes = 53687091200

[[plans]]
id = "scale"
name = "Scale"
currency = "USD"
base_fee = "69.00"
prices = [
  {{ meter = "compute", valid_from = 2026-01-01, model = "graduated", tiers = [
        {{ up_to = "1000", unit_price = "0.20" }}, {{ unit_price = "0.15" }} ] }},
  {{ meter = "storage_root", valid_from = 2026-01-01, model = "per_unit", unit_price = "0.35" }},
  {{ meter = "storage_child", valid_from = 2026-01-01, model = "per_unit", unit_price = "0.45" }},
  {{ meter = "instant_restore", valid_from = 2026-01-01, model = "per_unit", unit_price = "0.25" }},
  {{ meter = "public_transfer", valid_from = 2026-01-01, model = "per_unit", unit_price = "0.09" }},
 {{ meter = "extra_branches", valid_from = 2026-01-01, model = "per_unit", unit_price = "2", included_per_hour = "9" }},
]
[plans.quota]
compute_time_seconds = 36000000
"""

# One day of hourly buckets. r is a number of 64 bits per project, x one per project and hour.
_DAY = """
insert into observation
with cell as (
    select
        h.hour,
        p.project_key,
        hash(p.project_key) % 1_000_000          as r,
        hash(p.project_key, h.hour) % 1_000_000  as x
    from range({first}, {last}) as h(hour), project as p
),
shaped as (
    select
        *,
        case when r < 700_000 then 0 when r < 900_000 then 1 when r < 980_000 then 2 else 3 end as profile,
        -- how often a compute runs, in a million hours
        case when r < 700_000 then 2_000 when r < 900_000 then 40_000 when r < 980_000 then 160_000
             else 1_000_000 end as busy
    from cell
)
select
    1 + hour * {pages} + project_key // {per_page} as seq,
    project_key,
    1 as neon_period_key,
    0 as grain,
    $start::timestamptz + hour * interval 1 hour as timeframe_start,
    case when x < busy then (900 << profile) + (x * 7919 + r) % 3600 else 0 end as compute_unit_seconds,
    (30_000_000 + r * 17) * (1 + 6 * profile) // 744 + hour * (profile + 1) as root_branch_bytes_month,
    case when profile > 0 then r * 1_000 // 744 + x % 1_000 else 0 end as child_branch_bytes_month,
    case when profile > 1 then (x * 997) % 4_000_000 else 0 end as instant_restore_bytes_month,
    case when profile = 3 then 1_344_086 else 0 end as snapshot_storage_bytes_month,
    case when x < busy then (x * 31_337 + r) % 80_000_000 else 0 end as public_network_transfer_bytes,
    case when profile = 3 then x * 13 else 0 end as private_network_transfer_bytes,
    case when profile > 1 then r % 14 else 0 end as extra_branches_month
from shaped
order by hour, project_key
"""


def pages_per_hour(projects: int) -> int:
    """Pages that a walk over the fleet has."""
    return -(-projects // PROJECTS_PER_PAGE)


def build(directory: Path, projects: int, *, hours: int = 744) -> None:
    """Makes journal, store and configuration of a fleet whose whole month is certified."""
    pages = pages_per_hour(projects)
    last = _journal(directory, hours * pages)
    database = store.open_writer(directory)
    run = database.connection.execute
    run(
        "insert into project select i, $organization, 'calm-dawn-' || lpad(i::varchar, 8, '0') from range($n) as t(i)",
        {"organization": ORGANIZATION, "n": projects},
    )
    run(
        "insert into neon_period values (1, $organization, 'p-1', 'scale', $start, $end)",
        {"organization": ORGANIZATION, "start": MONTH.start, "end": MONTH.end},
    )
    for first in range(0, hours, 24):
        text = _DAY.format(first=first, last=min(hours, first + 24), pages=pages, per_page=PROJECTS_PER_PAGE)
        run(text, {"start": MONTH.start})
        roll(database, (first + 24) * pages, MONTH.start + (first + 24) * HOUR, after=first * pages)
    run(_PAGES, {"organization": ORGANIZATION, "n": hours * pages, "pages": pages, "start": MONTH.start})
    run(_SIGHTINGS, {"organization": ORGANIZATION, "start": MONTH.start - timedelta(days=40)})
    run(
        "insert into coverage values (1, $organization, 0, $start, $end, 1)",
        {"organization": ORGANIZATION, "start": MONTH.start, "end": MONTH.start + hours * HOUR},
    )
    run("insert into project_read select project_key, $read_at from project", {"read_at": MONTH.start + hours * HOUR})
    run("update position set seq = $seq, hash = $hash", {"seq": last.seq, "hash": last.hash.hex()})
    run("checkpoint")
    database.connection.close()
    _configuration(directory, projects)


_PAGES = """
insert into page
select
    1 + i                                             as seq,
    1 + i // $pages                                   as walk,
    'history'                                         as endpoint,
    $organization                                     as organization,
    $start::timestamptz + (2 + i // $pages) * interval 1 hour as sent_at,
    $start::timestamptz + (2 + i // $pages) * interval 1 hour as received_at,
    'request-' || i                                   as request_id,
    sha256(i::varchar)                                as sha256,
    60_000                                            as bytes,
    100                                               as items,
    100                                               as changes,
    ['compute_unit_seconds']                          as metrics,
    [0]                                               as grains,
    null                                              as fault
from range($n) as t(i)
"""
# A third of the fleet holds each plan, by the project's name.
_SIGHTINGS = """
insert into sighting
select
    1                   as seq,
    $organization       as organization,
    project_id,
    $start::timestamptz as seen_at,
    'acme-cust' || project_key || '-' || ['free', 'pro', 'scale'][1 + project_key % 3] || '-1756684800' as name,
    'aws-eu-central-1'  as region,
    $start::timestamptz as created_at,
    null                as deleted_at,
    true                as is_listed,
    true                as has_settings,
    case when project_key % 10 = 0 then '{"compute_time_seconds": 3600000}' else '{}' end as limits
from project
"""


def _journal(directory: Path, records: int) -> journal.Record:
    """As many records as there are pages: their content was landed without them, so they are empty."""
    book = journal.Journal(directory / "journal")
    for _ in range(records):
        last = book.append("page", {}, at=MONTH.end, sync=False)
    book.sync()
    book.close()
    return last


def _configuration(directory: Path, projects: int) -> None:
    (directory / "config.toml").write_text(f'[store]\ndirectory = "{directory}"\n{CONFIG}')
    with (directory / "subscriptions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("project_id", "customer", "plan", "valid_from", "valid_to"))
        for number in range(projects):
            if number % 100 < SUBSCRIBED_BELOW - 1:
                project, changed = f"calm-dawn-{number:08d}", f"2026-10-{10 + number % 7:02d}T{number % 24:02d}:00:00Z"
                rows.writerow((project, f"cust{number}", "pro", "", changed))
                rows.writerow((project, f"cust{number}", "scale", changed, ""))


def read_config(directory: Path) -> Config:
    """The fleet's configuration."""
    return read(directory / "config.toml", environ={"FLEET_API_KEY": "none"})


def opened(directory: Path) -> Store:
    """The fleet's store; close its connection afterwards."""
    return store.open_writer(directory)


def timed(work: Callable[[], Found]) -> tuple[Found, float]:
    """What the work gave, and its seconds."""
    begun = time.perf_counter()
    found = work()
    return found, time.perf_counter() - begun


def peak_megabytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
