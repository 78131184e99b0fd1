"""config.toml and its layers: parsed values, and every fault with its key."""

import copy
import pickle
import re
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from metering.config import NeonConfig, ScheduleConfig, SellerConfig, Webhook, parse_price
from metering.config import read as read_config
from metering.config.models import CustomersConfig, InvoicesConfig, QuotaConfig, StoreConfig
from metering.core.errors import ConfigError, CredentialsError, Fault
from metering.core.meters import Divisor, Meter
from metering.core.parties import Discount, Organization
from metering.core.plans import Plan, Price, Tier
from metering.core.plans import Price as plans_Price
from metering.core.secrets import Secret, secret
from metering.core.values import WrittenFloat

TOP = Path(__file__).parents[2]

PLAN = """
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
tiers = [{ up_to = "1000", unit_price = "0.16" }, { unit_price = "0.120" }]
[[plans.prices]]
meter = "compute"
valid_from = 2026-07-01T12:00:00+02:00
model = "per_unit"
unit_price = "0.18"
"""


def read(directory, text, *, environ=None, overrides=None, card_faults=None, channel_keys=None):
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(
        path,
        environ=environ or {},
        overrides=overrides or {},
        card_faults=card_faults,
        channel_keys=channel_keys,
    )


def faults(directory, text, **layers):
    with pytest.raises(ConfigError) as caught:
        read(directory, text, **layers)
    assert caught.value.exit_code == 4
    return [str(fault) for fault in caught.value.faults]


def test_an_empty_file_gives_every_default_and_an_absolute_store(tmp_path):
    read_config = read(tmp_path, "")
    assert read_config.store.directory == tmp_path / "var"
    assert read_config.neon.base_url == "https://console.neon.tech/api/v2"
    assert (read_config.neon.history_requests_per_minute, read_config.neon.requests_per_minute) == (30, 300)
    assert (read_config.neon.timeout_seconds, read_config.neon.max_retries) == (30, 6)
    assert read_config.schedule.model_dump() == {
        "poll_minutes": 15,
        "reread_hours": 24,
        "sweep_hours": 6,
        "settle_hours": 36,
        "close_day": 3,
        "first_month": None,
    }
    assert read_config.invoices.number == "INV-{year}-{number:06d}"
    assert (read_config.invoices.rounding, read_config.invoices.prorate) == ("half_up", "second")
    assert read_config.quota.thresholds_percent == (80, 95)
    assert read_config.organizations == ()
    assert set(read_config.origins.values()) == {"default"}


def test_money_keeps_its_digits_and_times_become_utc(tmp_path):
    plan = read(tmp_path, PLAN).plans[0]
    assert str(plan.base_fee) == "20.00"
    assert [price.valid_from for price in plan.prices] == [
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 7, 1, 10, tzinfo=UTC),
    ]
    assert [str(tier.unit_price) for tier in plan.prices[0].tiers] == ["0.16", "0.120"]
    assert plan.prices[0].tiers[1].up_to is None
    assert str(plan.prices[1].unit_price) == "0.18"


def test_a_plan_without_a_name_is_called_by_its_id(tmp_path):
    assert read(tmp_path, '[[plans]]\nid = "pro"\ncurrency = "USD"').plans[0].name == "pro"


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    text = '\ufeff[schedule]\r\nclose_day = 5\r\n[seller]\r\naddress = """a\r\nb"""\r\n'
    read_config = read(tmp_path, text)
    assert read_config.schedule.close_day == 5
    assert read_config.seller.address == "a\nb"


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(tmp_path):
    read_config = read(
        tmp_path,
        "[neon]\ntimeout_seconds = 11\nmax_retries = 1\nrequests_per_minute = 100",
        environ={"METERING_NEON__TIMEOUT_SECONDS": "12", "METERING_NEON__MAX_RETRIES": "2"},
        overrides={"neon.timeout_seconds": "13"},
    )
    neon = read_config.neon
    assert (neon.timeout_seconds, neon.max_retries, neon.requests_per_minute) == (13, 2, 100)
    assert neon.history_requests_per_minute == 30
    assert read_config.origins["neon.timeout_seconds"] == "command line"
    assert read_config.origins["neon.max_retries"] == "environment METERING_NEON__MAX_RETRIES"
    assert read_config.origins["neon.requests_per_minute"] == "file"
    assert read_config.origins["neon.history_requests_per_minute"] == "default"


