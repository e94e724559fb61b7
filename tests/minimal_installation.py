"""An environment with what a line of `pip install` brings and nothing else, made of what is installed here."""

from __future__ import annotations

import os
import re
import subprocess
import venv
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]


def closure(packages: list[str]) -> set[str]:
    """Return the packages and all that they require on this machine, extras left out."""
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        name = re.split(r"[^\w.-]", waiting.pop())[0].lower().replace("_", "-")
        if name in found:
            continue
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # Required on other systems or versions of Python only.
        found.add(name)
        waiting += [text for text in requirements if "extra ==" not in text]
    return found


class MinimalInstallation:
    """A virtual environment whose packages are links to those of this one."""

    def __init__(self, folder: Path, packages: list[str]) -> None:
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        (site,) = (folder / "lib").glob("python*/site-packages")
        for name in closure(packages):
            distribution = metadata.distribution(name)
            tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in {"..", "__pycache__"}}
            for top in tops:
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
        # qedeploy itself, with the metadata that name its requirements.
        (own,) = metadata.distribution("qedeploy").locate_file("").glob("qedeploy-*.dist-info")  # type: ignore[attr-defined]
        (site / own.name).symlink_to(own)
        (site / "qedeploy").symlink_to(ROOT / "qedeploy")

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the command line as a user of this environment would."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [self.python, "-m", "qedeploy", *arguments],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
