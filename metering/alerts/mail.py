"""Sends one message over SMTP: to a checked address, encrypted, within a deadline.

Must not know what the message says, why it is sent, or when to try again. The server's texts are never repeated.
"""

import ipaddress
import smtplib
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from metering.alerts.address_order import shares
from metering.alerts.targets import Mailbox

DEADLINE_SECONDS = 60
"""For the whole session; a server that scans messages takes its time."""
_TIMEOUT_SECONDS = 20
"""For one reply."""


class InTheClearError(Exception):
    """The server offers no encryption where it is required: nothing was sent."""


def send(  # noqa: PLR0913 - what differs in a test
    mailbox: Mailbox,
    addresses: Sequence[str],
    message: bytes,
    *,
    may_be_plain: bool,
    tls: ssl.SSLContext | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> tuple[int, str]:
    """Send one message; returns the server's last code, and a sentence of our own unless all recipients were accepted.

    STARTTLS is used if it is offered, except for mail without a login to this machine itself. Raises OSError (smtplib's
    and TLS errors are subclasses) if no answer came, InTheClearError without STARTTLS unless `may_be_plain`.
    """
    tls = tls or mailbox.network.mail_tls()
    try:
        with _Session(mailbox, addresses, tls, deadline_seconds) as session:
            if not mailbox.is_tls:
                _encrypt(session, mailbox, tls, may_be_plain=may_be_plain)
            if mailbox.user:
                session.login(mailbox.user, mailbox.password)
            refused = session.sendmail(mailbox.sender, mailbox.recipients, message)
    except smtplib.SMTPAuthenticationError as error:
        return error.smtp_code, f"the mail server refused the login ({error.smtp_code})"
    except smtplib.SMTPRecipientsRefused as error:
        code = min(code for code, _ in error.recipients.values())
        return code, f"the mail server refused every recipient ({code})"
    except smtplib.SMTPResponseException as error:
        return error.smtp_code, f"the mail server answered {error.smtp_code}"
    # The other recipients have it: another attempt would send it to them twice.
    return 250, f"{len(refused)} of {len(mailbox.recipients)} recipients were refused" if refused else ""


def _encrypt(session: "_Session", mailbox: Mailbox, tls: ssl.SSLContext, *, may_be_plain: bool) -> None:
    if may_be_plain and session.is_local and not mailbox.user:
        return
    session.ehlo_or_helo_if_needed()
    if session.has_extn("starttls"):
        session.starttls(context=tls)
    elif not may_be_plain:
        raise InTheClearError


class _Session(smtplib.SMTP):
    """Connects to a checked address; the host name is used for TLS only. Always ends at the deadline."""

    def __init__(
        self, mailbox: Mailbox, addresses: Sequence[str], tls: ssl.SSLContext, deadline_seconds: float
    ) -> None:
        self._addresses = addresses
        self._tls = tls if mailbox.is_tls else None
        self._connection: socket.socket | None = None
        self._watch = threading.Timer(deadline_seconds, self._hang_up)
        self._watch.daemon = True
        self.is_local = False
        try:
            super().__init__(
                mailbox.host,
                mailbox.port,
                local_hostname=mailbox.sender.rpartition("@")[2],
                timeout=_TIMEOUT_SECONDS,
            )
        except BaseException:
            self._unwatch()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Send QUIT. Its answer does not matter: an accepted message stays accepted."""
        with suppress(OSError):
            self.quit()
        self.close()
        self._unwatch()

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Called by smtplib to connect."""
        connection = self._connected(port, timeout)
        # A second handle of the same connection: it stays valid while TLS is laid over the first.
        self._connection = connection.dup()
        self._watch.start()
        return self._tls.wrap_socket(connection, server_hostname=host) if self._tls else connection

    def _connected(self, port: int, timeout: float) -> socket.socket:
        failure = OSError("no address")
        for address, seconds in zip(self._addresses, shares(timeout, len(self._addresses)), strict=True):
            try:
                connection = socket.create_connection((address, port), seconds)
            except OSError as error:
                failure = error
            else:
                connection.settimeout(timeout)
                self.is_local = ipaddress.ip_address(address).is_loopback
                return connection
        raise failure

    def _hang_up(self) -> None:
        with suppress(OSError):
            if self._connection:
                self._connection.shutdown(socket.SHUT_RDWR)

    def _unwatch(self) -> None:
        self._watch.cancel()
        if self._connection:
            self._connection.close()
