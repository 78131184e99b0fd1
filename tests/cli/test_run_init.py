"""`run --init`, as the image starts it: an empty volume, a faulty file, a directory that cannot be written."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

from tests.support.platform_desk import TOP

Json = dict[str, Any]


class Started:
    """A service that was started; its log comes line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)

    def event(self, name: str) -> Json:
        """Waits for a line of the log about this event."""
        while True:
            line: Json = json.loads(self._lines.get(timeout=120))
            if line["event"] == name:
                return line

    def closed(self) -> None:
        """After its end: nothing is left open."""
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def ends(self) -> int:
        """Ends it as `docker stop` does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@contextmanager
def started(directory: Path, **environment: str) -> Iterator[Started]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    command = [sys.executable, "-m", "metering", "run", "--init"]
    own = {"PYTHONPATH": str(TOP), "METERING_SERVICE__LISTEN": "127.0.0.1:0", **environment}
    process = subprocess.Popen(
        command, cwd=directory, env=environ | own, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    service = Started(process)
    try:
        yield service
    finally:
        process.kill()
        process.wait()
        service.closed()


def test_an_empty_volume_gets_the_files_of_init_and_the_service_goes_on(tmp_path: Path) -> None:
    with started(tmp_path) as service:
        written = service.event("a configuration was written")
        assert any("your organization's id" in line for line in written["next_steps"])
        service.event("listening")
        assert "NEON_API_KEY" in service.event("fault")["sentence"], "what is missing is told at every tick"
        assert service.ends() == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.toml", "customers.csv", "subscriptions.csv", "dashboard-token"} <= names


def test_a_faulty_file_is_waited_for_and_used_once_it_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[neon]\nmax_retries = 1000\n")
    with started(tmp_path) as service:
        told = service.event("the configuration cannot be used; it is read again until it can")
        assert told["faults"] == ["neon.max_retries: is 1000; write 100 or less"]
        path.write_text("")
        service.event("listening")
        assert service.ends() == 0


def test_who_waits_ends_at_once_when_told_to(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("x")
    with started(tmp_path) as service:
        service.event("the configuration cannot be used; it is read again until it can")
        assert service.ends() == 0


def test_a_port_for_all_without_a_token_is_waited_for_too(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    open_to_all = {"METERING_SERVICE__LISTEN": "0.0.0.0:0", "METERING_SERVICE__ALLOW_REMOTE": "true"}
    with started(tmp_path, **open_to_all) as service:
        told = service.event("the configuration cannot be used; it is read again until it can")
        assert told["faults"][0].startswith("dashboard.token_env: is missing: others could look")


def test_a_directory_that_cannot_be_written_is_told_with_who_owns_it(tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text("customer\n")
    with started(tmp_path) as service:
        told = service.event("no configuration was written")
        assert "exist" in told["error"] and f"belongs to user {os.getuid()}" in told["hint"]
        assert service.event("the configuration cannot be used; it is read again until it can")["faults"]
        assert list(tmp_path.iterdir()) == [tmp_path / "customers.csv"]


def test_a_configuration_elsewhere_is_not_written_beside_another_name(tmp_path: Path) -> None:
    with started(tmp_path, METERING_CONFIG="other.toml") as service:
        assert service.event("there is no configuration")["path"] == "other.toml"
    assert list(tmp_path.iterdir()) == []
