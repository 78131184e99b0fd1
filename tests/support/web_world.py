"""A small platform with a closed month and a running one; customers and projects call themselves what does harm."""

import csv
import random
from datetime import timedelta
from pathlib import Path

from metering.alerts import recording
from metering.billing import terms
from metering.config import Config, read
from metering.core import meters
from metering.core.period import month_of
from metering.invoicing import close
from metering.quotas import status
from metering.rating import validation
from tests.support import books
from tests.support.issued import POISON

NOW = books.when("2026-10-05T12")
SEPTEMBER = month_of(books.when("2026-09-01"))
NAMES = [text.replace("\x00", "\x07") for text in POISON if text != "lone \ud800 surrogate"]
"""A CSV file in UTF-8 holds neither of the two."""
CUSTOMERS = 64
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
PROJECTS = [f"calm-dawn-{number:08d}" for number in range(CUSTOMERS)]
HOOK_SECRET = "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
LINK_SECRET = "link-secret-of-a-test-0123456789"
CONFIG = """
[[organizations]]
id = "org-1"
api_key_env = "KEY"

[customers]
file = "customers.csv"
subscriptions = "subscriptions.csv"

[seller]
name = "Acme Platforms Ltd"

[[webhooks]]
url = "http://127.0.0.1:9/"
secret_env = "HOOK"
allow_private_network = true

[[plans]]
id = "pro"
name = "Pro"
currency = "USD"
base_fee = "20.00"
[plans.quota]
compute_time_seconds = 100000
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "graduated"
included = "1"
tiers = [{ up_to = "5", unit_price = "0.16" }, { unit_price = "0.12" }]
[[plans.prices]]
meter = "public_transfer"
valid_from = 2026-01-01
model = "per_unit"
unit_price = "0.10"
"""


def customer(number: int) -> str:
    """The id of a customer: hostile itself for some."""
    ids = {3: "<b>bold</b>", 4: "=1+1", 5: "../../etc/passwd", 6: "a&b=c#d?e", 7: "عميل", 8: "."}
    return ids.get(number, f"cust{number}")


def name_of(number: int) -> str:
    """What a customer and its project are called."""
    return NAMES[number] if number < len(NAMES) else f"Customer {number}"


def configured(directory: Path, more: str = "") -> Config:
    """The configuration, read from its files."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.toml"
    path.write_text(CONFIG + more)
    with (directory / "customers.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("customer", "name", "tax_rate_percent", "tax_name"))
        rows.writerows((customer(number), name_of(number), "21", "VAT") for number in range(CUSTOMERS))
    with (directory / "subscriptions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("project_id", "customer", "plan", "valid_from", "valid_to"))
        rows.writerows((project, customer(number), "pro", "", "") for number, project in enumerate(PROJECTS))
    return read(
        path,
        environ={"KEY": "k", "HOOK": HOOK_SECRET},
        card_faults=lambda card: validation.faults(card.plans, meters.catalogue(card.meters)),
    )


def usage(start: str, days: int) -> dict[str, dict[str, dict[str, int]]]:
    """Some hours of every project's days."""
    chance = random.Random(start)
    first = books.when(start)
    return {
        project: {
            f"{first + timedelta(days=day, hours=hour):%Y-%m-%dT%H}": {
                "compute_unit_seconds": chance.randrange(100, 4000) * (1 + number % 7),
                "public_network_transfer_bytes": chance.randrange(10**9),
            }
            for day in range(days)
            for hour in ((number % 9, 9) if day % (2 + number % 3) == 0 else ())
        }
        for number, project in enumerate(PROJECTS)
    }


def lived_in(directory: Path, more: str = "", transfer: int = 0) -> Config:
    """September read, closed and announced; October read up to the fifth; quotas reached and alerts recorded.

    `transfer`: private transfer of one customer's project in October.
    """
    found = configured(directory, more)
    book = books.Books(found.store.directory)
    listed = {project: (name_of(number), "2026-02-03") for number, project in enumerate(PROJECTS)}
    with book.open() as ledger:
        book.inventory(ledger, listed, at="2026-09-01T00")
        book.history(ledger, usage("2026-09-01", 30), since="2026-09-01", until="2026-10-01", at="2026-10-02T02")
        book.inventory(ledger, listed, at="2026-10-02T03")
        book.at = books.when("2026-10-03T00")
        close.close(ledger, found, SEPTEMBER, book.at)
        october = usage("2026-10-01", 5)
        october[PROJECTS[20]]["2026-10-01T05"] = {"private_network_transfer_bytes": transfer} if transfer else {}
        book.history(ledger, october, since="2026-10-01", until="2026-10-05T10", at="2026-10-05T11:30")
        book.at = NOW
        for number in (1, 2, 3, 20, 21):
            book.counters(ledger, PROJECTS[number], compute_time_seconds=60_000 + 10_000 * (number % 10))
        rows = status.quota_rows(
            status.running(ledger.store, terms.of(found), NOW), found.quota.thresholds_percent, reached_only=True
        )
        recording.evaluate(ledger, rows, found, NOW)
        counted = {"requests": 77, "pages": 70, "changes": 12, "outcome": "complete", "faults": []}
        at = books.stamp(NOW - timedelta(minutes=5))
        ledger.record("cycle", {"command": "poll", "started_at": at, "ended_at": at, **counted})
    return found
