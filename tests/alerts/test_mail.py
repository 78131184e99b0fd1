"""The door to a mail server, over a real socket: what is handed in, how it is encrypted, and what a refusal becomes."""

import asyncio
import ipaddress
import shutil
import socket
import ssl
import subprocess
from datetime import UTC, datetime

import pytest

from metering.alerts import address_guard, mail
from metering.alerts.send import deliver
from metering.alerts.targets import Attempt, Mailbox, Message
from tests.support.mail_server import Post, mail_server
from tests.support.quiet_time import stopwatch

NOW = datetime(2026, 10, 16, 12, tzinfo=UTC)
MESSAGE = b"Subject: hello\r\n\r\none\r\n.two\r\n"


def mailbox(post, **changes) -> Mailbox:
    given = {"sender": "metering@example.com", "recipients": ("a@example.com", "b@example.com"), "is_tls": False}
    return Mailbox(name="email:ops", host="localhost", port=post.port, **{**given, **changes})


def send(post, *, may_be_plain=True, tls=None, **changes):
    return mail.send(mailbox(post, **changes), ["127.0.0.1"], MESSAGE, may_be_plain=may_be_plain, tls=tls)


def test_a_message_reaches_every_recipient_byte_for_byte():
    with mail_server() as post:
        assert send(post) == (250, "")
    assert post.messages == [("metering@example.com", ["a@example.com", "b@example.com"], MESSAGE)]
    assert post.said[0] == "ehlo example.com"


@pytest.mark.parametrize(
    ("replies", "told"),
    [
        ({"greeting": "421 busy"}, (421, "the mail server answered 421")),
        ({"MAIL": "451 later sk_secret"}, (451, "the mail server answered 451")),
        ({"message": "452 full"}, (452, "the mail server answered 452")),
        ({"message": "554 spam"}, (554, "the mail server answered 554")),
        (
            {"recipient a@example.com": "550 who", "recipient b@example.com": "451 grey"},
            (451, "the mail server refused every recipient (451)"),
        ),
        ({"recipient b@example.com": "550 who"}, (250, "1 of 2 recipients were refused")),
    ],
)
def test_a_refusal_is_told_by_its_code_and_never_in_the_servers_words(replies, told):
    with mail_server(replies=replies) as post:
        assert send(post) == told


def test_a_login_that_is_refused_says_so_without_the_password():
    with mail_server(replies={"AUTH": "535 no"}) as post:
        assert send(post, user="metering", password="hunter2") == (535, "the mail server refused the login (535)")
    assert "hunter2" not in repr(mailbox(post, user="metering", password="hunter2"))


def test_a_server_without_starttls_gets_nothing_where_encryption_is_asked_for():
    with mail_server() as post, pytest.raises(mail.InTheClearError):
        send(post, may_be_plain=False, user="metering", password="hunter2")
    assert post.messages == []
    assert not any(line.upper().startswith(("AUTH", "MAIL")) for line in post.said)


def test_an_address_that_nobody_answers_is_passed_over_for_the_next():
    with mail_server() as post:
        told = mail.send(mailbox(post), ["127.0.0.2", "127.0.0.1"], MESSAGE, may_be_plain=True)
    assert told == (250, "")


def test_a_server_that_says_nothing_for_ever_is_left_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        box = mailbox(Post(port=silent.getsockname()[1]))
        with pytest.raises(OSError, match="closed"):
            mail.send(box, ["127.0.0.1"], MESSAGE, may_be_plain=True, deadline_seconds=0.05)


# -- encryption


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for `localhost` that vouches for itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    path = tmp_path_factory.mktemp("tls")
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", path / "key.pem", "-out", path / "cert.pem"]
    subprocess.run([openssl, *made.split(), *files], check=True, capture_output=True)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path / "cert.pem", path / "key.pem")
    return server, ssl.create_default_context(cafile=path / "cert.pem")


def test_starttls_comes_before_the_login_and_the_message(certificate):
    server, client = certificate
    with mail_server(starttls=server) as post:
        assert send(post, may_be_plain=False, tls=client, user="metering", password="hunter2") == (250, "")
    assert post.said.index("<tls>") < next(i for i, line in enumerate(post.said) if line.startswith("AUTH"))
    assert len(post.messages) == 1


def test_smtps_is_encrypted_from_the_first_byte(certificate):
    server, client = certificate
    with mail_server(tls=server) as post:
        assert send(post, is_tls=True, may_be_plain=False, tls=client) == (250, "")
    assert post.said[0] == "<tls>"


@pytest.mark.parametrize("how", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_ends_it_before_anything_is_said(certificate, how):
    server, _ = certificate
    with mail_server(**{how: server}) as post, pytest.raises(ssl.SSLCertVerificationError):
        send(post, is_tls=how == "tls", may_be_plain=False, user="metering", password="hunter2")
    assert not any(line.upper().startswith(("AUTH", "MAIL")) for line in post.said)


# -- behind the address guard


def delivered(box: Mailbox, resolver=address_guard.resolve) -> Attempt:
    return asyncio.run(deliver(box, Message(event_id="alert_1", body=MESSAGE), NOW, resolver=resolver))


@pytest.mark.parametrize(
    ("replies", "attempt"),
    [
        ({}, Attempt(outcome="delivered", status=250)),
        ({"MAIL": "451 x"}, Attempt(outcome="retry", status=451, error="the mail server answered 451")),
        ({"message": "554 x"}, Attempt(outcome="retry", status=554, error="the mail server answered 554")),
    ],
)
def test_a_delivery_by_mail_is_judged_as_any_other(replies, attempt):
    with mail_server(replies=replies) as post:
        assert delivered(mailbox(post, allow_private_network=True)) == attempt


def test_a_stop_does_not_wait_for_a_server_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        box = mailbox(Post(port=silent.getsockname()[1]), allow_private_network=True)

        async def stopped() -> None:
            async with asyncio.timeout(0.2):
                await deliver(box, Message(event_id="alert_1", body=MESSAGE), NOW)

        with stopwatch() as watch, pytest.raises(TimeoutError):
            asyncio.run(stopped())
        assert watch.seconds < 5


def test_a_private_address_is_refused_unless_allowed_and_nothing_is_said():
    with mail_server() as post:
        assert delivered(mailbox(post)).error == "the name leads to an address that is not public"
    assert post.said == []


def test_a_name_that_leads_nowhere_and_a_port_where_nobody_listens_are_tried_again():
    with mail_server() as post:
        pass
    assert delivered(mailbox(post, allow_private_network=True)).error == "no answer: ConnectionRefusedError"

    async def nowhere(_host, _port):
        raise OSError

    assert delivered(mailbox(post, allow_private_network=True), nowhere).outcome == "retry"


def test_where_one_address_is_public_mail_never_goes_in_the_clear():
    async def both(_host, _port):
        return [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("93.184.216.34")]

    with mail_server() as post:
        attempt = delivered(mailbox(post, allow_private_network=True), both)
    assert attempt == Attempt(outcome="refused", error="the mail server offers no STARTTLS")
    assert post.messages == []
