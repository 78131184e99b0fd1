"""The configuration of the demo: a platform that sells three plans and gives a fourth away; and files for its keys."""

from pathlib import Path

CONFIG = """\
# The configuration of `metering demo`: a platform that sells three plans and gives the fourth away.
# Its API was the sandbox, which is gone by now; every command that reads works on:
#   METERING_NOW={now} metering usage previous --config {path}

[store]
directory = "var"

[neon]
base_url = "{base_url}"
history_requests_per_minute = 6000
requests_per_minute = 60000

[[organizations]]
id = "{paid}"
api_key_file = "sandbox-key"
default_plan = "starter"

[[organizations]]
id = "{sponsored}"
api_key_file = "sandbox-key"
sponsored = true

[customers]
file = "customers.csv"
project_name_pattern = '(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\\d+)'

[seller]
name = "Acme Platforms Ltd"
street = "1 Example Street"
postcode = "1000"
city = "Brussels"
country = "BE"
tax_id = "BE0123456749"
email = "billing@acme-platforms.example"

[dashboard]
link_secret_file = "link-secret"

[[webhooks]]
url = "{receiver}"
secret_file = "webhook-secret"
allow_private_network = true

[[plans]]
id = "free"
name = "Free"
currency = "USD"
base_fee = "0"
[plans.quota]
compute_time_seconds = 360000

[[plans]]
id = "starter"
name = "Starter"
currency = "USD"
base_fee = "5.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "per_unit"
included = "20"
unit_price = "0.19"
[[plans.prices]]
meter = "storage"
valid_from = 2026-01-01
model = "per_unit"
included = "1"
unit_price = "0.50"
[[plans.prices]]
meter = "public_transfer"
valid_from = 2026-01-01
model = "per_unit"
included = "10"
unit_price = "0.15"

[[plans]]
id = "pro"
name = "Pro"
currency = "USD"
base_fee = "20.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "graduated"
included = "100"
tiers = [{{ up_to = "1000", unit_price = "0.16" }}, {{ unit_price = "0.14" }}]
[[plans.prices]]
meter = "storage"
valid_from = 2026-01-01
model = "per_unit"
included = "10"
unit_price = "0.45"
[[plans.prices]]
meter = "storage"
valid_from = 2026-10-01
model = "per_unit"
included = "10"
unit_price = "0.40"
[[plans.prices]]
meter = "public_transfer"
valid_from = 2026-01-01
model = "per_unit"
included = "100"
unit_price = "0.12"
[[plans.prices]]
meter = "extra_branches"
valid_from = 2026-01-01
model = "per_unit"
included_per_hour = "9"
unit_price = "2.00"

[[plans]]
id = "business"
name = "Business"
currency = "USD"
base_fee = "80.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "graduated"
included = "500"
tiers = [
  {{ up_to = "2000", unit_price = "0.15", flat_fee = "10.00" }},
  {{ unit_price = "0.13" }},
]
[[plans.prices]]
meter = "storage"
valid_from = 2026-01-01
model = "per_unit"
included = "50"
unit_price = "0.42"
[[plans.prices]]
meter = "instant_restore"
valid_from = 2026-01-01
model = "per_unit"
unit_price = "0.25"
[[plans.prices]]
meter = "public_transfer"
valid_from = 2026-01-01
model = "per_unit"
included = "500"
unit_price = "0.12"
[[plans.prices]]
meter = "extra_branches"
valid_from = 2026-01-01
model = "per_unit"
included_per_hour = "24"
unit_price = "2.00"
"""


def write_secret(path: Path, text: str) -> None:
    """A file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text + "\n", encoding="utf-8")
