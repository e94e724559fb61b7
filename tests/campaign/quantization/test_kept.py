"""Measurements of a stopped `quantize`: the same command goes on from them, and only that one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from qedeploy import api
from qedeploy.campaign.quantization.kept import MEASUREMENTS_FILE
from qedeploy.campaign.typed_quantization import measuring
from qedeploy.errors import Interrupted, RequestError
from tests.export.onnx_networks.networks import mobile_network, write

SIZES = ["image=1x3x32x48"]
KILLED = """
import os, signal, sys
from qedeploy import api

def progress(what, done, total):
    if what.startswith("measuring what each") and done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

api.quantize(sys.argv[1], sys.argv[2], profile="rtx-40", shapes=["image=1x3x32x48"], folder=sys.argv[3],
             progress=progress)
"""


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "images.npy", np.random.default_rng(2).normal(size=(3, 3, 32, 48)).astype(np.float32))
    return folder


def read(folder, name="sensitivity.json"):
    return json.loads((folder / name).read_text())


def test_what_a_killed_process_measured_is_not_measured_again_and_the_answer_is_the_same(tmp_path, data, monkeypatch):
    model, killed, undisturbed = write(mobile_network(), tmp_path), tmp_path / "killed", tmp_path / "undisturbed"
    command = [sys.executable, "-c", KILLED, str(model), str(data), str(killed)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert len((killed / MEASUREMENTS_FILE).read_text().splitlines()) == 4, "the settings and three layers"
    measured, layer_error = [], measuring._layer_error

    def counted(bed, layer, precision):
        measured.append(layer)
        return layer_error(bed, layer, precision)

    monkeypatch.setattr(measuring, "_layer_error", counted)
    found = api.quantize(model, data, profile="rtx-40", shapes=SIZES, folder=killed).found
    assert len(measured) == len(found.layers) - 3
    api.quantize(model, data, profile="rtx-40", shapes=SIZES, folder=undisturbed)
    assert (killed / "sensitivity.json").read_bytes() == (undisturbed / "sensitivity.json").read_bytes()
    assert not (killed / MEASUREMENTS_FILE).exists()


def test_ctrl_c_says_how_to_go_on_and_times_that_were_measured_stay(tmp_path, data):
    model, folder = write(mobile_network(), tmp_path), tmp_path / "out"

    def stop(what, done, _total):
        if what.startswith("measuring each layer") and done:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"out keeps what was measured; the same command goes on"):
        api.quantize(model, data, shapes=SIZES, duration="10ms", folder=folder, progress=stop)
    rows = [json.loads(line) for line in (folder / MEASUREMENTS_FILE).read_text().splitlines()]
    api.quantize(model, data, shapes=SIZES, duration="10ms", folder=folder)
    first = rows[2]["measured"]
    assert rows[1] == {"kind": "float", "assigned": [], "seconds": read(folder)["float_seconds"]}
    assert [{key: item[key] for key in first[0]} for item in read(folder)["layers"][: len(first)]] == first


def test_measurements_on_other_data_are_left_behind_and_a_request_refused_leaves_none(tmp_path, data):
    model, folder = write(mobile_network(), tmp_path), tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(model), str(data), str(folder)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    np.save(data / "images.npy", np.random.default_rng(3).normal(size=(2, 3, 32, 48)).astype(np.float32))
    api.quantize(model, data, profile="rtx-40", shapes=SIZES, folder=folder)
    assert {item["samples"] for item in read(folder)["layers"]} == {2}
    other = tmp_path / "other"
    with pytest.raises(RequestError):
        api.quantize(model, data, profile="rtx-40", shapes=SIZES, budgets=["size=10B"], folder=other)
    assert not other.exists()
