import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue

import pytest

from metering.alerts import recording
from metering.core.errors import StoppedError, StoreBusyError, UnreachableError
from metering.core.stop import Stop
from metering.ledger.ledger import open_ledger
from metering.service import logs, run
from metering.store.journal import JOURNAL, read
from tests.support.inbox import receiving
from tests.support.quiet_time import PATIENCE_SECONDS, stopwatch

EMPTY = b'{"projects": []}'


class Neon(ThreadingHTTPServer):
    """Answers every list request with an empty list, as soon as `may_answer` is set."""

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
def running(
    directory: Path, server: Neon, *, poll_minutes: int = 15, listen: str = "", hook: str = ""
) -> Iterator[subprocess.Popen[str]]:
    (directory / "config.toml").write_text(
        f"""
[neon]
base_url = "http://127.0.0.1:{server.server_port}"
[schedule]
poll_minutes = {poll_minutes}
[service]
listen = "{listen}"
[[organizations]]
id = "org-a"
api_key_env = "KEY"
"""
        + (f'[[webhooks]]\nurl = "{hook}"\nsecret_env = "HOOK"\nallow_private_network = true\n' if hook else "")
    )
    command = [sys.executable, "-m", "metering", "run", "--config", str(directory / "config.toml")]
    environ = {**{name: text for name, text in os.environ.items() if not name.startswith("METERING_")}, "KEY": "napi_x"}
    environ["HOOK"] = "whsec_c2VjcmV0LW9mLXR3ZW50eS1mb3VyLWJ5dGVz"
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
        assert server.asked.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGTERM)
        threading.Timer(0.5, server.may_answer.set).start()
        out, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, out) == (0, "")
        assert [line["event"] for line in map(json.loads, said.splitlines())][-2:] == ["tick", "stopped"]
        assert server.count == 1
        assert kinds(tmp_path) == ["page", "walk", "cycle"]


def test_sigterm_ends_it_though_the_server_never_answers(tmp_path: Path):
    with serving() as server, running(tmp_path, server) as process:
        assert server.asked.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
        assert "page" not in kinds(tmp_path)


def test_sigterm_between_two_ticks_ends_it_at_once(tmp_path: Path):
    with serving() as server, running(tmp_path, server, poll_minutes=1440) as process:
        server.may_answer.set()
        while not (tmp_path / "var" / "snapshot.duckdb").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
        assert kinds(tmp_path)[-1] == "cycle"


def test_it_shows_its_metrics_and_its_health_and_ends_in_time(tmp_path: Path):
    with serving() as server, running(tmp_path, server, poll_minutes=1440, listen="127.0.0.1:0") as process:
        assert process.stderr is not None
        server.may_answer.set()
        first = json.loads(process.stderr.readline())
        assert (first["level"], first["event"], first["pages"]) == (
            "info",
            "listening",
            ["/", "/api", "/metrics", "/livez", "/readyz", "/healthz"],
        )
        while json.loads(process.stderr.readline())["event"] != "tick":
            assert process.poll() is None
        with urllib.request.urlopen(f"http://{first['address']}/healthz", timeout=30) as answer:
            told = json.loads(answer.read())
        assert (told["status"], told["error"]) == ("ok", None)
        with urllib.request.urlopen(f"http://{first['address']}/metrics", timeout=30) as answer:
            assert b"metering_cycles_total 1.0" in answer.read()
        with stopwatch() as watch:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
        assert watch.seconds < 10


def test_a_port_that_is_taken_is_told_and_polling_goes_on(tmp_path: Path):
    with serving() as server, running(tmp_path, server, listen=f"127.0.0.1:{server.server_port}") as process:
        assert process.stderr is not None
        server.may_answer.set()
        said = json.loads(process.stderr.readline())
        assert (said["level"], said["event"]) == ("error", "no dashboard, no metrics and no health are served")
        assert said["error"].startswith(f"cannot listen on 127.0.0.1:{server.server_port}: ")
        assert server.asked.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0


def test_ctrl_c_is_an_interruption(tmp_path: Path):
    with serving() as server, running(tmp_path, server) as process:
        assert server.asked.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
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
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
        assert server.count == 0


def told_by(*ticks: Callable[[Stop], object]) -> tuple[list[dict[str, object]], int]:
    """The lines that these ticks make, one after the other, and how many failed in a row at the end."""
    stream, failures = io.StringIO(), 0
    log = logs.logger(stream, lambda: datetime(2026, 11, 20, 6, 15, 20, tzinfo=UTC), is_terminal=False)
    for tick in ticks:
        failures = run.attempt(tick, Stop(), log, failures)
    return [json.loads(line) for line in stream.getvalue().splitlines()], failures


def failing(error: Exception) -> Callable[[Stop], object]:
    def tick(_: Stop) -> None:
        raise error

    return tick


def test_a_tick_that_fails_is_told_with_its_hint_and_survived():
    lines, failures = told_by(failing(UnreachableError("Neon is down", hint="wait")))
    assert failures == 1
    assert lines == [
        {
            "time": "2026-11-20T06:15:20Z",
            "level": "error",
            "event": "tick failed",
            "in_a_row": 1,
            "error": "Neon is down",
            "kind": "UnreachableError",
            "hint": "wait",
        }
    ]


def test_a_tick_that_finds_the_store_held_says_by_whom():
    ((line,), _) = told_by(failing(StoreBusyError("process 7 holds the store", process_id=7)))
    assert line["error"] == "process 7 holds the store"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ZeroDivisionError("by napi_abcdefghijklmnopqrstuvwxyz"), "by ***"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
    ids=["unexpected", "disk"],
)
def test_what_nobody_thought_of_is_told_with_its_traceback_and_without_keys(error: Exception, said: str):
    ((line,), failures) = told_by(failing(error))
    assert (line["error"], failures) == (said, 1)
    assert str(line["traceback"]).startswith("Traceback") and "napi_" not in str(line["traceback"])


