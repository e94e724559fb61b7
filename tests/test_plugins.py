"""What is found under a name: the folders of a room, and what other packages bring."""

from __future__ import annotations

import pytest

from qedeploy.errors import MissingRuntimeError
from qedeploy.plugins import RUNTIMES, PluginGroup
from tests.runtimes.toy.package import BUILT_IN, install


def test_a_rooms_folders_are_found_by_name():
    assert RUNTIMES.names() == BUILT_IN
    assert {"onnxruntime", "tensorrt"} <= set(BUILT_IN)
    assert [RUNTIMES.find(name).name for name in BUILT_IN] == list(BUILT_IN)
    assert RUNTIMES.find("base") is None
    # Two runtimes share it, and it is none.
    assert RUNTIMES.find("nvidia") is None
    assert RUNTIMES.find("registry") is None
    assert RUNTIMES.find("../onnxruntime") is None


def test_a_room_that_is_none_has_nothing():
    assert PluginGroup(name="qedeploy_no_such_room", attribute="THING").names() == ()


def test_no_package_takes_the_name_of_a_built_in_one(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, entry="tensorrt = tests.runtimes.toy.runtime:TOY")
    assert RUNTIMES.names() == BUILT_IN
    assert RUNTIMES.find("tensorrt").label == "TensorRT"


def test_an_object_that_is_not_there_names_its_package(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, entry="toy = tests.runtimes.toy.runtime:NO_SUCH_TOY")
    with pytest.raises(MissingRuntimeError, match=r"toy: the package toy-box .* \(AttributeError: .*NO_SUCH_TOY"):
        RUNTIMES.find("toy")
