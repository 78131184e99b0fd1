"""`check` tells what a later command would refuse: secrets of the dashboard and of Stripe, fonts, the address."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, Ran

SECRET = "a-secret-of-some-length-0123456789"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with served(PlainNeon()) as neon:
        yield Desk(directory=tmp_path, neon=neon, now="2026-10-15T12:00:00Z", default_plan="pro", more="")


def checked(desk: Desk, more: str, **environment: str) -> Ran:
    desk.more = f'[service]\nlisten = ""\n{more}' if "[service]" not in more else more
    ran = desk.run("check", env=environment)
    assert SECRET not in ran.out + ran.err
    return ran


KINDS = {
    "dashboard token": ("dashboard", "token"),
    "dashboard link_secret": ("dashboard", "link_secret"),
    "stripe secret": ("stripe", "secret"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_that_can_be_read_is_usable(desk: Desk, kind: str) -> None:
    section, name = KINDS[kind]
    ran = checked(desk, f'[{section}]\n{name}_env = "LATER"\n', LATER=SECRET)
    assert ran.code == 0 and ran.json[section][name] == "ok"
    (desk.directory / "later").write_text(SECRET)
    (desk.directory / "later").chmod(0o600)
    assert checked(desk, f'[{section}]\n{name}_file = "later"\n').code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_variable_that_is_not_set_is_told_before_somebody_needs_it(desk: Desk, kind: str) -> None:
    section, name = KINDS[kind]
    ran = checked(desk, f'[{section}]\n{name}_env = "LATER"\n')
    assert ran.code == 5
    assert ran.json[section][name] == "the environment variable LATER is not set"
    assert f"not ready: first {section}: environment LATER: the environment variable LATER is not set" in ran.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("mode", "why"), [(0o644, "can be read by group or others"), (None, "does not exist")])
def test_a_file_that_others_read_or_that_is_missing_is_told(desk: Desk, kind: str, mode: int | None, why: str) -> None:
    section, name = KINDS[kind]
    path = desk.directory / "later"
    if mode is not None:
        path.write_text(SECRET)
        path.chmod(mode)
    ran = checked(desk, f'[{section}]\n{name}_file = "later"\n')
    assert ran.code == 5 and ran.json[section][name] == f"{path} {why}"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "dashboard" in kind])
def test_a_secret_that_could_be_guessed_is_told(desk: Desk, kind: str) -> None:
    section, name = KINDS[kind]
    ran = checked(desk, f'[{section}]\n{name}_env = "LATER"\n', LATER="short")
    assert ran.code == 5 and "is shorter than 20 characters" in ran.json[section][name]


def test_tokens_that_cannot_be_used_are_all_told(desk: Desk) -> None:
    tokens = {"one": "A", "two": "B", "three": "C", "four": "D"}
    more = "".join(
        f'[[dashboard.tokens]]\nname = "{name}"\ntoken_env = "{variable}"\nroles = ["viewer", "finance"]\n'
        for name, variable in tokens.items()
    )
    ran = checked(desk, more, A=SECRET, B=SECRET, C="short")
    found = {row["name"]: row for row in ran.json["dashboard"]["tokens"]}
    assert ran.code == 5 and found["one"] == {"name": "one", "roles": ["finance", "viewer"], "state": "ok"}
    assert found["two"]["state"] == "is the same as dashboard.tokens[0]"
    assert "is shorter than 20 characters" in found["three"]["state"]
    assert found["four"]["state"] == "the environment variable D is not set"
    assert (
        checked(desk, f'{more}[dashboard]\ntoken_env = "A"\n', A=SECRET, B="b" * 20, C="c" * 20, D="d" * 20).json[
            "dashboard"
        ]["tokens"][0]["state"]
        == "is the same as dashboard.token"
    )


def test_what_is_not_configured_is_not_asked_for(desk: Desk) -> None:
    document = checked(desk, "").json
    assert (document["dashboard"], document["stripe"]) == (
        {"token": None, "link_secret": None, "tokens": []},
        {"secret": None},
    )
    assert document["fonts"] is None


@pytest.mark.parametrize("kind", ["missing", "a file", "without fonts", "with fonts"])
def test_fonts_are_looked_for_before_a_pdf_is_made(desk: Desk, kind: str) -> None:
    fonts = desk.directory / "fonts"
    if kind == "a file":
        fonts.write_text("")
    elif kind != "missing":
        fonts.mkdir()
    if kind == "with fonts":
        (fonts / "Ours.TTF").write_bytes(b"")
    ran = checked(desk, '[invoices]\nfonts = "fonts"\n')
    assert ran.code == (4 if kind in {"missing", "a file"} else 0)
    assert ("no PDF can be made" in ran.err) == (ran.code == 4)
    assert any("holds no .ttf" in note for note in ran.json["notes"]) == (kind == "without fonts")


def test_an_address_of_another_machine_cannot_be_listened_on(desk: Desk) -> None:
    ran = checked(
        desk, '[service]\nlisten = "192.0.2.1:9187"\nallow_remote = true\n[dashboard]\ntoken_env = "T"\n', T=SECRET
    )
    assert ran.code == 4
    assert ran.json["service"]["listen_state"] == "cannot be listened on: Cannot assign requested address"


def test_an_address_that_others_reach_without_a_login_is_told_as_run_and_serve_refuse_it(desk: Desk) -> None:
    others = '[service]\nlisten = "0.0.0.0:0"\nallow_remote = true\n'
    ran = checked(desk, others)
    assert ran.code == 4
    assert "not ready: first dashboard.token_env: is missing: others could look" in ran.err
    assert checked(desk, f'{others}[dashboard]\ntoken_env = "T"\n', T=SECRET).code == 0


def test_a_name_without_a_login_is_noted_since_nobody_but_customers_is_let_in(desk: Desk) -> None:
    ran = checked(desk, '[dashboard]\nhosts = ["billing.example.com"]\n')
    assert ran.code == 0
    assert any("so only customers are let in" in note for note in ran.json["notes"])


def test_a_port_that_is_taken_is_noted_since_run_may_be_running(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = checked(desk, f'[service]\nlisten = "127.0.0.1:{port}"\n')
    assert ran.code == 0 and "is taken: by `metering run`" in "".join(ran.json["notes"])
    assert checked(desk, f'[service]\nlisten = "127.0.0.1:{port}"\n').json["service"]["listen_state"] == "ok"


@pytest.mark.parametrize("kind", ["webhooks", "channels"])
def test_why_the_secret_of_a_recipient_cannot_be_used_is_told_by_check_and_by_tick(desk: Desk, kind: str) -> None:
    path = desk.directory / "hook"
    path.write_text("whsec_" + "c2VjcmV0" * 5)
    path.chmod(0o644)
    who = {
        "webhooks": 'url = "https://127.0.0.1/hook"',
        "channels": 'name = "duty"\nkind = "pagerduty"\nurl = "https://127.0.0.1/"',
    }
    more = f'[[{kind}]]\n{who[kind]}\nallow_private_network = true\nsecret_file = "hook"\n'
    ran = checked(desk, more)
    assert ran.code == 5 and f"file {path}: {path} can be read by group or others" in ran.err
    assert f"{path} can be read by group or others" in desk.run("tick").err
