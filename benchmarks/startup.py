"""Start-up of five commands beside `python -c pass`, in turn, the best of each; what they import, and in what time.

python benchmarks/startup.py [--repeat 5] [--config FILE]

Without a configuration the demo is made first. It runs the `metering` of the directory where it is started.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

COMMANDS = (("--help",), ("usage", "2026-09"), ("quota",), ("invoices", "2026-09"), ("status",))
IMPORTED = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        config = given.config or demo(Path(directory) / "demo")
        rows: dict[str, Sequence[str]] = {"python -c pass": ("-c", "pass")}
        for words in COMMANDS:
            more = () if words == ("--help",) else ("--config", str(config))
            rows[" ".join(("metering", *words))] = ("-m", "metering", *words, *more)
        measure(rows, given.repeat)


def measure(rows: Mapping[str, Sequence[str]], repeat: int) -> None:
    best = dict.fromkeys(rows, float("inf"))
    imported = dict.fromkeys(rows, (0, 0, 10**12))
    for _ in range(repeat):
        for name, arguments in rows.items():
            best[name] = min(best[name], seconds(arguments))
            imported[name] = min(imported[name], imports(arguments), key=lambda found: found[2])
    base = best["python -c pass"]
    for name, took in best.items():
        ours, modules, microseconds = imported[name]
        print(
            f"{name:26}{took * 1000:8.1f} ms{took / base:8.1f} x{ours:5} of ours{modules:6} modules"
            f"{microseconds / 1000:8.1f} ms of import"
        )


def demo(directory: Path) -> Path:
    ran(("-m", "metering", "demo", "--directory", str(directory)))
    return directory / "config.toml"


def ran(arguments: Sequence[str]) -> str:
    """Standard error of a process, which must end well; `status` ends with 1 where there is something to do."""
    at = {**os.environ, "METERING_NOW": "2026-10-15T10:05:00Z"}
    done = subprocess.run(
        [sys.executable, *arguments], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=at, text=True
    )
    assert done.returncode == 0 or (done.returncode == 1 and "status" in arguments), (arguments, done.stderr)
    return done.stderr


def seconds(arguments: Sequence[str]) -> float:
    """Wall time of one start and end of the process."""
    begun = time.perf_counter()
    ran(arguments)
    return time.perf_counter() - begun


def imports(arguments: Sequence[str]) -> tuple[int, int, int]:
    """How many of our modules and how many modules in all the process imports, and in how many microseconds."""
    found = IMPORTED.findall(ran(("-X", "importtime", *arguments)))
    return sum(name.split(".")[0] == "metering" for _, name in found), len(found), sum(int(took) for took, _ in found)


if __name__ == "__main__":
    main()