def test_failures_in_a_row_are_counted_until_one_goes_well():
    fail = failing(UnreachableError("down"))
    lines, failures = told_by(fail, fail, lambda stop: None, fail)
    assert [line["in_a_row"] for line in lines] == [1, 2, 1]
    assert failures == 1


@pytest.mark.parametrize("minutes", [1, 7, 15, 45, 60, 90, 1000, 1440])
def test_the_scheduler_wakes_in_every_slot_of_a_utc_day(minutes: int):
    midnight = datetime(2026, 3, 29, tzinfo=UTC)  # clocks change in Europe on this day
    rule = run.trigger(minutes)
    fired: list[datetime] = []
    last, now = None, midnight
    while (last := rule.get_next_fire_time(last, now)) < midnight + timedelta(days=1):
        fired.append(last)
        now = last + timedelta(seconds=1)
    starts = range(0, 1440, minutes)
    assert fired == [midnight + timedelta(minutes=start, seconds=20) for start in starts]


def test_a_clock_that_was_set_back_delays_the_next_tick_by_no_more_than_a_slot():
    """The scheduler then sleeps for as long as the clock lacks; the wait for it ends by the monotonic clock."""
    wake, begun = SimpleQueue[None](), time.monotonic()
    assert not run.wait(wake, 0.05)
    assert 0.05 <= time.monotonic() - begun < 5


def test_several_wakings_while_a_tick_was_at_work_are_one():
    wake = SimpleQueue[None]()
    for _ in range(3):
        wake.put(None)
    assert run.wait(wake, 60)
    assert wake.empty()


def test_between_two_ticks_deliveries_are_made_when_they_are_due_again():
    done: list[str] = []

    def tick(_: Stop) -> None:
        done.append("tick")

    def deliver(stop: Stop) -> None:
        done.append("deliver")
        if len(done) == 3:
            stop.ask()

    log = logs.logger(io.StringIO(), lambda: datetime(2026, 11, 20, tzinfo=UTC), is_terminal=False)
    begun = time.monotonic()
    jobs = run.Jobs(tick=tick, deliver=deliver, until_retry=lambda: timedelta(milliseconds=1))
    run.run(1440, jobs, log)
    assert done == ["tick", "deliver", "deliver"]
    assert 2 <= time.monotonic() - begun < 60  # a second apart at least


def test_deliveries_that_fail_are_tried_less_often_than_every_second():
    """Another process may hold the store for hours: a line of log for every second of it helps nobody."""
    pauses = [run.pause(failures).total_seconds() for failures in (0, 1, 2, 5, 6, 1000)]
    assert pauses == [1, 2, 4, 32, 60, 60]

    stream, stop_after = io.StringIO(), 2
    log = logs.logger(stream, lambda: datetime(2026, 11, 20, tzinfo=UTC), is_terminal=False)
    tried: list[float] = []

    def deliver(stop: Stop) -> None:
        tried.append(time.monotonic())
        if len(tried) > stop_after:
            stop.ask()
        raise StoreBusyError("process 7 holds the store", process_id=7)

    run.run(1440, run.Jobs(tick=lambda _: None, deliver=deliver, until_retry=lambda: timedelta(seconds=-5)), log)
    assert tried[2] - tried[1] >= 2
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["in_a_row"] for line in lines if line["event"] == "delivery failed"] == [1, 2, 3]


def test_a_service_that_cannot_learn_when_a_delivery_is_due_goes_on():
    done: list[str] = []
    stream = io.StringIO()
    log = logs.logger(stream, lambda: datetime(2026, 11, 20, tzinfo=UTC), is_terminal=False)

    def until_retry() -> timedelta:
        if not done:
            raise OSError(24, "Too many open files")
        return timedelta(milliseconds=1)

    def deliver(stop: Stop) -> None:
        done.append("deliver")
        stop.ask()

    run.run(1440, run.Jobs(tick=lambda _: done.append("tick"), deliver=deliver, until_retry=until_retry), log)
    assert done == ["tick", "deliver"]
    first = json.loads(stream.getvalue().splitlines()[0])
    assert (first["level"], first["error"]) == ("error", "[Errno 24] Too many open files")


def test_a_receiver_that_was_away_is_told_again_before_the_next_slot(tmp_path: Path):
    now = datetime.now(UTC)
    with serving() as server, receiving() as inbox:
        server.may_answer.set()
        inbox.status = 503
        with open_ledger(tmp_path / "var", lambda: now) as books:
            event = recording.event("invoice.finalized", {"alert_id": "alert_1"}, [inbox.url], now)
            recording.record_events(books, [event])
        with running(tmp_path, server, poll_minutes=1440, hook=inbox.url) as process:
            while not inbox.posts:
                assert process.poll() is None
                time.sleep(0.01)
            inbox.status = 200
            while len(inbox.posts) < 2:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=PATIENCE_SECONDS)
        (first, second) = [(headers["webhook-id"], body) for headers, body in inbox.posts]
        assert first == second
        moments = [int(headers["webhook-timestamp"]) for headers, _ in inbox.posts]
        # Five seconds from when the first attempt began; on a busy machine its header is made later.
        assert moments[1] - moments[0] >= 3
        lines = [line for line in map(json.loads, said.splitlines()) if line["event"] != "note"]
        first, *again, last = lines
        assert (first["event"], last["event"]) == ("tick", "stopped")
        # On a busy machine the service may look once more and find nothing due.
        assert {line["event"] for line in again} == {"delivered again"}
        assert sum(line["delivered"] for line in again) == 1


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