def test_the_environment_sets_lists_flags_paths_entries_and_quotas(tmp_path):
    read_config = read(
        tmp_path,
        PLAN,
        environ={
            "METERING_ORGANIZATIONS__0__ID": "org-a",
            "METERING_ORGANIZATIONS__0__API_KEY_ENV": "KEY__A",
            "METERING_ORGANIZATIONS__0__SPONSORED": "true",
            "METERING_PLANS__0__QUOTA__COMPUTE_TIME_SECONDS": "3600",
            "METERING_PLANS__0__PRICES__1__UNIT_PRICE": "0.19",
            "METERING_QUOTA__THRESHOLDS_PERCENT": "[50, 75]",
            "METERING_STORE__DIRECTORY": "elsewhere",
            "METERING_WEBHOOKS__0__EVENTS": "quota.*, poll.stalled",
            "METERING_WEBHOOKS__0__SECRET_ENV": "S",
            "METERING_WEBHOOKS__0__URL": "https://hooks.example/x",
        },
    )
    assert read_config.organizations[0].id == "org-a"
    assert read_config.organizations[0].sponsored is True
    assert read_config.plans[0].quota == {"compute_time_seconds": 3600}
    assert read_config.plans[0].prices[1].unit_price == Decimal("0.19")
    assert read_config.quota.thresholds_percent == (50, 75)
    assert read_config.store.directory == tmp_path / "elsewhere"
    assert read_config.webhooks[0].events == ("quota.*", "poll.stalled")


def test_variables_that_are_no_settings_are_left_alone(tmp_path):
    environ = {
        "METERING_CONFIG": "x",
        "METERING_NOW": "2026-01-01T00:00:00Z",
        "METERING_WEBHOOK_SECRET": "y",
        "METERING_KEY__A": "z",
        "PATH": "/bin",
    }
    text = '[[organizations]]\nid = "o"\napi_key_env = "METERING_KEY__A"'
    assert read(tmp_path, text, environ=environ).organizations[0].api_key_env == "METERING_KEY__A"


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"METERING_NEON__BASE_URLS": "x"}, "METERING_NEON__BASE_URLS: names no setting; did you mean base_url?"),
        ({"METERING_NEO__BASE_URL": "x"}, "METERING_NEO__BASE_URL: names no setting; did you mean neon?"),
        ({"METERING_ORIGINS__X": "x"}, "METERING_ORIGINS__X: names no setting; did you mean organizations?"),
        (
            {"METERING_NEON__MAX_RETRIES": "six"},
            "neon.max_retries (METERING_NEON__MAX_RETRIES): 'six' is not a whole number",
        ),
        (
            {"METERING_ORGANIZATIONS__0__ID": "o", "METERING_ORGANIZATIONS__0__SPONSORED": "yes"},
            "organizations[0].sponsored (METERING_ORGANIZATIONS__0__SPONSORED): 'yes' is neither true nor false",
        ),
        (
            {"METERING_ORGANIZATIONS__1__ID": "o"},
            "METERING_ORGANIZATIONS__1__ID: position 1 does not follow the 0 entries before it",
        ),
        (
            {"METERING_QUOTA__THRESHOLDS_PERCENT": "[80,"},
            "quota.thresholds_percent (METERING_QUOTA__THRESHOLDS_PERCENT): '[80,' is neither a JSON list nor a list"
            " with commas",
        ),
    ],
)
def test_a_variable_that_cannot_be_a_setting_is_a_fault(tmp_path, environ, fault):
    assert fault in faults(tmp_path, "", environ=environ)


