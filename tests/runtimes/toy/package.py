"""Installing the toy: the metadata of a package with an entry point, in a folder that Python looks for modules in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROFILE = Path(__file__).with_name("toy.toml")


SHARED = {"nvidia"}
"""Folders beside the runtimes that are none: what several of them are made of."""

BUILT_IN = tuple(sorted({path.parent.name for path in (ROOT / "qedeploy" / "runtimes").glob("*/__init__.py")} - SHARED))
"""Names of the runtimes that are here without any package."""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry: str = "toy = tests.runtimes.toy.runtime:TOY") -> None:
    """Let this process and those that it starts find the runtime, until the test is over."""
    information = folder / "toy_box-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-box\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[qedeploy.runtimes]\n{entry}\n")
    monkeypatch.syspath_prepend(folder)
    for path in (ROOT, folder):
        monkeypatch.setenv("PYTHONPATH", str(path), prepend=os.pathsep)
