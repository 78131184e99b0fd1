"""Certificates of a private authority, and a proxy between this machine and everybody: Neon, webhooks, Stripe, mail."""

import asyncio
import base64
import ipaddress
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from metering.alerts import mail, send
from metering.alerts.address_guard import Address
from metering.alerts.switch import ping
from metering.alerts.targets import Attempt, Endpoint, Mailbox, Message
from metering.core.network import Network
from metering.core.secrets import Secret
from metering.export.stripe_api import Stripe
from tests.support.corporate import Proxy, authority, needs_openssl, proxying, tls_before
from tests.support.inbox import receiving
from tests.support.plain_neon import PlainNeon, served
from tests.support.plain_stripe import SECRET, PlainStripe
from tests.support.plain_stripe import served as stripe_served
from tests.support.platform_desk import Desk

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
SIGNED = "whsec_" + base64.b64encode(b"s" * 32).decode()
HOOK = Message(event_id="alert_1", body=b"{}")
pytestmark = needs_openssl


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def desk(tmp_path: Path, certificate: Path) -> Iterator[Desk]:
    """Neon behind a certificate that only the authority vouches for."""
    with served(PlainNeon()) as neon, tls_before(port_of(neon.url), certificate) as front:
        neon.url = neon.url.replace(f"http://127.0.0.1:{port_of(neon.url)}", f"https://localhost:{front}")
        yield Desk(directory=tmp_path, neon=neon, now="2026-10-15T12:00:00Z", default_plan="pro")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxying() as found:
        yield found


# -- authorities


def test_neon_behind_a_private_authority_is_not_asked_until_its_file_is_named(desk: Desk) -> None:
    ran = desk.run("poll")
    assert ran.code == 3
    assert "its certificate is of no authority that is known here: see network.ca_file" in ran.err
    assert desk.neon.asked == []


@pytest.mark.parametrize("how", ["ca_file", "SSL_CERT_FILE", "METERING_NETWORK__CA_FILE"])
def test_neon_behind_a_private_authority_is_asked(desk: Desk, certificate: Path, how: str) -> None:
    desk.more = f'[network]\nca_file = "{certificate}"\n' if how == "ca_file" else ""
    env = {} if how == "ca_file" else {how: str(certificate)}
    desk.good("poll", env=env)
    document = desk.good("check", env=env)
    assert document["network"]["usable"] is True
    assert document["network"]["ca_file"] == (None if how == "SSL_CERT_FILE" else str(certificate))
    assert document["network"]["authorities_of_environment"] == (str(certificate) if how == "SSL_CERT_FILE" else None)


def test_an_authority_of_ours_stands_beside_the_public_ones_and_that_of_the_environment_instead(
    certificate: Path,
) -> None:
    beside = Network(ca_file=certificate).tls().cert_store_stats()["x509"]
    assert beside > 50
    assert Network(bundle=certificate).tls().cert_store_stats()["x509"] == 1
    assert Network(ca_file=certificate).mail_tls().cert_store_stats()["x509"] >= 1


def test_ca_file_goes_before_ssl_cert_file(desk: Desk, certificate: Path, tmp_path: Path) -> None:
    desk.more = f'[network]\nca_file = "{certificate}"\n'
    desk.good("poll", env={"SSL_CERT_FILE": str(tmp_path / "nowhere.pem")})


def test_a_file_that_is_exchanged_is_read_again(tmp_path: Path, certificate: Path) -> None:
    path = tmp_path / "ours.pem"
    path.write_bytes(certificate.read_bytes())
    network = Network(bundle=path)
    assert network.tls() is network.tls()
    other = tmp_path / "other"
    other.mkdir()
    path.write_bytes(authority(other).read_bytes() + certificate.read_bytes())
    assert network.tls().cert_store_stats()["x509"] == 2


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "cannot be read: No such file or directory"), (b"", "holds no certificate"), (b"\xff", "holds no")],
)
@pytest.mark.parametrize("key", ["network.ca_file", "SSL_CERT_FILE"])
def test_authorities_that_cannot_be_read_are_a_fault_of_who_needs_the_network(
    desk: Desk, content: bytes | None, what: str, key: str
) -> None:
    path = desk.directory / "authorities.pem"
    if content is not None:
        path.write_bytes(content)
    desk.more = '[network]\nca_file = "authorities.pem"\n' if key == "network.ca_file" else ""
    env = {} if key == "network.ca_file" else {"SSL_CERT_FILE": str(path)}
    for command in ("poll", "tick", "check"):
        ran = desk.run(command, env=env)
        assert ran.code == 4, (command, ran)
        assert f"{key}: {path} {what}" in ran.err + ran.out, command
    assert desk.run("usage", "current", env=env).code == 0, "who asks nobody needs no authority"


