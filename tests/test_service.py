import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metering import service
from metering.errors import StoppedError, StoreBusyError, UnreachableError
from metering.journal import read
from metering.ledger import JOURNAL, open_ledger
from metering.stop import Stop

EMPTY = b'{"projects": []}'


class Neon(ThreadingHTTPServer):
    """Answers every list with nothing in it, as soon as `may_answer` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.count = 0


class _Answers(BaseHTTPRequestHandler):
    server: Neon

    def do_GET(self) -> None:
        self.server.count += 1
        self.server.asked.set()
        self.server.may_answer.wait(60)
        try:
            self.send_response(200)
            self.send_header("content-length", str(len(EMPTY)))
            self.end_headers()
            self.wfile.write(EMPTY)
        except OSError:
            return  # the client has hung up

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[Neon]:
    with Neon() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.may_answer.set()
            server.shutdown()
            thread.join()


@contextmanager
def running(directory: Path, server: Neon, *, poll_minutes: int = 15) -> Iterator[subprocess.Popen[str]]:
    (directory / "config.toml").write_text(
        f"""
[neon]
base_url = "http://127.0.0.1:{server.server_port}"
[schedule]
poll_minutes = {poll_minutes}
[[organizations]]
id = "org-a"
api_key_env = "KEY"
"""
    )
    command = [sys.executable, "-m", "metering", "run", "--config", str(directory / "config.toml")]
    environ = {**{name: text for name, text in os.environ.items() if not name.startswith("METERING_")}, "KEY": "napi_x"}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def kinds(directory: Path) -> list[str]:
    """The journal's records; opening store and journal proves that both are whole."""
    with open_ledger(directory / "var", lambda: datetime(2026, 11, 20, tzinfo=UTC)):
        pass
    return [record.kind for record in read(directory / "var" / JOURNAL)]


def test_sigterm_lets_the_page_in_hand_finish(tmp_path: Path):
    with serving() as server, running(tmp_path, server) as process:
        assert server.asked.wait(60)
        process.send_signal(signal.SIGTERM)
        threading.Timer(0.5, server.may_answer.set).start()
        out, said = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, "")
        assert said.splitlines()[-1] == "metering: stopped"
        assert server.count == 1
        assert kinds(tmp_path) == ["page", "walk", "cycle"]


def test_sigterm_ends_it_though_the_server_never_answers(tmp_path: Path):
    with serving() as server, running(tmp_path, server) as process:
        assert server.asked.wait(60)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0
        assert "page" not in kinds(tmp_path)


def test_sigterm_between_two_ticks_ends_it_at_once(tmp_path: Path):
    with serving() as server, running(tmp_path, server, poll_minutes=1440) as process:
        server.may_answer.set()
        while not (tmp_path / "var" / "snapshot.duckdb").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0
        assert kinds(tmp_path)[-1] == "cycle"


def test_ctrl_c_is_an_interruption(tmp_path: Path):
    with serving() as server, running(tmp_path, server) as process:
        assert server.asked.wait(60)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130


def test_a_service_whose_store_is_held_waits_for_the_next_slot(tmp_path: Path):
    (tmp_path / "var").mkdir()
    with (
        open_ledger(tmp_path / "var", lambda: datetime(2026, 11, 20, tzinfo=UTC)),
        serving() as server,
        running(tmp_path, server) as process,
    ):
        assert process.stderr is not None
        said = process.stderr.readline()
        assert f"process {os.getpid()} holds the store" in said
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0
        assert server.count == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnreachableError("Neon is down", hint="wait"), "tick failed (1 in a row): Neon is down (wait)"),
        (StoreBusyError("process 7 holds the store", process_id=7), "tick failed (1 in a row): process 7 holds"),
        (ZeroDivisionError("by napi_abcdefghijklmnopqrstuvwxyz"), "ZeroDivisionError: by ***"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
    ids=["ours", "busy", "unexpected", "disk"],
)
def test_a_tick_that_fails_is_told_and_survived(error: Exception, said: str):
    told: list[str] = []

    def tick(_: Stop) -> None:
        raise error

    assert service.attempt(tick, Stop(), told.append, 0) == 1
    assert len(told) == 1
    assert said in told[0]


def test_failures_in_a_row_are_counted_until_one_goes_well():
    told: list[str] = []

    def fail(_: Stop) -> None:
        raise UnreachableError("down")

    failures = 0
    for tick in (fail, fail, lambda stop: None, fail):
        failures = service.attempt(tick, Stop(), told.append, failures)
    assert told == [
        "tick failed (1 in a row): down",
        "tick failed (2 in a row): down",
        "tick failed (1 in a row): down",
    ]


def test_nothing_that_looks_like_a_key_is_told():
    text = "GET x Authorization: Bearer abc.def napi_0123 'whsec_c2VjcmV0' bearer=1"
    assert service.redacted(text) == "GET x Authorization: *** *** '***' bearer=1"


@pytest.mark.parametrize("minutes", [1, 7, 15, 45, 60, 90, 1000, 1440])
def test_the_scheduler_wakes_in_every_slot_of_a_utc_day(minutes: int):
    midnight = datetime(2026, 3, 29, tzinfo=UTC)  # clocks change in Europe on this day
    rule = service.trigger(minutes)
    fired: list[datetime] = []
    last, now = None, midnight
    while (last := rule.get_next_fire_time(last, now)) < midnight + timedelta(days=1):
        fired.append(last)
        now = last + timedelta(seconds=1)
    starts = range(0, 1440, minutes)
    assert fired == [midnight + timedelta(minutes=start, seconds=20) for start in starts]


def test_a_stop_ends_a_wait():
    stop, waited = Stop(), list[float]()

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            stop.ask()

    with pytest.raises(StoppedError):
        asyncio.run(stop.sleep(900, sleep=wait))
    assert waited == [0.25, 0.25, 0.25]
    asyncio.run(Stop().sleep(0.6, sleep=wait))
    assert [round(seconds, 2) for seconds in waited[3:]] == [0.25, 0.25, 0.1]
