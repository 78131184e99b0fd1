"""[service]: the address to listen on, and that remote access needs allow_remote."""

from pathlib import Path

import pytest

from metering.config import Config
from metering.config import read as read_config
from metering.core.errors import ConfigError


def read(directory: Path, section: str) -> Config:
    path = directory / "config.toml"
    path.write_text(f"[service]\n{section}\n")
    return read_config(path, environ={})


@pytest.mark.parametrize(
    "section",
    [
        "",
        'listen = ""',
        'listen = "127.0.0.1:0"',
        'listen = "localhost:9187"',
        'listen = "127.9.9.9:65535"',
        'listen = "[::1]:9187"',
        'listen = "0.0.0.0:9187"\nallow_remote = true',
        'listen = "[::]:9187"\nallow_remote = true',
        'ping_url_env = "METERING_PING_URL"',
    ],
)
def test_an_address_of_this_machine_is_fine(tmp_path, section):
    written = read(tmp_path, section).service.listen
    assert written == (section.split('"')[1] if section.startswith("listen") else "127.0.0.1:9187")


@pytest.mark.parametrize("address", ["0.0.0.0:9187", "10.0.0.1:80", "[::]:9187", "[2001:db8::1]:9187", "128.0.0.1:1"])
@pytest.mark.parametrize("more", ["", "\nallow_remote = false"])
def test_an_address_that_others_reach_must_be_meant(tmp_path, address, more):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f'listen = "{address}"{more}')
    assert [str(fault) for fault in caught.value.faults] == [
        "service.listen: can be reached by other machines; listen on 127.0.0.1, or say allow_remote = true"
    ]


@pytest.mark.parametrize(
    "address",
    ["9187", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:9187", "[127.0.0.1]:1", "a:1"],
)
def test_what_is_no_address_is_a_fault(tmp_path, address):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f'listen = "{address}"')
    (fault,) = caught.value.faults
    assert fault.where == "service.listen"
    assert fault.right == 'write "127.0.0.1:9187", "[::1]:9187", or "" for none'