@pytest.mark.parametrize("key", ["ca_file", "bundle"])
def test_webhooks_stripe_and_the_switch_reach_what_a_private_authority_vouches_for(certificate: Path, key: str) -> None:
    network = Network(**{key: certificate})
    with receiving() as inbox, tls_before(port_of(inbox.url), certificate) as front:
        endpoint = Endpoint(url=f"https://localhost:{front}/hook", allow_private_network=True, network=network)
        assert asyncio.run(send.deliver(endpoint, HOOK, NOW)).outcome == "delivered"
        stranger = Endpoint(url=endpoint.url, allow_private_network=True)
        attempt = asyncio.run(send.deliver(stranger, HOOK, NOW))
        assert attempt.error == "no answer: its certificate is of no authority that is known here: see network.ca_file"
        assert ping(endpoint.url, network) == "the answer was 501", "the receiver has no GET, but it was asked"
        assert "network.ca_file" in ping(endpoint.url, Network())
    with stripe_served(PlainStripe()) as stripe, tls_before(port_of(stripe.url), certificate) as front:
        account = Stripe(f"https://localhost:{front}", Secret(SECRET), network=network)
        assert (
            account.create("/v1/billing/meter_events", [("identifier", "a"), ("event_name", "b")], "k").state == "sent"
        )
        account.close()


# -- the proxy


def through(proxy: Proxy, user: str = "") -> str:
    return f"http://{user}127.0.0.1:{proxy.port}"


def test_neon_and_webhooks_are_reached_through_the_proxy_that_alone_knows_their_names(
    desk: Desk, certificate: Path, proxy: Proxy
) -> None:
    desk.neon.url = desk.neon.url.replace("localhost", "neon.test")
    with receiving() as inbox, tls_before(port_of(inbox.url), certificate) as front:
        desk.environment["HOOK_SECRET"] = SIGNED
        desk.more = (
            f'[network]\nca_file = "{certificate}"\nproxy = "{through(proxy)}"\n'
            f'[[webhooks]]\nurl = "https://hooks.test:{front}/hook"\nsecret_env = "HOOK_SECRET"\n'
        )
        desk.good("poll")
        document = desk.good("check", "--send-test")
        assert document["webhooks"][0]["test"]["outcome"] == "delivered"
        assert json.loads(inbox.posts[0][1])["type"] == "webhook.test"
        assert {line.split(":")[0] for line in proxy.asked} == {"CONNECT neon.test", "CONNECT hooks.test"}


def test_a_password_of_the_proxy_stands_in_the_environment_and_is_shown_nowhere(desk: Desk, certificate: Path) -> None:
    with proxying(user="us er:p@ss") as proxy:
        desk.more = f'[network]\nca_file = "{certificate}"\nproxy_env = "OUR_PROXY"\n'
        env = {"OUR_PROXY": through(proxy, "us%20er:p%40ss@")}
        desk.good("poll", env=env)
        assert proxy.asked and all(line.startswith("CONNECT localhost:") for line in proxy.asked)
        ran = desk.run("check", env=env)
        assert ran.code == 0
        assert ran.json["network"]["proxy"] == "environment OUR_PROXY"
        assert "p@ss" not in ran.out + ran.err and "p%40ss" not in ran.out + ran.err
        wrong = desk.run("poll", env={"OUR_PROXY": through(proxy, "us%20er:wrong@")})
        assert wrong.code == 3 and "ProxyError: 407" in wrong.err and "wrong" not in wrong.err