def test_an_override_that_names_no_setting_is_a_fault(tmp_path):
    assert faults(tmp_path, "", overrides={"store.dir": "x"}) == [
        "store.dir: names no setting; known here: directory, keep_pages_days, witness"
    ]


ORGANIZATION = '[[organizations]]\nid = "o"\napi_key_env = "K"\n'
METER = '[[meters]]\nid = "m"\nmetrics = ["a"]\nunit = "u"\n'
WEBHOOK = '[[webhooks]]\nsecret_env = "S"\n'
PRICE = '[[plans]]\nid = "p"\ncurrency = "USD"\n[[plans.prices]]\nmeter = "compute"\nvalid_from = 2026-01-01\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[neon]\ntimeout_second = 3", "neon.timeout_second: is not a known key; did you mean timeout_seconds?"),
        ("[nean]\n", "nean: is not a known key; did you mean neon?"),
        ("neon = 3", "neon: is 3, not a table; write { key = value } or a [section]"),
        ('[plans]\nid = "p"', "plans: is not a list of tables; write [[plans]] above each entry"),
        ('[neon]\nmax_retries = "6"', "neon.max_retries: is '6', not a whole number; write digits without quotes"),
        (
            "[neon]\ntimeout_seconds = 2.50",
            "neon.timeout_seconds: is 2.50, not a whole number; write digits without quotes",
        ),
        ("[neon]\nmax_retries = true", "neon.max_retries: is true, not a whole number; write digits without quotes"),
        ("[neon]\nhistory_requests_per_minute = 0", "neon.history_requests_per_minute: is 0; write 1 or more"),
        (
            "[neon]\nhistory_requests_per_minute = 60001",
            "neon.history_requests_per_minute: is 60001; write 60000 or less",
        ),
        ("[schedule]\npoll_minutes = 1441", "schedule.poll_minutes: is 1441; write 1440 or less"),
        ("[schedule]\npoll_minutes = 0", "schedule.poll_minutes: is 0; write 1 or more"),
        ("[schedule]\nsettle_hours = 0", "schedule.settle_hours: is 0; write 1 or more"),
        ("[schedule]\nclose_day = 29", "schedule.close_day: is 29; write 28 or less"),
        (
            '[schedule]\nfirst_month = "2026-13"',
            "schedule.first_month: is '2026-13', not a month; write year and month in quotes, such as \"2026-10\"",
        ),
        (
            "[schedule]\nfirst_month = 2026-10-01",
            "schedule.first_month: is datetime.date(2026, 10, 1), not a month; "
            'write year and month in quotes, such as "2026-10"',
        ),
        (
            '[neon]\nbase_url = "http://neon.example/api"',
            "neon.base_url: would send the key in the clear; write https://",
        ),
        ('[neon]\nbase_url = "https://u:p@neon.example"', "neon.base_url: holds a user or a password"),
        ('[neon]\nbase_url = "ftp://neon.example"', "neon.base_url: is no https address; write https://host/path"),
        ('[neon]\nbase_url = "https://h/x?y=1"', "neon.base_url: has a query; leave out the ? and what follows"),
        ('[neon]\nbase_url = "http://127.0.0.1.evil.example"', "neon.base_url: would send the key in the clear"),
        (
            '[customers]\nproject_name_pattern = "("',
            "customers.project_name_pattern: is not a regular expression that is used here: unclosed group",
        ),
        (
            "[customers]\nproject_name_pattern = '(?P<plan>.+)'",
            "customers.project_name_pattern: has no group customer; write (?P<customer>…) around that part",
        ),
        ('[invoices]\nnumber = "{number}"', "invoices.number: must hold {year} once"),
        ('[invoices]\nnumber = "{year}"', "invoices.number: must hold {number} once"),
        ('[invoices]\nnumber = "{year}-{number}-{month}"', "invoices.number: {month} is unknown"),
        ('[invoices]\nnumber = "{year}-{number:x}"', "invoices.number: {number:x} cannot be filled in"),
        ('[invoices]\nnumber = "{year}-{number!r}"', "invoices.number: {number:} cannot be filled in"),
        ('[invoices]\nnumber = "{year}/{number}"', "invoices.number: makes no file name"),
        ('[invoices]\nnumber = "{year-{number}"', "invoices.number: is not a pattern"),
        ('[invoices]\nnumber = "CN-{year}-{number:06d}"', "invoices.number: looks like a credit note's number"),
        ('[invoices]\nrounding = "up"', "invoices.rounding: is 'up'; write one of 'half_up' or 'half_even'"),
        (
            "[quota]\nthresholds_percent = [95, 80]",
            "quota.thresholds_percent: [95, 80] does not ascend; write [80, 95]",
        ),
        ("[quota]\nthresholds_percent = [80, 80]", "quota.thresholds_percent: [80, 80] does not ascend; write [80]"),
        ("[quota]\nthresholds_percent = []", "quota.thresholds_percent: is empty; name at least one"),
        ("[quota]\nthresholds_percent = [0]", "quota.thresholds_percent[0]: is 0; write 1 to 99"),
        ("[quota]\nthresholds_percent = [80, 100]", "quota.thresholds_percent[1]: is 100; write 1 to 99"),
        ("[quota]\nthresholds_percent = 80", "quota.thresholds_percent: is 80, not a list; write it in [ ]"),
        (
            '[[organizations]]\nid = "o"',
            "organizations[0].api_key_env: is missing; give either api_key_env or api_key_file",
        ),
        (ORGANIZATION + 'api_key_file = "f"', "organizations[0].api_key_env: and api_key_file are both given"),
        (ORGANIZATION + 'default_plan = "por"\n' + PRICE, "organizations[0].default_plan: there is no plan 'por'"),
        (
            ORGANIZATION + ORGANIZATION,
            "organizations[1].id: 'o' stands at organizations[0] already; keep one of the two",
        ),
        ('[[plans]]\nid = "p"\ncurrency = "USD"\n' * 2, "plans[1].id: 'p' stands at plans[0] already"),
        (WEBHOOK + 'url = "http://h/x"', "webhooks[0].url: is not encrypted; write https://"),
        (WEBHOOK + 'url = "https://u@h/x"', "webhooks[0].url: holds a user or a password"),
        (WEBHOOK + 'url = "https://h/x"\nsecret_file = "f"', "webhooks[0].secret_env: and secret_file are both given"),
        ('[[webhooks]]\nurl = "https://h/x"', "webhooks[0].secret_env: is missing"),
        (
            WEBHOOK + 'url = "https://h"\nevents = ["qouta.*"]',
            "webhooks[0].events[0]: 'qouta.*' names no event; did you mean quota.*?",
        ),
        (WEBHOOK + 'url = "https://h"\nevents = []', "webhooks[0].events: is empty; name at least one"),
        (
            '[[meters]]\nid = "m"\nmetrics = ["a", "a"]\nunit = "u"\ndivisors = []',
            "meters[0].metrics: 'a' stands there twice",
        ),
        (
            METER + "divisors = []",
            "meters[0].divisors: is empty; name at least one",
        ),
        (
            METER + 'divisors = [{ valid_from = 2026-01-01, divisor = "0" }]',
            "meters[0].divisors[0].divisor: is 0; write a number above zero",
        ),
        ('[[plans]]\nid = "p"', "plans[0].currency: is missing; this key must be given"),
        ('[[plans]]\nid = "a b"\ncurrency = "USD"', "plans[0].id: 'a b' is no identifier"),
        ('[[plans]]\nid = "p"\ncurrency = "usd"', "plans[0].currency: 'usd' is no currency"),
        (
            '[[plans]]\nid = "p"\ncurrency = "USD"\nbase_fee = 20.50',
            'plans[0].base_fee: is the bare number 20.50; write it as a string: "20.50"',
        ),
        (
            '[[plans]]\nid = "p"\ncurrency = "USD"\nbase_fee = 20',
            'plans[0].base_fee: is the bare number 20; write it as a string: "20"',
        ),
        (
            '[[plans]]\nid = "p"\ncurrency = "USD"\nquota = { compute_time = 3 }',
            "plans[0].quota.compute_time: is not a known key; did you mean compute_time_seconds?",
        ),
        (
            '[[plans]]\nid = "p"\ncurrency = "USD"\nquota = { compute_time_seconds = -1 }',
            "plans[0].quota.compute_time_seconds: is -1; write 0 or more",
        ),
        (PRICE + 'model = "gradated"', "plans[0].prices[0].model: is 'gradated'; write one of 'per_unit', 'graduated'"),
        (PRICE + 'unit_price = "1"', "plans[0].prices[0].model: is missing"),
        (PRICE + 'model = "per_unit"\nunit_price = "-1"', "plans[0].prices[0].unit_price: is -1, below zero"),
        (PRICE + 'model = "per_unit"\nunit_price = "-0"', "plans[0].prices[0].unit_price: is -0, below zero"),
        (PRICE + 'model = "cost_plus"\nmarkup_percent = "-100.01"', "plans[0].prices[0].markup_percent: is -100.01"),
        (
            PRICE + 'model = "graduated"\ntiers = [{ unit_price = 0.160 }]',
            'plans[0].prices[0].tiers[0].unit_price: is the bare number 0.160; write it as a string: "0.160"',
        ),
        (
            PRICE + 'model = "graduated"\ntiers = [{ price = "1" }]',
            "plans[0].prices[0].tiers[0].price: is not a known key",
        ),
        (
            PRICE.replace("2026-01-01", "2026-01-01T00:00:00") + 'model = "volume"',
            "plans[0].prices[0].valid_from: 2026-01-01T00:00:00 has no time zone",
        ),
        (
            PRICE.replace("2026-01-01", '"soon"') + 'model = "volume"',
            "plans[0].prices[0].valid_from: 'soon' is not a date",
        ),
    ],
)
def test_each_fault_names_its_key_and_what_would_be_right(tmp_path, text, fault):
    found = faults(tmp_path, text)
    assert any(line.startswith(fault) for line in found), found


