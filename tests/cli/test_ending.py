"""`run` and `serve` end in time and with their exit code, also while threads compute pages inside the engine."""

import subprocess
import sys

import pytest

BUSY = """
import threading, time, duckdb
from metering.cli.serving import ended_at_once

def work():
    connection = duckdb.connect()
    is_at_work.set()
    while True:
        connection.execute("select sum(i) from range(1000) t(i)").fetchall()

is_at_work = threading.Event()
with ended_at_once():
    print("begun")
    threading.Thread(target=work, daemon=True).start()
    is_at_work.wait()
    time.sleep(0.2)
    {end}
"""


@pytest.mark.parametrize(("end", "code"), [("pass", 0), ("raise KeyboardInterrupt", 130)])
def test_a_thread_inside_the_engine_neither_delays_the_end_nor_aborts_it(end, code):
    ran = subprocess.run(
        [sys.executable, "-c", BUSY.format(end=end)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "begun\n", "")


def test_without_threads_of_its_own_the_block_ends_like_any_other():
    code = "from metering.cli.serving import ended_at_once\nwith ended_at_once():\n    pass\nprint('after')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "after\n")
