"""The command `serve`, and the parts of it that `run` and `demo --serve` use."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from metering.cli.base import Clock, as_id, business_clock, note, read_config, real_time, with_config
from metering.core.errors import CredentialsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from metering.config import Config
    from metering.core.secrets import Secret
    from metering.web.guard import Access
    from metering.web.persons import Token
    from metering.web.watch import Watch


@click.command()
@click.option("--listen", metavar="ADDRESS", help="Where to listen; default: service.listen of the configuration.")
@click.option("--link", metavar="CUSTOMER", callback=as_id, help="Print a link to this customer's own page, and end.")
@click.option("--days", type=int, default=30, show_default=True, help="How long the link lasts.")
@with_config
def serve(listen: str | None, link: str | None, days: int, config_path: Path) -> None:
    """The dashboard alone: pages, downloads, JSON API, metrics; reads the published snapshot."""
    config, clock = read_config(config_path), business_clock()
    if link is not None:
        click.echo(customer_link(config, clock, link, days))
        return
    serve_until_stopped(_listening_on(config, listen), clock)


def _listening_on(config: "Config", listen: str | None) -> "Config":
    """The configuration with another address. Raises ConfigError where others could reach it without a login."""
    from metering.core.addresses import listen_parts
    from metering.core.errors import UsageError

    if listen is not None:
        try:
            listen_parts(listen)
        except ValueError as error:
            raise UsageError(f"--listen: {error}", hint='write it like "127.0.0.1:9187"') from None
        config = config.model_copy(update={"service": config.service.model_copy(update={"listen": listen})})
    if not config.service.listen:
        raise UsageError("service.listen is empty", hint="name an address with --listen")
    refuse_if_open(config)
    return config


def refuse_if_open(config: "Config") -> None:
    """Raises ConfigError if other machines can reach the dashboard and no login is configured."""
    from metering.core.errors import ConfigError

    if fault := config.open_to_others:
        raise ConfigError([fault])


def serve_until_stopped(config: "Config", clock: Clock) -> None:
    """Serves the dashboard until SIGTERM or Ctrl-C."""
    from metering.service import logs
    from metering.web.server import Listener
    from metering.web.watch import Watch

    watch = Watch(logs.logger(sys.stderr, real_time, is_terminal=sys.stderr.isatty()).log)
    served = application(config, lambda: config, clock, watch)
    with ended_at_once(), Listener(served, config.service.listen, watch) as pages, stopped() as stop:
        note(f"serving on http://{pages.address}/ until Ctrl-C")
        stop.wait()


@contextmanager
def ended_at_once() -> "Iterator[None]":
    """Ends the process after the block, even if threads that it has started still compute pages.

    Python would wait for some of these threads, and stop others inside the engine, which then aborts the process.
    """
    before = set(threading.enumerate())
    try:
        yield
    except KeyboardInterrupt:
        _end(130, before)
        raise
    _end(0, before)


def _end(code: int, before: set[threading.Thread]) -> None:
    if set(threading.enumerate()) - before:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def stopped() -> "Iterator[threading.Event]":
    """An event that is set at SIGTERM."""
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def application(config: "Config", config_of: "Callable[[], Config]", clock: Clock, watch: "Watch") -> "ASGIApp":
    """The dashboard with metrics and probes; `config` says who is let in, from the start to the end."""
    from metering.cli.author import by_web
    from metering.cli.reading import resend
    from metering.web import app, probes
    from metering.web.desk import Desk
    from metering.web.views import Views

    desk = Desk(
        Views(config_of, clock, watch),
        access(config),
        clock=clock,
        link_secret=link_secret(config),
        resend=lambda alert_id, who, peer: resend(config_of(), clock, alert_id, by_web(who, peer)),
    )
    return app.application(desk, probes.routes(config_of, clock, watch))


def without_pages(config: "Config", config_of: "Callable[[], Config]", clock: Clock, watch: "Watch") -> "ASGIApp":
    """Metrics and probes alone: where nobody could be asked who they are."""
    from starlette.applications import Starlette

    from metering.web import app, guard, probes

    routes = probes.routes(config_of, clock, watch)
    return app.guarded(Starlette(routes=routes), guard.Access(hosts=config.dashboard.names()), watch, routes)


def access(config: "Config") -> "Access":
    """The rules of access. Raises CredentialsError where a token is missing, could be guessed or is there twice."""
    from metering.cli.author import own_user
    from metering.web.guard import Access

    dashboard = config.dashboard
    found = tokens(config)
    for error in found.values():
        if isinstance(error, CredentialsError):
            raise error
    return Access(
        tokens=tuple(token for token in found.values() if not isinstance(token, CredentialsError)),
        proxies=dashboard.networks(),
        user_header=dashboard.user_header,
        role_header=dashboard.role_header,
        own_name=own_user(),
        hosts=dashboard.names(),
    )


def tokens(config: "Config") -> "dict[str, Token | CredentialsError]":
    """Key of the configuration -> the token, or why it cannot be used."""
    from metering.core.roles import Person
    from metering.web import persons

    dashboard = config.dashboard
    found: dict[str, Token | CredentialsError] = {}
    if dashboard.token_env or dashboard.token_file:
        found["dashboard.token"] = _token(
            dashboard.token_env, dashboard.token_file, "the dashboard's token", persons.of_all_roles
        )
    for at, one in enumerate(dashboard.tokens):
        person = Person(name=one.name, roles=frozenset(one.roles))
        found[f"dashboard.tokens[{at}]"] = _token(
            one.token_env, one.token_file, f"the token {one.name!r}", partial(persons.Token, person=person)
        )
    return _unequal(found)


def _token(
    env_name: str | None, file: Path | None, what: str, made: "Callable[..., Token]"
) -> "Token | CredentialsError":
    try:
        secret = _secret(env_name, file, what)
    except CredentialsError as error:
        return error
    return made(secret=secret)


def _unequal(found: "dict[str, Token | CredentialsError]") -> "dict[str, Token | CredentialsError]":
    """A token that another has too says nothing about who gives it."""
    first: dict[str, str] = {}
    checked = dict(found)
    for key, token in found.items():
        if not isinstance(token, CredentialsError):
            other = first.setdefault(token.secret.reveal(), key)
            if other != key:
                checked[key] = CredentialsError(f"is the same as {other}", hint="give each its own token")
    return checked


def link_secret(config: "Config") -> "Secret | None":
    """The secret of customers' links; None where none is configured."""
    dashboard = config.dashboard
    return _secret(dashboard.link_secret_env, dashboard.link_secret_file, "the secret of customers' links")


