"""How the house stands: lines, long files, the cost of starting and of one search, the files to touch for each thing.

Times are processor time of the command with its children, the median of alternating rounds, so that a busy machine
changes them little. `--base` names an older clone with its own .venv, which is measured in turns with this one.

To meet: no more lines than version 0.1.0 for what 0.1.0 did; `qedeploy --help` no slower than then beyond importing
typer and rich; the search under 0.7 s. Run: python benchmarks/house.py [--rounds 9] [--base FOLDER]
"""

from __future__ import annotations

import argparse
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
LONG_FILE = 300
SEARCH = ("search", "--profile", "any-bits", "--recipe", "mixed-7d0g", "--no-model", "--quiet", "--out")
CONSOLE = Console(highlight=False, width=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--base", type=Path, help="an older clone with its own .venv")
    options = parser.parse_args()
    clones = {"here": (ROOT, sys.executable)}
    if options.base is not None:
        clones["base"] = (options.base, str(options.base / ".venv" / "bin" / "python"))
    for name, (folder, _) in clones.items():
        print_lines(name, folder)
    print_times(clones, options.rounds)
    print_touched()


def print_lines(name: str, folder: Path) -> None:
    """Lines of every Python file of the package, and the files that are longer than the house rules want them."""
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.glob("qedeploy/**/*.py")}
    long = {path: count for path, count in counts.items() if count > LONG_FILE}
    print(f"{name}: {sum(counts.values())} lines in {len(counts)} files; over {LONG_FILE} lines: {len(long)}")
    for path, count in sorted(long.items(), key=lambda item: -item[1]):
        print(f"  {count} {path.relative_to(folder)}")


def print_times(clones: dict[str, tuple[Path, str]], rounds: int) -> None:
    """Processor time of a bare interpreter, of importing typer and rich, of --help, and of the search, in turns."""
    table = Table("processor time, s", *clones)
    with tempfile.TemporaryDirectory() as out:
        taken: dict[tuple[str, str], list[float]] = {}
        for number in range(rounds):
            for name, (folder, python) in clones.items():
                commands = {
                    "python -c pass": [python, "-c", "pass"],
                    "import typer, rich.console": [python, "-c", "import typer, rich.console"],
                    "qedeploy --help": [python, "-m", "qedeploy.cli.main", "--help"],
                    "search, any-bits, mixed-7d0g": [
                        *(python, "-m", "qedeploy.cli.main"), *SEARCH, f"{out}/{name}{number}"
                    ],
                }  # fmt: skip
                for label, command in commands.items():
                    taken.setdefault((label, name), []).append(processor_seconds(command, folder))
        medians = {key: statistics.median(seconds) for key, seconds in taken.items()}
        for label in dict.fromkeys(label for label, _ in medians):
            table.add_row(label, *(f"{medians[label, name]:.3f}" for name in clones))
        beyond = [medians["qedeploy --help", name] - medians["import typer, rich.console", name] for name in clones]
        table.add_row("--help beyond typer and rich", *(f"{seconds:.3f}" for seconds in beyond))
    CONSOLE.print(table)


def processor_seconds(command: list[str], folder: Path) -> float:
    """Run a command in the folder of its clone and return the processor time of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_touched() -> None:
    """The number of files to touch for each thing, as CONTRIBUTING.md lists them."""
    table = Table("to add", "files", "which")
    for what, files in touched().items():
        table.add_row(what, str(len(files)), ", ".join(files))
    CONSOLE.print(table)


def touched() -> dict[str, list[str]]:
    """Return for each thing that can be added the files that CONTRIBUTING.md's table names in backquotes."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| ([^|]+) \|$", text, re.MULTILINE)
    return {what: re.findall(r"`([^`]+)`", files) for what, _, files in rows}


if __name__ == "__main__":
    main()