@pytest.mark.parametrize("number", ["1e3", "NaN", "Infinity", "+1", ".5", "5.", "1_000", "1,5", " 1", "", "0x10", "٣"])
def test_only_plain_decimals_are_numbers(tmp_path, number):
    found = faults(tmp_path, PRICE + f'model = "per_unit"\nunit_price = "{number}"')
    assert len(found) == 1
    assert "is not a plain decimal number" in found[0]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[schedule]\npoll_minutes = 1440\nsettle_hours = 1\nclose_day = 28", "schedule"),
        ("[schedule]\npoll_minutes = 1\nclose_day = 0", "schedule"),
        ("[quota]\nthresholds_percent = [1, 99]", "quota"),
        ('[neon]\nbase_url = "http://127.5.0.1:8080/api/v2"', "neon"),
        ('[neon]\nbase_url = "http://[::1]:8080/api/v2"', "neon"),
        ('[neon]\nbase_url = "http://localhost:8080"\nhistory_requests_per_minute = 700\nmax_retries = 0', "neon"),
        ('[invoices]\nnumber = "{year:04d}.{number:d}"', "invoices"),
        ('[[webhooks]]\nurl = "http://10.0.0.1/x"\nsecret_file = "s"\nallow_private_network = true', "webhooks"),
        (PRICE + 'model = "cost_plus"\nmarkup_percent = "-100"', "plans"),
        (PRICE + 'model = "per_unit"\nunit_price = "1' + "0" * 60 + '.000000000001"', "plans"),
    ],
)
def test_the_bounds_themselves_are_allowed(tmp_path, text, key):
    assert getattr(read(tmp_path, text), key)


