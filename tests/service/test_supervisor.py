"""What systemd is told over a real socket: ready, alive while the main loop goes on, stopping."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.service.notify import Supervisor, supervised
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk


@pytest.fixture
def door(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(tmp_path / "notify"))
        found.settimeout(60)
        yield found


def told(door: socket.socket) -> str:
    return door.recv(1000).decode()


def test_a_service_that_goes_on_says_that_it_is_ready_alive_and_stopping(door: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": door.getsockname(), "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())}
    with supervised(Supervisor(environ), 3600):
        assert told(door) == "READY=1"
        assert [told(door), told(door)] == ["WATCHDOG=1", "WATCHDOG=1"]
    while (last := told(door)) == "WATCHDOG=1":
        pass
    assert last == "STOPPING=1"


def test_a_main_loop_without_progress_is_no_sign_of_life(door: socket.socket) -> None:
    now = [0]
    environ = {"NOTIFY_SOCKET": door.getsockname(), "WATCHDOG_USEC": "20000"}
    supervisor = Supervisor(environ, monotonic=lambda: now[0])
    now[0] = 101
    with supervised(supervisor, 100):
        assert told(door) == "READY=1"
        door.settimeout(0.3)
        with pytest.raises(TimeoutError):
            told(door)
        supervisor.progress()
        door.settimeout(60)
        assert told(door) == "WATCHDOG=1"


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "vsock:1:2"}],
    ids=str,
)
def test_without_a_supervisor_nothing_happens(environ: dict[str, str]) -> None:
    with supervised(Supervisor({"WATCHDOG_USEC": "x", **environ}), 1):
        pass


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    assert Supervisor({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).period_seconds == 0
    assert Supervisor({"WATCHDOG_USEC": "1000000"}).period_seconds == 1


def test_an_abstract_socket_is_told_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(f"\0metering-test-{os.getpid()}")
        door.settimeout(60)
        Supervisor({"NOTIFY_SOCKET": f"@metering-test-{os.getpid()}"}).tell("READY=1")
        assert told(door) == "READY=1"


def test_run_tells_its_supervisor_from_the_start_to_the_end(tmp_path: Path, door: socket.socket) -> None:
    with served(PlainNeon()) as neon:
        desk = Desk(directory=tmp_path, neon=neon, default_plan="pro", more='[service]\nlisten = ""\n')
        environ = {"NOTIFY_SOCKET": door.getsockname(), "WATCHDOG_USEC": "50000"}
        process = desk.spawn("run", "--config", str(desk.write()), env=environ)
        try:
            assert [told(door), told(door)] == ["READY=1", "WATCHDOG=1"]
            process.send_signal(signal.SIGTERM)
            while told(door) != "STOPPING=1":
                pass
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.communicate()
