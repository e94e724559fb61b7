"""Times `qedeploy --help` and `qedeploy search --help` from start to exit, in turns with a bare interpreter.

To meet: `qedeploy --help` under 0.3 s. Run: python benchmarks/startup.py [--rounds 20]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

SCRIPT = Path(sysconfig.get_path("scripts")) / "qedeploy"
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "qedeploy --help": (str(SCRIPT), "--help"),
    "qedeploy search --help": (str(SCRIPT), "search", "--help"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    for name, taken in seconds.items():
        print(f"{name}: median {statistics.median(taken):.3f} s, least {min(taken):.3f} s of {rounds}")


if __name__ == "__main__":
    main()
