"""The manual says what there is: commands, options, keys, exit codes, and examples that come out as printed."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

from metering.alerts import recording, retry_schedule, signing
from metering.alerts.targets import Endpoint, Message
from metering.analysis import price_lines
from metering.cli import cli
from metering.config import models as config_models
from metering.config.faults import inner
from metering.config.patterns import EVENTS
from metering.core import errors
from metering.core.meters import built_in
from metering.core.parties import Customer, Subscription
from metering.core.quotas import QUOTAS

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
PAGES = sorted([*TOP.glob("*.md"), *DOCS.glob("*.md")])
SHARED_OPTIONS = {"--config", "--format", "--help", "-h"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (DOCS / name).read_text()


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    match = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"there is no heading {heading!r}"
    return match[1]


def blocks(path: Path, language: str) -> list[str]:
    return [body for name, body in BLOCK.findall(path.read_text()) if name == language]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# -- commands


def every_command(group: click.Group = cli, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """(name, command), also of the commands inside groups, as `quotas plan`."""
    for name, command in sorted(group.commands.items()):
        yield above + name, command
        if isinstance(command, click.Group):
            yield from every_command(command, f"{above}{name} ")


COMMANDS = dict(every_command())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_manual_with_its_arguments_and_options_and_an_example(name):
    text = section(page("commands.md"), f"## {name.partition(' ')[0]}")
    assert f"`metering {name}" in text
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Argument):
            metavar = (parameter.metavar or parameter.name or "").upper()
            choices = [f"[{'|'.join(parameter.type.choices)}]"] if isinstance(parameter.type, click.Choice) else []
            assert any(word in text for word in (metavar, *choices)), f"{name}: the argument {metavar} is not told"
        for option in {*parameter.opts, *parameter.secondary_opts} - SHARED_OPTIONS:
            if isinstance(parameter, click.Option):
                assert f"`{option}`" in text, f"{name}: the option {option} is not told"
    assert "```" in text or name == "demo", "an example says more than a sentence"


def test_the_manual_has_no_command_that_is_not_there():
    known = {"Options that commands share", "Exit codes", "Like cases", *cli.commands}
    assert set(re.findall(r"^## (.+)$", page("commands.md"), re.MULTILINE)) - known == set()


def test_the_shared_options_are_told_once():
    text = section(page("commands.md"), "## Options that commands share")
    assert all(option in text for option in (*SHARED_OPTIONS, "--version", "METERING_CONFIG", "METERING_NOW"))


def called(text: str) -> Iterator[tuple[str, str]]:
    """Every `metering …` that a page or a unit calls: (command, the rest of the line)."""
    for match in re.finditer(r"(?<![\w/-])(/opt/metering/bin/)?metering ([a-z]+)( [a-z]+)?([^\n`|;&>#]*)", text):
        name = match[2] + (match[3] or "")
        if name in COMMANDS and match[3]:
            yield name, match[4]
        elif match[2] in COMMANDS or match[1]:
            yield match[2], (match[3] or "") + match[4]


@pytest.mark.parametrize("path", [*PAGES, *sorted((TOP / "deploy").iterdir())], ids=lambda path: path.name)
def test_every_command_line_that_is_shown_has_options_that_exist(path):
    for name, rest in called(path.read_text()):
        assert name in COMMANDS, f"{path.name}: metering {name}"
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts} | SHARED_OPTIONS
        given = set(re.findall(r"(?<!\S)\[?(--[a-z-]+)", rest))
        assert given <= known, f"{path.name}: metering {name}{rest}"


def test_shell_examples_call_commands_that_exist():
    for path in PAGES:
        for block in blocks(path, "console"):
            for name in re.findall(r"^\$ metering ([a-z]+)|\| metering ([a-z]+)", block, re.MULTILINE):
                assert "".join(name) in cli.commands, f"{path.name}: metering {''.join(name)}"


# -- exit codes


def error_classes(root: type[errors.MeteringError]) -> Iterator[type[errors.MeteringError]]:
    yield root
    for below in root.__subclasses__():
        yield from error_classes(below)


def test_every_error_has_the_exit_code_that_is_documented():
    table = rows(section(page("commands.md"), "## Exit codes"))
    documented = {name: int(row[0]) for row in table[2:] for name in re.findall(r"`(\w+Error)`", row[2])}
    ours = [kind for kind in error_classes(errors.MeteringError) if kind.__module__ == "metering.core.errors"]
    assert documented == {kind.__name__: kind.exit_code for kind in ours}


def test_the_readme_has_the_same_exit_codes_as_the_manual():
    table = {row[0] for row in rows(section(page("commands.md"), "## Exit codes"))[2:]}
    readme = {row[0] for row in rows((TOP / "README.md").read_text()) if row[0].isdigit()}
    assert readme == table


# -- configuration

HEADINGS = {
    "store": "## `[store]`",
    "backup": "## `[backup]`",
    "neon": "## `[neon]`",
    "network": "## `[network]`",
    "organizations": "## `[[organizations]]`",
    "schedule": "## `[schedule]`",
    "customers": "## `[customers]`",
    "seller": "## `[seller]`",
    "invoices": "## `[invoices]`",
    "quota": "## `[quota]`",
    "service": "## `[service]`",
    "dashboard": "## `[dashboard]`",
    "dashboard.tokens": "### `[[dashboard.tokens]]`",
    "exports": "## `[exports]`",
    "stripe": "## `[stripe]`",
    "webhooks": "## `[[webhooks]]`",
    "channels": "## `[[channels]]`",
    "meters": "## `[[meters]]`",
    "plans": "## `[[plans]]`",
    "plans.prices": "### `[[plans.prices]]`",
    "discounts": "## `[[discounts]]`",
}
NOT_SETTINGS = {"path", "customer_rows", "subscription_rows", "respelled", "origins", "reached_by"}
OWN_DEFAULT = {("plans", "name"): "the id"}
"""Defaults that the model cannot say."""


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation holds, itself or in a list."""
    found = inner(annotation)
    if getattr(found, "__origin__", None) is tuple:
        found = inner(found.__args__[0])
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def settings(model: type[BaseModel], place: str, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """(section, key as documented, field) of every setting; a list in a section is told as `tiers[].up_to`."""
    for name, field in model.model_fields.items():
        yield place, prefix + name, field
        below = model_of(field.annotation)
        if below and f"{place}.{name}" in HEADINGS:
            yield from settings(below, f"{place}.{name}")
        elif below:
            yield from settings(below, place, f"{name}[].")


def own_section(place: str) -> str:
    """A section of docs/configuration.md without those below it."""
    return section(page("configuration.md"), HEADINGS[place]).split("\n### ")[0]


def every_setting() -> list[tuple[str, str, Any]]:
    sections = {name: field for name, field in config_models.Config.model_fields.items() if name not in NOT_SETTINGS}
    assert sections.keys() == {name for name in HEADINGS if "." not in name}, "a section without a heading"
    found: list[tuple[str, str, Any]] = []
    for name, field in sections.items():
        model = model_of(field.annotation)
        assert model is not None
        found.extend(settings(model, name))
    return found


def shown_default(place: str, name: str, field: Any) -> str:
    if (place, name) in OWN_DEFAULT or field.is_required():
        return OWN_DEFAULT.get((place, name), "required")
    value = field.default
    if value is None or value in ((), {}, ""):
        return "none" if value is None else "empty"
    if isinstance(value, bool | tuple):
        value = json.dumps(value)
    return f"`{value:f}`" if isinstance(value, Decimal) else f"`{value}`"


@pytest.mark.parametrize(("place", "name", "field"), every_setting(), ids=lambda value: str(value)[:40])
def test_every_setting_is_documented_with_its_default(place, name, field):
    table = {row[0]: row for row in rows(own_section(place))}
    assert f"`{name}`" in table, f"[{place}] {name} is missing in docs/configuration.md"
    assert table[f"`{name}`"][2] == shown_default(place, name, field)


def test_every_documented_setting_exists():
    known = {(place, f"`{name}`") for place, name, _ in every_setting()} | {("plans", "`extends`")}
    for place in HEADINGS:
        documented = {(place, row[0]) for row in rows(own_section(place)) if len(row) == 4 and row[0].startswith("`")}
        assert documented - known == set()


def test_every_quota_event_meter_and_column_is_documented():
    quotas = {row[0] for row in rows(section(page("configuration.md"), "### `[plans.quota]`"))}
    assert {f"`{name}`" for name in QUOTAS} <= quotas
    assert all(f"`{name}`" in section(page("alerts.md"), "## Events") for name in EVENTS)
    meters = {row[0]: row for row in rows(section(page("money.md"), "## Meters and units"))}
    for meter in built_in():
        metrics = ", ".join(f"`{metric}`" for metric in meter.metrics)
        assert meters[f"`{meter.id}`"][1:] == [metrics, f"{meter.divisors[-1].divisor:f}", meter.unit]
    for name, model in (("customers.csv", Customer), ("subscriptions.csv", Subscription)):
        columns = {row[0] for row in rows(section(page("configuration.md"), f"## {name}"))}
        fields = model.model_fields.keys() - {"line", "place", "dated"}
        assert {f"`{'customer' if field == 'id' else field}`" for field in fields} <= columns


# -- examples


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_json_examples_are_json(path):
    for block in blocks(path, "json"):
        json.loads(block if block.lstrip().startswith(("{", "[")) else "{" + block + "}")


def price_examples() -> list[tuple[str, str]]:
    lines = [line for path in PAGES for block in blocks(path, "console") for line in block.splitlines()]
    return [
        (line.removeprefix("$ echo '").removesuffix("' | metering price"), lines[number + 1])
        for number, line in enumerate(lines)
        if line.startswith("$ echo '") and line.endswith("' | metering price")
    ]


@pytest.mark.parametrize(("asked", "answer"), price_examples())
def test_price_examples_give_the_printed_answer(asked, answer):
    assert price_lines.rate_line(asked) == answer


def test_every_price_model_has_an_example():
    models = {json.loads(asked)["price"]["model"] for asked, _ in price_examples()}
    assert models == {"per_unit", "graduated", "volume", "package"}, "cost_plus needs Neon's cost, which no line knows"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_relative_link_is_dead(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = path if not name else (path.parent / name)
        assert file.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{path.name} links to {target}"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as they are made from the words."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -- the receivers of docs/alerts.md

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ENDPOINT = Endpoint(url="https://receiver.example.com/", keys=signing.keys(SECRET))
BODY = b'{"type": "quota.exceeded", "data": {"used": "90071992547409930"}}'


def delivery() -> dict[str, str]:
    return signing.headers(ENDPOINT, Message(event_id="alert_1", body=BODY), datetime.now(tz=UTC))


@pytest.mark.parametrize("sample", blocks(DOCS / "alerts.md", "python"), ids=["library", "by hand"])
def test_the_python_samples_take_a_signed_delivery_and_nothing_else(sample):
    names: dict[str, Any] = {}
    exec(sample, names)
    headers = delivery()
    assert names["receive"](SECRET, headers, BODY) == json.loads(BODY)
    assert names["receive"](SECRET, headers, BODY + b" ") is None
    assert names["receive"](SECRET, {**headers, "webhook-id": "alert_2"}, BODY) is None
    late = signing.headers(ENDPOINT, Message(event_id="alert_1", body=BODY), datetime(2026, 1, 1, tzinfo=UTC))
    assert names["receive"](SECRET, late, BODY) is None


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_node_sample_takes_a_signed_delivery_and_nothing_else(tmp_path):
    (sample,) = blocks(DOCS / "alerts.md", "js")
    (tmp_path / "receive.mjs").write_text(sample)
    (tmp_path / "asks.mjs").write_text(
        'import { readFileSync } from "node:fs";\nimport { receive } from "./receive.mjs";\n'
        'const { secret, headers, body } = JSON.parse(readFileSync("asks.json"));\n'
        'const late = { ...headers, "webhook-timestamp": "1767225600" };\n'
        "console.log(JSON.stringify([receive(secret, headers, Buffer.from(body)),"
        ' receive(secret, headers, Buffer.from(body + " ")), receive(secret, late, Buffer.from(body))]));\n'
    )
    (tmp_path / "asks.json").write_text(json.dumps({"secret": SECRET, "headers": delivery(), "body": BODY.decode()}))
    node = str(shutil.which("node"))
    told = subprocess.run([node, "asks.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    taken, *refused = json.loads(told.stdout)
    assert taken["type"] == "quota.exceeded"
    assert refused == [None, None]


def test_every_test_that_the_faults_name_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", page("faults.md"))
    assert len(named) > 150
    missing = [f"{file}::{name}" for file, name in named if f"\ndef {name}(" not in (TOP / file).read_text()]
    assert missing == []


def test_the_retry_schedule_is_the_one_that_is_documented():
    table = rows(section(page("alerts.md"), "## Retries"))
    units = {"s": 1, "min": 60, "h": 3600}
    waits = [int(number) * units[unit] for number, unit in (cell.split() for cell in table[2][1:])]
    assert waits == [int(wait.total_seconds()) for wait in retry_schedule.RETRY_SCHEDULE]


def test_the_fields_of_a_quota_event_are_documented():
    text = section(page("alerts.md"), "## What arrives")
    (example, *_) = [json.loads(block) for name, block in BLOCK.findall(text) if name == "json"]
    documented = {name for row in rows(text)[2:] for name in re.findall(r"`(\w+)`", row[0])}
    assert documented == set(example["data"])
    crossed = {"percent", "used", "limit", "unit", "period", "observed_at", "forecast", "source", "limit_source"}
    assert crossed <= documented
    assert recording.event_type(100) == "quota.exceeded"
