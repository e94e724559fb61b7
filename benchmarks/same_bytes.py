"""Runs the same searches, scores and exports in two installations and compares what they write, byte for byte.

For a change that promises to move code and nothing else: both read the old one's profiles, whose SHA-256 a search
records. Both are named by their Python:
python benchmarks/same_bytes.py --old old/.venv/bin/python --new .venv/bin/python [--random 20]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
SEARCHES = (
    ("cpu", ("--profile", "cpu-int8.toml")),
    ("t4", ("--profile", "t4-int8.toml", "--budget", "bitops=7.0G", "--budget", "size=2.2MB")),
    ("t4-int4", ("--profile", "t4-int4.toml", "--budget", "bitops=7.0G", "--budget", "size=300KB")),
    ("stm32", ("--profile", "stm32f746.toml")),
    ("mixed", ("--profile", "any-bits.toml", "--recipe", "mixed-7d0g", "--top", "5")),
    ("memory", ("--profile", "any-bits.toml", "--recipe", "mixed-7d0g", "--budget", "peak-memory=600KiB")),
    ("evolution", ("--profile", "cpu-int8.toml", "--method", "evolution", "--evaluations", "20000")),
)
EXPORTS = ("cpu-int8.toml", "t4-int8.toml", "t4-int4.toml")
SMALL = ("--resolution", "64", "--classes", "10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A qedeploy, by the Python that has it, and the folder that it writes to."""

    python: str
    folder: Path

    def package(self) -> Path:
        """Return where the code of the installation lies."""
        return Path(self._python("import qedeploy; print(qedeploy.__path__[0])")[1].strip())

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return exit code and output of a command run in the folder."""
        return self._python("import sys; from qedeploy.cli.main import main; sys.exit(main())", *arguments)

    def _python(self, code: str, *arguments: str) -> tuple[int, str]:
        # A path to modules in the environment would have both run the same code.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment = {**inherited, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        done = subprocess.run(
            [self.python, "-c", code, *arguments],
            cwd=self.folder, capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        return done.returncode, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", required=True, help="Python of the installation to compare with.")
    parser.add_argument("--new", default=sys.executable, help="Python of the installation that changed.")
    parser.add_argument("--random", type=int, default=20, help="How many of the random golden structures to export.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        both = []
        for name, python in (("old", arguments.old), ("new", arguments.new)):
            place = Path(folder) / name
            place.mkdir()
            both.append(Installation(python=python, folder=place))
        old, new = both
        profiles = old.package() / "profiles"
        for each in both:
            for profile in profiles.glob("*.toml"):
                shutil.copy(profile, each.folder)
        differing = [*compare_searches(old, new), *compare_exports(old, new, arguments.random)]
    for text in differing:
        print(f"DIFFERS: {text}")
    sys.exit(1 if differing else 0)


def compare_searches(old: Installation, new: Installation) -> list[str]:
    """Return what differs in the files of searches and in the scores of all golden structures."""
    differing = []
    for name, options in SEARCHES:
        codes = [each.run("search", *options, "--out", name)[0] for each in (old, new)]
        files = ["search.json", "structure.json", "model.pth"] if codes == [0, 0] else []
        differing += _differing(f"search {' '.join(options)}", codes, files, name, (old, new))
    for each in (old, new):
        (each.folder / "all.jsonl").write_text((GOLDEN / "random_structures.jsonl").read_text())
    scores = [each.run("score", "all.jsonl", "--json") for each in (old, new)]
    print(f"score of {GOLDEN.name}/random_structures.jsonl: {'equal' if scores[0] == scores[1] else 'DIFFERENT'}")
    return differing if scores[0] == scores[1] else [*differing, "score"]


def compare_exports(old: Installation, new: Installation, count: int) -> list[str]:
    """Return what differs in the models and exports of the golden structures, on every profile that carries them."""
    records = json.loads((GOLDEN / "named_structures.json").read_text())
    named = [(item["name"], item["structure"], ()) for item in records]
    lines = (GOLDEN / "random_structures.jsonl").read_text().splitlines()[:count]
    drawn = [(f"random{number}", json.loads(line)["structure"], SMALL) for number, line in enumerate(lines)]
    differing = []
    for name, structure, options in [*named, *drawn]:
        for profile in EXPORTS:
            stem = f"{name}-{Path(profile).stem}"
            codes = []
            for each in (old, new):
                (each.folder / f"{name}.txt").write_text(repr(structure))
                written = each.run("import", f"{name}.txt", *options, "--profile", profile, "--out", f"{stem}.pth")[0]
                exported = each.run("export", f"{stem}.pth", "--out", f"{stem}.onnx")[0] if written == 0 else None
                codes.append((written, exported))
            files = [f"{stem}.pth", f"{stem}.onnx"] if codes[0] == codes[1] == (0, 0) else []
            differing += _differing(f"export of {name} for {profile}", codes, files, ".", (old, new))
    return differing


def _differing(
    what: str, codes: Sequence[object], files: list[str], folder: str, both: tuple[Installation, Installation]
) -> list[str]:
    wrong = [f"{what}: exit codes {codes[0]} and {codes[1]}"] if codes[0] != codes[1] else []
    for file in files:
        contents = [(each.folder / folder / file).read_bytes() for each in both]
        if contents[0] != contents[1]:
            wrong.append(f"{what}: {file}, {len(contents[0])} and {len(contents[1])} bytes")
    same = f"{len(files)} files equal" if files else f"both refused ({codes[0]})"
    print(f"{what}: {'; '.join(wrong) or same}", flush=True)
    return wrong


if __name__ == "__main__":
    main()
