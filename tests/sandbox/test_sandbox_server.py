import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from metering.core.errors import UsageError
from metering.sandbox.app import create_app
from metering.sandbox.fleet import Fleet
from metering.sandbox.gate import UNLIMITED, Clock
from metering.sandbox.server import serve
from tests.support.quiet_time import PATIENCE_SECONDS
from tests.support.sandbox_world import NOW

MAIN = """
from datetime import UTC, datetime
from metering.sandbox.gate import Clock
from metering.sandbox.server import main
main(port=0, projects=6, seed=2, clock=Clock.at(datetime(2026, 11, 15, 12, 7, tzinfo=UTC)), faults=["429:0.01"])
"""


def test_main_prints_where_it_serves_and_with_which_keys_and_ends_when_interrupted():
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", MAIN]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        lines = dict(child.stdout.readline().rstrip("\n").split(" ", 1) for _ in range(7))
        headers = {"Authorization": f"Bearer {lines['personal_key']}"}
        with httpx.Client(trust_env=False, timeout=20) as client:
            found = client.get(f"{lines['base_url']}/users/me/organizations", headers=headers).json()
        child.send_signal(signal.SIGINT)
        child.wait(timeout=PATIENCE_SECONDS)
    assert lines["now"] == "2026-11-15T12:07:00Z (stands still)"
    assert " ".join(one["id"] for one in found["organizations"]) == lines["organizations"]


def test_a_port_in_use_is_a_wrong_usage_that_names_the_port():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)):
            serve(create_app(Fleet.around(NOW, projects=2), Clock.at(NOW)), port)


def test_a_server_may_be_stopped_twice_and_two_run_side_by_side():
    app = create_app(Fleet.around(NOW, projects=2), Clock.at(NOW), limits=UNLIMITED)
    with serve(app) as one, serve(app) as two:
        assert one.port != two.port
    one.stop()


def test_a_clock_follows_what_it_reads_until_it_is_moved():
    moments = iter([datetime(2026, 11, 15, hour, tzinfo=UTC) for hour in (1, 2, 3)])
    clock = Clock(lambda: next(moments))
    assert (clock().hour, clock().hour, clock.stands_still) == (1, 2, False)
    clock.move(NOW)
    assert (clock(), clock(), clock.stands_still) == (NOW, NOW, True)
