"""What is loaded: a command's own module and what it needs; for rating a month no network and no configuration."""

import importlib
import json
import pkgutil
import subprocess
import sys

import metering.billing
from metering.cli import _MODULES, cli


def loaded(script: str) -> set[str]:
    """The modules that a process has loaded after the script."""
    told = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(json.loads(told.stdout.splitlines()[-1]))


def test_each_command_stands_in_the_module_that_the_table_names():
    found = {
        module: [command.name for command in importlib.import_module(f"metering.cli.{module}").COMMANDS]
        for module in _MODULES
    }
    assert found == {module: list(commands) for module, commands in _MODULES.items()}


def test_no_module_with_commands_is_missing_in_the_table():
    modules = {module.name for module in pkgutil.iter_modules(importlib.import_module("metering.cli").__path__)}
    with_commands = {name for name in modules if hasattr(importlib.import_module(f"metering.cli.{name}"), "COMMANDS")}
    assert with_commands == _MODULES.keys()
    assert len(cli.commands) == sum(map(len, _MODULES.values()))


def test_a_command_loads_no_module_of_other_commands():
    modules = loaded('from metering.cli import cli\nassert cli.commands["usage"].name == "usage"')
    assert {name for name in modules if name.removeprefix("metering.cli.") in _MODULES} == {"metering.cli.reading"}
    assert not modules & {"polars", "duckdb", "pydantic", "httpx"}


def test_the_help_of_the_exports_loads_no_format():
    modules = loaded('from metering.cli import cli\ncli.main(["export", "--help"], standalone_mode=False)')
    assert not {name for name in modules if name.startswith("metering.export")}
    assert not modules & {"polars", "duckdb", "pydantic", "httpx"}


def test_a_name_that_is_no_command_is_told_with_the_nearest():
    done = subprocess.run([sys.executable, "-m", "metering", "clos"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such command 'clos'. Did you mean 'close'?" in done.stderr


def test_rating_a_month_loads_neither_the_network_nor_the_configuration():
    parts = [f"metering.billing.{module.name}" for module in pkgutil.iter_modules(metering.billing.__path__)]
    modules = loaded(f"import metering.billing, {', '.join(parts)}")
    assert "metering.billing.month" in modules
    assert {name for name in modules if name.startswith(("httpx", "metering.config", "metering.neon"))} == set()
