"""Runs the console blocks of the manual: `$ command` lines, each with the output that is printed under it.

Commands run in this process, in a directory that holds the demo as `metering-demo/`, at the demo's moment. `…` in a
block stands for anything: alone on a line for any number of lines, within a line for the rest or a part of it.
"""

import io
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from metering.cli import main
from metering.cli.demo import demo, receiver
from metering.sandbox.app import create_app
from metering.sandbox.fleet import Fleet
from metering.sandbox.gate import UNLIMITED, Clock
from metering.sandbox.server import serve
from tests.support.platform_desk import as_in_a_shell

TOP = Path(__file__).parents[1]
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")])
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.*(?:\n> .*)*)\n", re.MULTILINE)
ELSEWHERE = {
    "curl": "asks a service that is running",
    "(crontab": "changes the reader's crontab; tests/test_deploy.py types it with another",
    "docker": "needs Docker",
    "duckdb": "is a program of its own",
    "kill": "ends the service of the line before",
    "cat": "shows what the service of the lines before wrote",
    "export": "is the reader's environment, which every command here has",
    "make": "makes an environment; .ci/run does it",
    "pip": "installs",
    "python": "runs for hours",
    "/tmp/schemathesis/bin/schemathesis": "lives in an environment of its own",
    "sudo": "changes a machine",
    "systemctl": "needs systemd",
    "${EDITOR:-vi}": "is the reader's",
    "metering run": "does not end; tests/service/test_service.py runs it",
    "metering sandbox": "does not end; tests/sandbox/test_sandbox_server.py runs it",
    "metering serve": "does not end, but with --link; tests/browser/ and tests/web/test_web_serve.py run it",
    "metering demo": "is what every block here runs on",
    "metering acknowledge": "needs a review item, which the demo has not; tests/invoicing/test_alarms.py makes one",
}
"""Programs that are not run here, each with the reason."""
RUN_BY_OTHERS = {
    "README.md": "commands for the reader's own account, without output",
    "exports.md": "tests/cli/test_demo.py writes and reads every file of it on a smaller demo",
}
"""Pages whose commands are not run here, each with the reason."""
CHANGING = ("poll", "backfill", "tick", "close", "void", "quotas apply", "upgrade", "alerts test")
"""Commands that run on the page's own copy of the demo, in its order; all others share the demo as it is."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a block, and what the page prints under it."""

    page: str
    block: int
    command: str
    printed: str

    @property
    def program(self) -> str:
        """The first word; of `metering` the first two."""
        words = [word for word in self.command.split() if not re.match(r"[A-Z_]+=", word)]
        return " ".join(words[:2]) if words[0] == "metering" else words[0]

    @property
    def is_changing(self) -> bool:
        """True for a command that changes the store, or what is at Neon."""
        return self.command.startswith(tuple(f"metering {name}" for name in CHANGING))

    @property
    def is_run(self) -> bool:
        """False for what ELSEWHERE or RUN_BY_OTHERS names."""
        if self.page in RUN_BY_OTHERS:
            return False
        if self.program == "metering serve":
            return "--link" in self.command
        return self.program not in ELSEWHERE


def steps(path: Path) -> Iterator[Step]:
    """Every command of a page's console blocks, in their order."""
    for number, block in enumerate(BLOCK.findall(path.read_text())):
        starts = list(COMMAND.finditer(block))
        ends = [*(start.start() for start in starts[1:]), len(block)]
        for start, end in zip(starts, ends, strict=True):
            yield Step(page=path.name, block=number, command=start[1], printed=block[start.end() : end])


def comes_out_as(printed: str, output: str) -> bool:
    """Whether the output is what is printed; `…` stands for anything, blanks at line ends do not count."""
    return re.fullmatch(_pattern(_lines(printed)), "".join(line + "\n" for line in _lines(output))) is not None


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _pattern(lines: list[str]) -> str:
    return "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*").replace(r"\…", ".*") + r"\n"
        for line in lines
    )


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Somebody who types what the manual shows, in a directory of their own."""

    directory: Path
    environment: Mapping[str, str]

    def types(self, command: str) -> str:
        """What a terminal shows after the command: both streams, without the word on METERING_NOW."""
        line = re.split(r"; echo| && |  +# ", command)[0]
        stdin, _, call = line.rpartition(" | ") if line.startswith("echo ") else ("", "", line)
        given = shlex.split(stdin)[1].encode() if stdin else b""
        landed = io.BytesIO()
        shown = io.TextIOWrapper(landed, write_through=True)
        code: object = 0
        shell = as_in_a_shell(shlex.split(call), dict(self.environment), given)
        with chdir(self.directory), shell, redirect_stdout(shown), redirect_stderr(shown):
            try:
                main()
            except SystemExit as end:
                code = end.code
        text = re.sub(r"^metering: rehearsing at .*\n", "", landed.getvalue().decode(), flags=re.MULTILINE)
        return text + f"{code}\n" if command.endswith("; echo $?") else text


@contextmanager
def neon_is_there(config: Path) -> Iterator[None]:
    """The demo's sandbox at the demo's moment, and its receiver, at new ports that the configuration gets."""
    fleet = Fleet.around(demo.NOW, seed=1, projects=200)
    app = create_app(fleet, Clock.at(demo.ENDS_AT), limits=UNLIMITED, exact_hours=True)
    secret = (config.parent / "webhook-secret").read_text().strip()
    hook_app = receiver.app(secret, receiver.Received())
    with serve(app) as api, serve(hook_app) as hook:
        text = re.sub(r'base_url = ".*"', f'base_url = "{api.url}"', config.read_text())
        config.write_text(re.sub(r'url = "http.*/"\nsecret', f'url = "{hook.root_url}/"\nsecret', text))
        yield