def test_an_address_loses_the_slash_at_its_end(tmp_path):
    assert read(tmp_path, '[neon]\nbase_url = "https://h.example/api/"').neon.base_url == "https://h.example/api"


def test_all_faults_are_told_at_once_and_none_hides_another(tmp_path):
    text = """
    colour = "red"
    [neon]
    timeout_seconds = "30"
    base_url = "http://neon.example"
    [customers]
    file = "missing.csv"
    project_name_pattern = "("
    [[organizations]]
    id = 7
    default_plan = "por"
    [[plans]]
    id = "pro"
    currency = "USD"
    base_fee = 1
    """
    assert [line.split(":")[0] for line in faults(tmp_path, text)] == [
        "colour",
        "neon.base_url",
        "neon.timeout_seconds",
        "customers.project_name_pattern",
        "organizations[0].id",
        "plans[0].base_fee",
        "organizations[0].api_key_env",
        "organizations[0].default_plan",
        str(tmp_path / "missing.csv"),
    ]


def test_a_key_written_where_its_variable_belongs_is_refused_and_not_repeated(tmp_path):
    found = faults(tmp_path, '[[organizations]]\nid = "o"\napi_key_env = "napi_s3cr3t"')
    assert found == [
        "organizations[0].api_key_env: holds a secret itself; write the name of the environment variable that holds it"
    ]