def later_secrets(config: "Config") -> "dict[str, CredentialsError | None]":
    """Configured secrets of the dashboard and of Stripe -> the reason why one cannot be used (None: it can)."""
    from metering.core.secrets import secret

    stripe = config.stripe
    asked: dict[str, Callable[[], Secret | None]] = {
        "dashboard.link_secret": lambda: link_secret(config),
    }
    if stripe.secret_env or stripe.secret_file:
        asked["stripe.secret"] = lambda: secret(stripe.secret_env, stripe.secret_file, os.environ)
    found: dict[str, CredentialsError | None] = {
        key: token if isinstance(token, CredentialsError) else None for key, token in tokens(config).items()
    }
    for key, read in asked.items():
        try:
            if read() is not None:
                found[key] = None
        except CredentialsError as error:
            found[key] = error
    return found


def _secret(env_name: str | None, file: Path | None, what: str) -> "Secret | None":
    from metering.core.secrets import secret
    from metering.web.links import refuse_weak

    return refuse_weak(secret(env_name, file, os.environ), what) if env_name or file else None


def customer_link(config: "Config", clock: Clock, customer: str, days: int) -> str:
    """The link to one customer's page. Raises ConfigError without a secret, MeteringError for an unknown customer."""
    from metering.core.errors import ConfigError, Fault, MeteringError
    from metering.web import figures, links
    from metering.web.view import opened

    signing = link_secret(config)
    if signing is None:
        right = "give either link_secret_env or link_secret_file"
        raise ConfigError([Fault(where="dashboard.link_secret_env", what="is missing", right=right)])
    if not figures.knows_customer(opened(config, clock()), customer):
        raise MeteringError(f"there is no customer {customer!r}", hint="`metering invoices current` names them")
    base = config.dashboard.public_url or f"http://{config.service.listen}"
    return base + links.made(customer, clock(), days, signing)


COMMANDS: list[click.Command] = [serve]
