"""What is special to a runtime is in its folder: no other room says its name, nor that of what belongs to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import qedeploy
from qedeploy.runtimes.registry import runtimes

PACKAGE = Path(qedeploy.__file__).parent
# Where a rule or a file's first bytes are another tool's, the source is named: that is no dependence on a runtime.
SOURCES = {"runtimes/timing.py", "contents.py"}


def words(runtime) -> set[str]:
    tools = {recordings.tool for recordings in runtime.recordings}
    return {runtime.name, runtime.label, *runtime.packages, *tools}


def elsewhere() -> list[Path]:
    """Return the sources that are of no runtime; a runtime may speak of another, whose numbers it is compared with."""
    files = (path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*")) if path.suffix in {".py", ".html"})
    return [path for path in files if str(path) not in SOURCES and not (path.parts[0] == "runtimes" and path.parts[2:])]


@pytest.mark.parametrize("runtime", list(runtimes()), ids=lambda runtime: runtime.name)
def test_no_other_room_names_it(runtime):
    pattern = re.compile("|".join(map(re.escape, sorted(words(runtime)))), re.IGNORECASE)
    own = PACKAGE / "runtimes" / runtime.name
    assert any(pattern.search(path.read_text()) for path in own.glob("*.py"))
    assert len(elsewhere()) > 200
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in elsewhere()
        for number, line in enumerate((PACKAGE / path).read_text().splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []
