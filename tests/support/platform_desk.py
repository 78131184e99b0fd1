"""A platform's desk for tests from outside: a directory with its configuration, and the real command at a given time.

`Desk.run` calls the command line in this process (argv, environment and streams are given, as a shell would);
`Desk.spawn` starts it as a process of its own. `copied` gives each test of a module a desk where much was done already.
"""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from metering.cli import main
from tests.support.plain_neon import PlainNeon, served
from tests.support.quiet_time import PATIENCE_SECONDS

TOP = Path(__file__).parents[2]
PRO = """
[[plans]]
id = "pro"
name = "Pro"
currency = "USD"
base_fee = "20.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "graduated"
included = "100"
tiers = [{ up_to = "1000", unit_price = "0.16" }, { unit_price = "0.12" }]
"""
"""The plan of the contract's example."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(kw_only=True)
class Desk:
    """One configuration; `now` is METERING_NOW of every command until it is set anew."""

    directory: Path
    neon: PlainNeon
    now: str | None = None
    organizations: Sequence[str] = ("org-a",)
    plans: str = PRO
    more: str = ""
    sponsored: Sequence[str] = ()
    legacy: Sequence[str] = ()
    """Organizations whose history is at the legacy endpoint."""
    default_plan: str | None = None
    customers: str | None = None
    subscriptions: str | None = None
    pattern: str | None = None
    environment: dict[str, str] = field(default_factory=lambda: {"NEON_API_KEY": "key-of-the-platform"})

    def write(self) -> Path:
        """config.toml and the CSV files as they stand now."""
        parts = [
            f'[neon]\nbase_url = "{self.neon.url}"\nhistory_requests_per_minute = 60000\n'
            "requests_per_minute = 60000\nmax_retries = 0\n"
        ]
        for name in self.organizations:
            default = f'default_plan = "{self.default_plan}"\n' if self.default_plan else ""
            history = 'history = "legacy"\n' if name in self.legacy else ""
            is_sponsored = "true" if name in self.sponsored else "false"
            parts.append(
                f'[[organizations]]\nid = "{name}"\napi_key_env = "NEON_API_KEY"\nsponsored = {is_sponsored}\n'
                f"{default}{history}"
            )
        mapping = []
        for key, file, text in (
            ("file", "customers.csv", self.customers),
            ("subscriptions", "subscriptions.csv", self.subscriptions),
        ):
            if text is not None:
                (self.directory / file).write_text(text)
                mapping.append(f'{key} = "{file}"\n')
        if self.pattern:
            mapping.append(f"project_name_pattern = '{self.pattern}'\n")
        if mapping:
            parts.append("[customers]\n" + "".join(mapping))
        if "[seller]" not in self.more:
            parts.append('[seller]\nname = "Acme Platforms Ltd"\n')
        path = self.directory / "config.toml"
        path.write_text("\n".join([*parts, self.more, self.plans]))
        return path

    def run(self, *arguments: str, stdin: bytes = b"", config: bool = True, env: Mapping[str, str] = {}) -> Ran:
        """The command in this process, at `now`."""
        argv = [*arguments]
        if config and arguments[0] not in {"price", "init"}:
            argv += ["--config", str(self.write())]
        out, err = io.StringIO(), io.StringIO()
        shell = as_in_a_shell(["metering", *argv], self._environment(env), stdin)
        with shell, redirect_stdout(out), redirect_stderr(err):
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        return Ran(code=code, out=out.getvalue(), err=err.getvalue())

    def good(self, *arguments: str, code: int = 0, **more: Any) -> Any:
        """Runs the command, which must end with `code`, and reads its JSON (None without output)."""
        ran = self.run(*arguments, **more)
        assert ran.code == code, (arguments, ran)
        return json.loads(ran.out) if ran.out.strip() else None

    def spawn(self, *arguments: str, env: Mapping[str, str] = {}) -> "subprocess.Popen[bytes]":
        """The command as a process of its own; the caller waits for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "metering", *arguments],
            cwd=TOP,
            env=self._environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ran(self, *arguments: str, env: Mapping[str, str] = {}) -> Ran:
        """The command as a process, ended."""
        process = self.spawn(*arguments, "--config", str(self.write()), env=env)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return Ran(code=process.returncode, out=out.decode(), err=err.decode())

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        found = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        at = {"METERING_NOW": self.now} if self.now else {}
        return {**found, **self.environment, **at, **more}


@contextmanager
def copied(kept: Desk, directory: Path) -> Iterator[Desk]:
    """A second desk, in `directory`, with the files of `kept`; its own Neon answers as the one of `kept` does."""
    shutil.copytree(kept.directory, directory, dirs_exist_ok=True)
    told = {one.name for one in fields(PlainNeon)} - {"url", "gate"}
    with served(PlainNeon(**{name: deepcopy(getattr(kept.neon, name)) for name in told})) as neon:
        yield replace(kept, directory=directory, neon=neon, environment=dict(kept.environment))


@contextmanager
def as_in_a_shell(argv: list[str], environment: Mapping[str, str], stdin: bytes) -> Iterator[None]:
    kept, arguments, source = dict(os.environ), sys.argv, sys.stdin
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.stdin = argv, io.TextIOWrapper(io.BytesIO(stdin))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
        sys.argv, sys.stdin = arguments, source
