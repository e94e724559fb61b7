"""Prints every figure that this project promises, one benchmark after another, each in a process of its own.

Run on a machine with nothing else to do: python benchmarks/figures.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = ("house.py", "startup.py", "search_evolution.py", "search_exact.py", "export.py", "export_speed.py")


def main() -> None:
    # One thread for NumPy and PyTorch unless the user says otherwise: rates are told per core.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).parent / name)], check=True, env=environment)


if __name__ == "__main__":
    main()
