"""What several commands are tested with."""

from __future__ import annotations

from pathlib import Path

import pytest

SMALL_RECIPE = """
description = "Small enough to measure in seconds."
resolution = 32

[stem]
channels = [8, 16]
kernel = 3
stride = 2
bits = "W8A8"

[stages]
strides = [2, 1]
channels = [8, 16, 24, 32]
kernels = [3]
ratios = [2.0]
depths = [1, 2]
bits = "profile"
bits_per = "block"

[head]
channels = 64
bits = "profile"

[classifier]
classes = 10
bits = "W8A8"

[budgets]
flops = "3M"

[score]
sigma_activation = 5.0
sigma_weight = 4.0
stage_ratios = [1.0, 1.0]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small.toml, a space that is measured in seconds, and a data folder of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "small.toml").write_text(SMALL_RECIPE)
    return tmp_path
