"""[exports], [stripe] and the columns that exports read: what is accepted, and what each fault says."""

from pathlib import Path

import pytest

from metering.config import Config
from metering.config import read as read_config
from metering.core.errors import ConfigError

ORGANIZATION = '[[organizations]]\nid = "org-1"\napi_key_env = "KEY"\n'


def read(directory: Path, text: str, customers: str = "customer\nacme\n") -> Config:
    (directory / "customers.csv").write_text(customers)
    (directory / "config.toml").write_text(f'{ORGANIZATION}[customers]\nfile = "customers.csv"\n{text}')
    return read_config(directory / "config.toml", environ={})


def faults(directory: Path, text: str, customers: str = "customer\nacme\n") -> list[str]:
    with pytest.raises(ConfigError) as told:
        read(directory, text, customers)
    return [str(fault) for fault in told.value.faults]


def test_names_of_other_systems_are_taken_as_they_are(tmp_path: Path) -> None:
    found = read(
        tmp_path, '[exports]\nxero_tax_type = "{rate}% (VAT on Income)"\nrevenue_account = "Income:SaaS:2026"\n'
    )
    assert found.exports.xero_tax_type == "{rate}% (VAT on Income)"
    assert found.exports.revenue_account == "Income:SaaS:2026"


@pytest.mark.parametrize("account", ["Assets", "assets:Receivable", "Assets:my account", "Assets:", "Assets:a;b", ""])
def test_what_a_journal_would_not_take_as_an_account_is_a_fault(tmp_path: Path, account: str) -> None:
    (fault,) = faults(tmp_path, f'[exports]\nreceivable_account = "{account}"\n')
    assert fault.startswith("exports.receivable_account")


def test_stripe_has_one_secret_or_none(tmp_path: Path) -> None:
    assert read(tmp_path, "[stripe]\n").stripe.secret_env is None
    (fault,) = faults(tmp_path, '[stripe]\nsecret_env = "A"\nsecret_file = "b"\n')
    assert fault == "stripe.secret_env: and secret_file are both given; give either secret_env or secret_file"


def test_stripes_secret_does_not_go_over_the_network_in_the_clear(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, '[stripe]\nbase_url = "http://stripe.example.com"\n')
    assert fault.startswith("stripe.base_url: would send the key in the clear")


def test_a_tax_category_is_one_of_the_standards(tmp_path: Path) -> None:
    assert read(tmp_path, "", "customer,tax_category\nacme,AE\n").customer_rows[0].tax_category == "AE"
    (fault,) = faults(tmp_path, "", "customer,tax_category\nacme,XX\n")
    assert fault == (
        "customers.csv row 1 (line 2), tax_category: is 'XX'; write one of 'S', 'Z', 'E', 'AE', 'K', 'G' or 'O'"
    )