def test_toml_that_cannot_be_read_is_told_with_its_place(tmp_path):
    assert faults(tmp_path, "[neon]\nmax_retries = ?")[0].startswith(
        f"{tmp_path / 'config.toml'}, line 2, column 15: is not TOML"
    )
    assert faults(tmp_path, "[neon]\n[neon]\n")[0].startswith(f"{tmp_path / 'config.toml'}, line 2")
    assert "is not TOML" in faults(tmp_path, "a = [")[0]
    assert "is not TOML" in faults(tmp_path, "a = 1" + "0" * 5000)[0]


def test_a_missing_file_points_to_init(tmp_path):
    with pytest.raises(ConfigError, match="does not exist; write one with: metering init"):
        read_config(tmp_path / "config.toml", environ={})


def test_a_directory_and_a_file_in_another_encoding_are_faults(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_config(tmp_path, environ={})
    (tmp_path / "config.toml").write_bytes(b'[seller]\nname = "M\xfcller"\n')
    with pytest.raises(ConfigError, match="line 2: is not UTF-8; save the file as UTF-8"):
        read_config(tmp_path / "config.toml", environ={})


def test_faults_of_the_rate_card_join_the_others_at_the_files_positions(tmp_path):
    def card_faults(sound):
        assert [plan.id for plan in sound.plans] == ["pro"]
        return [Fault(where="plans[0].prices[1].tiers", what="do not ascend")]

    text = '[[plans]]\nid = "broken"\ncurrency = 3\n' + PLAN
    assert faults(tmp_path, text, card_faults=card_faults) == [
        "plans[0].currency: is 3, not text; write it in quotes",
        "plans[1].prices[1].tiers: do not ascend",
    ]


def test_a_price_of_the_price_command_needs_no_meter_and_no_date():
    price = parse_price({"model": "package", "package_size": "10", "package_price": "1.00", "included": "0"})
    assert isinstance(price, Price)
    assert (price.package_size, str(price.package_price)) == (Decimal(10), "1.00")


def test_a_faulty_price_of_the_price_command_tells_all_its_faults():
    with pytest.raises(ConfigError) as caught:
        parse_price({"model": "per_unit", "unit_price": WrittenFloat("0.10"), "includd": "1", "minimum": 5})
    assert [str(fault) for fault in caught.value.faults] == [
        'unit_price: is the bare number 0.10; write it as a string: "0.10"',
        'minimum: is the bare number 5; write it as a string: "5"',
        "includd: is not a known key; did you mean included?",
    ]


def test_the_shipped_config_is_valid_and_its_values_are_the_defaults(tmp_path):
    shipped = read_config(TOP / "config.toml", environ={})
    empty = read(tmp_path, "")
    for name in ("neon", "schedule", "customers", "seller", "invoices", "quota"):
        assert getattr(shipped, name) == getattr(empty, name), name
    assert shipped.store.directory == TOP / "var"


def test_the_shipped_config_shows_every_key():
    text = (TOP / "config.toml").read_text(encoding="utf-8")
    shown = set(re.findall(r"(?:^|[{,] ?|# )\s*([a-z_]+) =", text, flags=re.MULTILINE))
    models = (
        StoreConfig,
        NeonConfig,
        Organization,
        ScheduleConfig,
        CustomersConfig,
        SellerConfig,
        InvoicesConfig,
        QuotaConfig,
        Webhook,
        Meter,
        Divisor,
        Plan,
        plans_Price,
        Tier,
        Discount,
    )
    keys = {name for model in models for name in model.model_fields}
    assert keys - shown - {"quota", "prices"} == set()


def test_the_shipped_config_stays_valid_with_every_example_switched_on(tmp_path):
    text = (TOP / "config.toml").read_text(encoding="utf-8")
    examples = re.sub(r"^# (?=\[|[a-z_]+ = )", "", text, flags=re.MULTILINE)
    examples = re.sub(
        r"^(api_key_file|\w*secret_file|token_file|proxy_env|amount) = .*", "", examples, flags=re.MULTILINE
    )
    (tmp_path / "customers.csv").write_text("customer\n")
    (tmp_path / "subscriptions.csv").write_text("project_id,customer,plan\n")
    everything = read(tmp_path, examples)
    assert [price.model for price in everything.plans[0].prices] == [
        "graduated",
        "per_unit",
        "package",
        "cost_plus",
        "per_unit",
    ]
    assert len(tomllib.loads(examples)["plans"][0]["quota"]) == 5
    assert [(price.meter, price.unit_price) for price in everything.plans[1].prices][:2] == [
        ("storage", Decimal("0.30")),
        ("compute", None),
    ]
    assert [discount.percent for discount in everything.discounts] == [Decimal("10")]


def test_a_secret_shows_itself_only_when_asked(tmp_path):
    key = secret("NEON_API_KEY", None, {"NEON_API_KEY": "napi_abc\n"})
    assert key.reveal() == "napi_abc"
    assert (repr(key), str(key), f"{key}", f"{key:>5}") == ("***", "***", "***", "***")
    assert b"napi_abc" not in pickle.dumps(key)
    assert copy.deepcopy(key).reveal() == "napi_abc"
    assert key == Secret("napi_abc")
    assert key != Secret("napi_abd")


def test_a_secret_is_read_from_a_private_file_without_its_newline(tmp_path):
    file = tmp_path / "key"
    file.write_text("napi_abc\r\n")
    file.chmod(0o600)
    assert secret(None, file, {}).reveal() == "napi_abc"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_file_that_others_can_touch_is_refused(tmp_path, mode):
    file = tmp_path / "key"
    file.write_text("napi_abc")
    file.chmod(mode)
    with pytest.raises(CredentialsError) as caught:
        secret(None, file, {})
    assert str(caught.value) == f"{file} can be read by group or others"
    assert caught.value.hint == f"chmod 600 {file}"
    assert caught.value.exit_code == 5


def test_a_directory_and_a_missing_file_hold_no_key(tmp_path):
    with pytest.raises(CredentialsError, match="is not a regular file"):
        secret(None, tmp_path, {})
    with pytest.raises(CredentialsError, match="does not exist"):
        secret(None, tmp_path / "none", {})


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines", "schlüssel"])
def test_what_cannot_be_one_key_is_refused_without_repeating_it(text):
    with pytest.raises(CredentialsError) as caught:
        secret("K", None, {"K": text})
    assert "K" in str(caught.value)
    assert "words" not in str(caught.value)


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(CredentialsError, match="the environment variable NEON_API_KEY is not set"):
        secret("NEON_API_KEY", None, {})
