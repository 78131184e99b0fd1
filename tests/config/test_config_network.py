"""[network]: authorities, the proxy, and what goes past it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from metering.config import Config
from metering.config import read as read_config
from metering.core.errors import ConfigError
from metering.core.network import DIRECT

_NOBODY: Mapping[str, str] = {}


def read(directory: Path, section: str, environ: Mapping[str, str] = _NOBODY) -> Config:
    path = directory / "config.toml"
    path.write_text(f"[network]\n{section}\n")
    return read_config(path, environ=environ)


def test_without_settings_and_environment_the_public_authorities_count_and_no_proxy(tmp_path):
    assert read(tmp_path, "").reached_by == DIRECT


def test_a_relative_file_of_authorities_starts_at_the_configuration(tmp_path):
    assert read(tmp_path, 'ca_file = "ours.pem"').reached_by.ca_file == tmp_path / "ours.pem"


@pytest.mark.parametrize(
    ("environ", "bundle"),
    [({"SSL_CERT_FILE": "/etc/ssl/ours.pem"}, Path("/etc/ssl/ours.pem")), ({"SSL_CERT_FILE": ""}, None), ({}, None)],
)
def test_ssl_cert_file_counts_without_a_file_of_ours(tmp_path, environ, bundle):
    assert read(tmp_path, "", environ).reached_by.bundle == bundle
    assert read(tmp_path, 'ca_file = "ours.pem"', environ).reached_by.bundle is None


@pytest.mark.parametrize(
    "url", ["http://proxy:3128", "http://10.0.0.5:3128/", "http://[::1]:8080", "proxy.example.com:3128", "http://proxy"]
)
def test_an_address_of_a_proxy_is_taken(tmp_path, url):
    network = read(tmp_path, f'proxy = "{url}"').reached_by
    assert network.proxy_for("console.neon.tech") == ("" if "://" in url else "http://") + url.rstrip("/")
    assert network.unused_proxies == ()


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ('proxy = "socks5://proxy:1080"', "network.proxy: is no address of an HTTP proxy; write http://host:port"),
        ('proxy = "https://proxy:3128"', "network.proxy: is no address of an HTTP proxy; write http://host:port"),
        ('proxy = "http://proxy:99999"', "network.proxy: is no address of a proxy; write http://host:port"),
        ('proxy = "http://proxy:3128/path"', "network.proxy: is no address of an HTTP proxy; write http://host:port"),
        ('proxy = ""', "network.proxy: is empty; write http://host:port"),
        (
            'proxy = "http://user:secret@proxy:3128"',
            "network.proxy: holds a user or a password; put the address into an environment variable and name it in"
            " proxy_env",
        ),
        (
            'proxy = "http://proxy:1"\nproxy_env = "OUR_PROXY"',
            "network.proxy: and proxy_env are both given; keep one of the two",
        ),
        ('no_proxy = ["a b"]', "network.no_proxy[0]: 'a b' is no name and no network"),
        ('prox = "http://proxy:1"', "network.prox: is not a known key; did you mean proxy?"),
    ],
)
def test_what_cannot_be_is_a_fault(tmp_path, value, fault):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, value)
    (found,) = caught.value.faults
    assert str(found).startswith(fault)
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("host", "is_direct"),
    [
        ("alerts.internal", True),
        ("a.alerts.internal", True),
        ("xalerts.internal", False),
        ("ALERTS.internal", True),
        ("api.svc", True),
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("[fd00::1]", True),
        ("console.neon.tech", False),
    ],
)
def test_no_proxy_names_hosts_all_below_them_and_networks(tmp_path, host, is_direct):
    direct = '["Alerts.internal", ".svc", "*.cluster.local", "10.0.0.0/8", "fd00::/8"]'
    network = read(tmp_path, f'proxy = "http://proxy:3128"\nno_proxy = {direct}').reached_by
    assert network.proxy_for(host) == (None if is_direct else "http://proxy:3128")


def test_a_proxy_of_the_environment_is_told_and_not_taken(tmp_path):
    environ = {"HTTPS_PROXY": "http://a:1", "all_proxy": "socks5://b:2", "NO_PROXY": "c", "HTTP_PROXY": ""}
    network = read(tmp_path, "", environ).reached_by
    assert network.proxy_for("console.neon.tech") is None
    assert network.unused_proxies == ("HTTPS_PROXY", "all_proxy")


def test_the_settings_of_the_network_can_come_from_the_environment(tmp_path):
    environ = {"METERING_NETWORK__PROXY": "http://proxy:3128", "METERING_NETWORK__NO_PROXY": "a.internal,10.0.0.0/8"}
    network = read(tmp_path, "", environ).reached_by
    assert network.proxy_for("console.neon.tech") == "http://proxy:3128"
    assert network.no_proxy == ("a.internal", "10.0.0.0/8")
