"""SIGTERM: every command ends within ten seconds, also as process 1 of a container (real processes)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metering.core import signals
from tests.faults.server import serving as misbehaving
from tests.faults.server import stays_silent
from tests.service.test_service import Neon, kinds, serving

TEN_SECONDS = 10
BUSY = 20
"""What a machine that others use may add to a process's start and end."""


def namespace() -> list[str]:
    """What makes a command process 1 of a namespace of its own; empty where that is not allowed."""
    for command in (["unshare", "--pid", "--fork"], ["unshare", "--user", "--map-root-user", "--pid", "--fork"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
        ):
            return command
    return []


AS_PROCESS_1 = namespace()
needs_namespaces = pytest.mark.skipif(not AS_PROCESS_1, reason="no namespaces of processes here")


def configured(directory: Path, base_url: str, hook: str = "") -> Path:
    path = directory / "config.toml"
    webhook = f'[[webhooks]]\nurl = "{hook}"\nsecret_env = "HOOK"\nallow_private_network = true\n' if hook else ""
    path.write_text(f'[neon]\nbase_url = "{base_url}"\n[[organizations]]\nid = "org-a"\napi_key_env = "KEY"\n{webhook}')
    return path


@contextmanager
def started(config: Path, *command: str, before: list[str] | None = None) -> Iterator[subprocess.Popen[str]]:
    environ = {**{name: text for name, text in os.environ.items() if not name.startswith("METERING_")}, "KEY": "napi_x"}
    environ["HOOK"] = "whsec_c2VjcmV0LW9mLXR3ZW50eS1mb3VyLWJ5dGVz"
    argv = [*(before or []), sys.executable, "-m", "metering", *command, "--config", str(config)]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def process_of(started: subprocess.Popen[str]) -> int:
    """The command's own process, which `unshare` forked."""
    (found,) = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    return int(found)


@pytest.mark.parametrize("command", ["poll", "tick", "backfill"])
def test_a_page_in_hand_is_finished_and_the_rest_is_told_as_owed(tmp_path: Path, command: str):
    with serving() as server, started(url(tmp_path, server), command) as process:
        assert server.asked.wait(60)
        process.send_signal(signal.SIGTERM)
        threading.Timer(0.5, server.may_answer.set).start()
        out, said = process.communicate(timeout=60)
        assert process.returncode == 3
        assert "account main: stopped before everything was read (the next poll goes on from here)" in said
        assert command == "tick" or json.loads(out)["outcome"] == "partial"
        assert (server.count, kinds(tmp_path)) == (1, ["page", "walk", "cycle"])


@pytest.mark.parametrize("command", ["tick", "backfill"])
def test_a_page_that_does_not_come_is_dropped_and_told_as_owed(tmp_path: Path, command: str):
    with serving() as server, started(url(tmp_path, server), command) as process:
        assert server.asked.wait(60)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=TEN_SECONDS + BUSY)
        assert process.returncode == 3
        assert "stopped before everything was read" in said
        assert kinds(tmp_path) == ["walk", "cycle"]


@needs_namespaces
@pytest.mark.parametrize("command", ["tick", "backfill"])
def test_process_1_of_a_container_ends_too(tmp_path: Path, command: str):
    with serving() as server, started(url(tmp_path, server), command, before=AS_PROCESS_1) as process:
        assert server.asked.wait(60)
        os.kill(process_of(process), signal.SIGTERM)
        _, said = process.communicate(timeout=TEN_SECONDS + BUSY)
        assert "stopped before everything was read" in said


@needs_namespaces
def test_any_command_ends_as_process_1(tmp_path: Path):
    with misbehaving(hook=[stays_silent(60)]) as receiver:
        config = configured(tmp_path, "http://127.0.0.1:1", receiver.url + "/hook")
        with started(config, "alerts", "test", before=AS_PROCESS_1) as process:
            while not receiver.requests:
                assert process.poll() is None
            os.kill(process_of(process), signal.SIGTERM)
            _, said = process.communicate(timeout=TEN_SECONDS + BUSY)
            assert "metering: ended by SIGTERM; what was recorded stays, run it again for the rest\n" in said


def test_a_command_that_was_ended_says_so_and_ends_with_130(tmp_path: Path):
    with misbehaving(hook=[stays_silent(60)]) as receiver:
        config = configured(tmp_path, "http://127.0.0.1:1", receiver.url + "/hook")
        with started(config, "alerts", "test") as process:
            while not receiver.requests:
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=TEN_SECONDS + BUSY)
            assert process.returncode == 130


def test_the_handlers_of_before_are_back_behind_a_command():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]
    with signals.ending(lambda: None):
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == before


def test_what_is_not_over_behind_its_grace_is_interrupted():
    asked: list[bool] = []
    wait = threading.Event().wait
    threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM]).start()
    with signals.ending(lambda: asked.append(True), grace_seconds=1), pytest.raises(KeyboardInterrupt):
        wait(60)
    assert asked == [True]


def test_a_shell_that_has_sigint_ignored_changes_nothing():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            signals.interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def url(directory: Path, server: Neon) -> Path:
    return configured(directory, f"http://127.0.0.1:{server.server_port}")
