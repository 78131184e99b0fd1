"""Start-up: `metering --help` beside `python -c pass`, in turn, the best of each.

python benchmarks/startup.py [--repeat 15]
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "metering --version": ("-m", "metering", "--version"),
    "metering --help": ("-m", "metering", "--help"),
    "metering usage --help": ("-m", "metering", "usage", "--help"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=15)
    given = parser.parse_args()
    best: dict[str, float] = {}
    for _ in range(given.repeat):
        for name, arguments in COMMANDS.items():
            took = seconds(arguments)
            best[name] = min(took, best.get(name, took))
    base = best["python -c pass"]
    for name, took in best.items():
        print(f"{name:24}{took * 1000:8.1f} ms{took / base:8.1f} x")


def seconds(arguments: Sequence[str]) -> float:
    """What one start and end of the process takes."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
