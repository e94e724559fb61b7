"""What a training leaves for TensorBoard: its curves where that is installed, and nothing where it is not."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from qedeploy.train.log import Log

ROWS = [
    {"stage": "float", "epoch": epoch, "rate": 0.1, "loss": 2 / epoch, "top1": 0.4, "held_out_top1": 0.5 + 0.1 * epoch}
    for epoch in (1.0, 2.0)
]


def written(folder):
    log = Log(folder, {"seed": 0})
    for count in (1, 2):
        log.write(ROWS[:count])
    log.finish(ROWS, {})
    return folder


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="TensorBoard is installed")
def test_without_tensorboard_nothing_is_missing(tmp_path):
    names = {path.name for path in written(tmp_path).iterdir()}
    assert names == {"log.csv", "train.json", "curves.svg"}


def test_tensorboard_reads_the_curves(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(written(tmp_path) / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {f"float/{name}" for name in ("loss", "top1", "held_out_top1", "rate")}
    assert [(found.step, found.value) for found in events.Scalars("float/loss")] == [(100, 2.0), (200, 1.0)]