def test_a_proxy_without_scheme_is_taken_as_programs_take_it(desk: Desk, certificate: Path, proxy: Proxy) -> None:
    desk.more = f'[network]\nca_file = "{certificate}"\nproxy_env = "HTTPS_PROXY"\n'
    desk.good("poll", env={"HTTPS_PROXY": f"127.0.0.1:{proxy.port}"})
    assert proxy.asked


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_not_used_and_check_says_so(desk: Desk, certificate: Path, name: str) -> None:
    desk.more = f'[network]\nca_file = "{certificate}"\n'
    env = {name: "http://user:password@127.0.0.1:9"}
    desk.good("poll", env=env)
    ran = desk.run("check", env=env)
    assert ran.code == 0 and ran.json["network"]["unused_proxies"] == [name]
    said = f'environment {name} is set and not used; to use it, write proxy_env = "{name}" under [network]'
    assert f"network: {said}" in ran.json["notes"]
    assert "password" not in ran.out


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "the environment variable OUR_PROXY is not set"),
        ("socks5://127.0.0.1:1080", "the environment variable OUR_PROXY is no address of an HTTP proxy"),
        ("http://", "the environment variable OUR_PROXY is no address of a proxy"),
        ("http://[::1", "the environment variable OUR_PROXY is no address of a proxy"),
    ],
)
def test_a_proxy_that_is_none_is_a_fault_and_nobody_is_asked_past_it(
    desk: Desk, certificate: Path, text: str | None, what: str
) -> None:
    desk.more = f'[network]\nca_file = "{certificate}"\nproxy_env = "OUR_PROXY"\n'
    env = {} if text is None else {"OUR_PROXY": text}
    for command in ("tick", "check"):
        ran = desk.run(command, env=env)
        assert ran.code == 4 and f"network.proxy_env: {what}" in ran.err + ran.out, (command, ran)
    assert desk.neon.asked == []


@pytest.mark.parametrize("direct", ["localhost", "HOST", "127.0.0.0/8"])
def test_what_no_proxy_names_is_reached_directly(certificate: Path, proxy: Proxy, direct: str) -> None:
    network = Network(ca_file=certificate, proxy=Secret(through(proxy)), no_proxy=(direct.lower(),))
    with receiving() as inbox, tls_before(port_of(inbox.url), certificate) as front:
        host = "127.0.0.1" if "/" in direct else "localhost"
        endpoint = Endpoint(url=f"https://{host}:{front}/hook", allow_private_network=True, network=network)
        assert asyncio.run(send.deliver(endpoint, HOOK, NOW)).outcome == "delivered"
    assert (proxy.asked == []) == (direct != "HOST")


def test_behind_a_proxy_the_guard_still_refuses_what_is_known_here_to_be_private(proxy: Proxy) -> None:
    network = Network(proxy=Secret(through(proxy)))

    async def private(_host: str, _port: int) -> list[Address]:
        return [ipaddress.ip_address("10.0.0.1")]

    async def deliver(url: str) -> Attempt:
        return await send.deliver(Endpoint(url=url, network=network), HOOK, NOW, resolver=private)

    for url in ("https://internal.test/hook", "https://10.0.0.1/hook"):
        assert asyncio.run(deliver(url)).outcome == "refused"
    assert proxy.asked == []


def test_stripe_is_reached_through_the_proxy(certificate: Path, proxy: Proxy) -> None:
    network = Network(ca_file=certificate, proxy=Secret(through(proxy)))
    with stripe_served(PlainStripe()) as stripe, tls_before(port_of(stripe.url), certificate) as front:
        account = Stripe(f"https://stripe.test:{front}", Secret(SECRET), network=network)
        assert (
            account.create("/v1/billing/meter_events", [("identifier", "a"), ("event_name", "b")], "k").state == "sent"
        )
        account.close()
    assert proxy.asked == [f"CONNECT stripe.test:{front} HTTP/1.1"]


def test_mail_is_encrypted_by_the_same_authority(certificate: Path) -> None:
    mailbox = Mailbox(
        name="email:ops", host="localhost", port=0, is_tls=True, sender="a@example.com", recipients=("b@example.com",)
    )
    with receiving() as inbox, tls_before(port_of(inbox.url), certificate) as front:
        for network, error in ((Network(), "CERTIFICATE_VERIFY_FAILED"), (Network(ca_file=certificate), "")):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - a web server is no mail server: only TLS is looked at
                mail.send(_at(mailbox, front, network), ["127.0.0.1"], b"x", may_be_plain=False, deadline_seconds=1)
            assert ("CERTIFICATE_VERIFY_FAILED" in str(caught.value)) == bool(error)


def _at(mailbox: Mailbox, port: int, network: Network) -> Mailbox:
    return Mailbox(
        name=mailbox.name,
        host=mailbox.host,
        port=port,
        is_tls=True,
        sender=mailbox.sender,
        recipients=mailbox.recipients,
        network=network,
    )
