"""Golden structures: figures measured from the reference implementation, not by anybody here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A property test may take long on a busy machine without being wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Two workers share the cores: a process that computes in as many threads as there are cores waits for its own. Commands
# that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOLDEN = Path(__file__).parent / "golden"


def golden_records() -> list[dict[str, Any]]:
    lines = (GOLDEN / "random_structures.jsonl").read_text().splitlines()
    return json.loads((GOLDEN / "named_structures.json").read_text()) + [json.loads(line) for line in lines]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("slow", "gpu")):
            item.add_marker("fast")


@pytest.fixture(scope="session", autouse=True)
def no_latency_tables_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let nothing that was measured on this machine before come into a test."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def golden() -> list[dict[str, Any]]:
    return golden_records()


@pytest.fixture(scope="session")
def named_golden(golden: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {record["name"]: record for record in golden if "name" in record}
