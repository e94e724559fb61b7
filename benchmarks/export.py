"""Times the export of a freshly built Mixed19d2G, with calibration and verification, in a process of its own.

To meet: under 15 s on two cores. Run: python benchmarks/export.py [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.lightnas import from_blocks

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "named_structures.json"
TARGET_SECONDS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    record = next(item for item in json.loads(GOLDEN.read_text()) if item["name"] == "mixed19d2G")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.pth"
        save_checkpoint(checkpoint, build(from_blocks(record["structure"]), seed=0), profile="cpu-int8", recipe={})
        command = [sys.executable, "-m", "qedeploy.cli.main", "export", str(checkpoint)]
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
    print(
        f"Mixed19d2G, export and verification from start to exit: median {statistics.median(seconds):.1f} s of "
        f"{', '.join(f'{value:.1f}' for value in seconds)} on {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} (to meet: under {TARGET_SECONDS})"
    )


if __name__ == "__main__":
    main()
