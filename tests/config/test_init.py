"""`metering init`: the written files are valid, and no existing file is overwritten."""

import os
import stat

import pytest

from metering.config import read, write_starter
from metering.core.errors import MeteringError
from metering.core.secrets import secret


def test_the_written_files_are_a_valid_configuration_with_customers(tmp_path):
    write_starter(tmp_path / "new" / "place")
    written = read(tmp_path / "new" / "place" / "config.toml", environ={"NEON_API_KEY": "napi_x"})
    assert [customer.id for customer in written.customer_rows] == ["acme", "beta"]
    assert [(row.customer, row.plan) for row in written.subscription_rows] == [("acme", "pro"), ("beta", "pro")]
    assert written.organizations[0].api_key_env == "NEON_API_KEY"
    assert written.plans[0].id == "pro"


def test_the_message_names_the_files_and_the_next_commands(tmp_path):
    message = write_starter(tmp_path)
    for name in ("config.toml", "customers.csv", "subscriptions.csv", "dashboard-token"):
        assert f"{tmp_path / name}\n" in message
    assert f"metering check --config {tmp_path / 'config.toml'}\n" in message
    assert "export NEON_API_KEY=" in message


def test_the_dashboard_gets_a_token_that_only_its_owner_can_read_and_no_other_init_makes(tmp_path):
    before = os.umask(0)
    try:
        write_starter(tmp_path / "a")
    finally:
        os.umask(before)
    write_starter(tmp_path / "b")
    written = read(tmp_path / "a" / "config.toml", environ={})
    assert written.dashboard.token_file == tmp_path / "a" / "dashboard-token"
    assert stat.S_IMODE(written.dashboard.token_file.stat().st_mode) == 0o600
    token = secret(None, written.dashboard.token_file, {}).reveal()
    assert len(token) >= 40
    assert token != (tmp_path / "b" / "dashboard-token").read_text().strip()


@pytest.mark.parametrize("name", ["config.toml", "customers.csv", "subscriptions.csv", "dashboard-token"])
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
