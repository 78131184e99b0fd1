"""`metering init`: what it writes can be read, and what stands there stays."""

import pytest

from metering.config import read, write_starter
from metering.core.errors import MeteringError


def test_the_written_files_are_a_valid_configuration_with_customers(tmp_path):
    write_starter(tmp_path / "new" / "place")
    written = read(tmp_path / "new" / "place" / "config.toml", environ={"NEON_API_KEY": "napi_x"})
    assert [customer.id for customer in written.customer_rows] == ["acme", "beta"]
    assert [(row.customer, row.plan) for row in written.subscription_rows] == [("acme", "pro"), ("beta", "pro")]
    assert written.organizations[0].api_key_env == "NEON_API_KEY"
    assert written.plans[0].id == "pro"


def test_the_message_names_the_files_and_the_next_commands(tmp_path):
    message = write_starter(tmp_path)
    for name in ("config.toml", "customers.csv", "subscriptions.csv"):
        assert f"{tmp_path / name}\n" in message
    assert f"metering check --config {tmp_path / 'config.toml'}\n" in message
    assert "export NEON_API_KEY=" in message


@pytest.mark.parametrize("name", ["config.toml", "customers.csv", "subscriptions.csv"])
def test_nothing_is_overwritten_and_nothing_half_written(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(MeteringError) as caught:
        write_starter(tmp_path)
    assert str(caught.value) == f"{tmp_path / name} exists already; nothing was written"
    assert caught.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path):
    (tmp_path / "config.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MeteringError, match=r"config\.toml exists already"):
        write_starter(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_that_cannot_be_made_is_an_error_with_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MeteringError, match=r"file"):
        write_starter(tmp_path / "file" / "below")
