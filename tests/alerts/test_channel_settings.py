"""[[channels]]: what each kind must have, may have and must not have, each fault with its key."""

from functools import partial
from pathlib import Path
from typing import get_args

import pytest

from metering.alerts import channels
from metering.config.recipients import ChannelKind
from tests.config import test_config

read = partial(test_config.read, channel_keys=channels.keys_of)
faults = partial(test_config.faults, channel_keys=channels.keys_of)

SLACK = '[[channels]]\nname = "ops"\nkind = "slack"\nsecret_env = "SLACK"\n'
PAGERDUTY = '[[channels]]\nname = "duty"\nkind = "pagerduty"\nsecret_file = "routing-key"\n'
EMAIL = (
    '[[channels]]\nname = "mail"\nkind = "email"\nurl = "smtp://mail.example.com:587"\nuser = "metering"\n'
    'secret_env = "MAIL"\nsender = "metering@example.com"\nto = ["ops@example.com", "a+b@example.com"]\n'
)
ALERTMANAGER = '[[channels]]\nname = "prometheus"\nkind = "alertmanager"\nurl = "https://alertmanager.example.com/am"\n'


def test_every_kind_is_read_and_called_by_kind_and_name(tmp_path):
    found = read(tmp_path, SLACK + PAGERDUTY + EMAIL + ALERTMANAGER).channels
    assert [channel.endpoint for channel in found] == [
        "slack:ops",
        "pagerduty:duty",
        "email:mail",
        "alertmanager:prometheus",
    ]
    assert found[0].events == ("*",)
    assert found[1].secret_file == tmp_path / "routing-key"
    assert found[2].to == ("ops@example.com", "a+b@example.com")
    assert [channel.allow_private_network for channel in found] == [False] * 4


def test_every_kind_of_the_configuration_is_a_module_and_every_module_a_kind():
    kinds = get_args(ChannelKind)
    modules = {path.stem for path in Path(channels.__file__).parent.glob("*.py")}
    assert modules - {"__init__", "kind"} == set(kinds)


def without(text: str, key: str) -> str:
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith(f"{key} ="))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (without(SLACK, "name"), "channels[0].name: is missing; this key must be given"),
        (without(SLACK, "kind"), "channels[0].kind: is missing; this key must be given"),
        (
            without(SLACK, "secret_env"),
            "channels[0].secret_env: is missing; give either secret_env or secret_file",
        ),
        (
            without(PAGERDUTY, "secret_file"),
            "channels[0].secret_env: is missing; give either secret_env or secret_file",
        ),
        (without(EMAIL, "url"), "channels[0].url: is missing; a channel of kind email needs it"),
        (without(EMAIL, "sender"), "channels[0].sender: is missing; a channel of kind email needs it"),
        (without(EMAIL, "to"), "channels[0].to: is missing; a channel of kind email needs it"),
        (without(ALERTMANAGER, "url"), "channels[0].url: is missing; a channel of kind alertmanager needs it"),
        (
            without(EMAIL, "user"),
            "channels[0].user: and a secret belong together; give user and its password "
            "(secret_env or secret_file), or neither",
        ),
        (
            without(EMAIL, "secret_env"),
            "channels[0].user: and a secret belong together; give user and its password "
            "(secret_env or secret_file), or neither",
        ),
        (
            SLACK + 'url = "https://hooks.slack.com/services/T/B/x"\n',
            "channels[0].url: means nothing to kind slack; it is a secret: hand it over by secret_env or secret_file",
        ),
        (SLACK + 'to = ["ops@example.com"]\n', "channels[0].to: means nothing to kind slack; leave it out"),
        (
            SLACK + 'secret_file = "x"\n',
            "channels[0].secret_env: and secret_file are both given; give either secret_env or secret_file",
        ),
        (
            EMAIL.replace("smtp://", "https://"),
            "channels[0].url: is no address of kind email; write smtp://host:port or smtps://host:port",
        ),
        (
            ALERTMANAGER.replace("https://", "smtp://").replace("/am", ""),
            "channels[0].url: is no address of kind alertmanager; write https://host/path",
        ),
        (
            ALERTMANAGER.replace("https://", "http://"),
            "channels[0].url: is not encrypted; write https://, or allow_private_network = true for one of your own",
        ),
        (
            ALERTMANAGER.replace("/am", "/am?x=1"),
            "channels[0].url: has a query; leave out the ? and what follows",
        ),
        (
            EMAIL.replace(":587", "/box"),
            "channels[0].url: names more than a mail server; write smtp://host:port or smtps://host:port",
        ),
        (
            EMAIL.replace("smtp://", "smtp://me:pw@"),
            "channels[0].url: holds a user or a password; leave out the part before the @",
        ),
        (
            EMAIL.replace("metering@example.com", "Metering <metering@example.com>"),
            "channels[0].sender: 'Metering <metering@example.com>' is no e-mail address; "
            "write the address alone, such as ops@example.com",
        ),
        (SLACK + SLACK.replace("SLACK", "OTHER"), "channels[1].name: 'ops' stands at channels[0] already; keep one"),
    ],
)
def test_a_fault_is_named_with_its_key_and_what_would_be_right(tmp_path, text, told):
    assert [fault for fault in faults(tmp_path, text) if fault.startswith(told)] != [], faults(tmp_path, text)


def test_an_unknown_kind_names_the_known_ones(tmp_path):
    (fault,) = faults(tmp_path, SLACK.replace('"slack"', '"teams"'))
    assert fault.startswith(
        "channels[0].kind: is 'teams'; write one of 'slack', 'pagerduty', 'email' or 'alertmanager'"
    )


@pytest.mark.parametrize("character", ["\\n", "\\r", "\\u0000", " ", "é", ","])
def test_an_address_holds_nothing_that_could_end_a_header(tmp_path, character):
    assert faults(tmp_path, EMAIL.replace("a+b@", f"a{character}b@"))


def test_an_address_of_ones_own_network_may_be_spoken_to_in_the_clear_where_that_is_said(tmp_path):
    text = ALERTMANAGER.replace("https://", "http://") + "allow_private_network = true\n"
    assert read(tmp_path, text).channels[0].url == "http://alertmanager.example.com/am"


def test_the_examples_of_the_written_configuration_are_sound(tmp_path):
    lines = (Path(__file__).parents[2] / "config.toml").read_text().splitlines()
    start, end = lines.index(next(line for line in lines if line.startswith("# [[channels]]"))), len(lines)
    end = next(i for i in range(start, end) if lines[i].startswith(("# [[meters]]", "[[")))
    shown = [line.removeprefix("# ") for line in lines[start:end] if "secret_file" not in line]
    assert [channel.endpoint for channel in read(tmp_path, "\n".join(shown)).channels] == [
        "slack:ops",
        "email:support",
        "alertmanager:prometheus",
    ]
