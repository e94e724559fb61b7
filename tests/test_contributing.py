"""CONTRIBUTING names real places: what is said to be one file is counted, and each such file has a sibling here."""

from __future__ import annotations

import re

import pytest

from tests.minimal_installation import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| (\d+) \| ([^|]+) \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("what", "count", "files"), ROWS, ids=[row[0] for row in ROWS])
def test_files_are_counted_and_have_siblings(what, count, files):
    paths = re.findall(r"`([^`]+)`", files)
    assert len(paths) == int(count)
    for path in paths:
        # RUNTIME, DEVICE.toml: a name of one's own.
        siblings = list(ROOT.glob(re.sub(r"\b[A-Z]+\b", "*", path)))
        assert [found for found in siblings if found.name != "__init__.py"], path


def test_the_table_has_what_one_comes_to_add():
    assert {"a device profile", "a runtime", "a budget", "a score"} <= {what for what, *_ in ROWS}


PATHS = [path for path in re.findall(r"`([a-z_.]+(?:/[\w.-]+)+/?)`", TEXT) if not re.search(r"[A-Z]{2}", path)]


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_every_path_that_is_named_is_there(path):
    assert (ROOT / path).exists()
