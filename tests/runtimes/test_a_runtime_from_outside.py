"""A runtime of another package goes the whole way, by real commands and without a line of qedeploy about it."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from qedeploy.bench.report.document import read_result
from qedeploy.errors import MissingRuntimeError, RequestError, UserError
from qedeploy.profiles.loader import load_profile
from qedeploy.runtimes.registry import dialect_for, find_runtime, runtime_names, runtime_of
from qedeploy.runtimes.runner import RunnerOptions
from qedeploy.runtimes.runners import open_runner
from tests.cli.conftest import SMALL_RECIPE
from tests.cli.console import qedeploy
from tests.runtimes.toy.package import BUILT_IN, PROFILE, install

BRIEF = ("--duration", "100ms", "--warm-up", "10ms")


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A folder with a profile and a recipe, in an environment where the toy's package is installed."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "toy.toml").write_text(PROFILE.read_text())
    (folder / "small.toml").write_text(SMALL_RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        install(folder / "site", patch)
        yield folder


@pytest.fixture(scope="module")
def searched(toys):
    done("search", "--profile", "toy.toml", "--recipe", "small.toml", "--out", "run", "--quiet", cwd=toys)
    return toys / "run" / "model.pth"


@pytest.fixture(scope="module")
def exported(searched):
    said = done("export", searched, "--engine", "required", "--wheels", 6, cwd=searched.parents[1])
    assert "model.toy: " in said
    assert "Toy Runtime 1.0 on 6 wheels" in said
    return searched.with_name("model.toy")


def done(*arguments, code=0, cwd):
    found = qedeploy(*arguments, cwd=cwd)
    assert found.returncode == code, found.stderr
    return " ".join((found.stdout + found.stderr).split())


def test_it_is_searched_for_exported_to_built_and_measured(toys, exported):
    assert json.loads(exported.read_text())["wheels"] == 6
    said = done("bench", exported, *BRIEF, "--colour", "blue", "--max-variation", 1000, cwd=toys)
    for expected in ("on Toy Runtime 1.0 (CPU)", "What the toy is made of", "The toy is blue.", "figures mean nothing"):
        assert expected in said
    assert "laye..toy>" in said
    result = read_result(toys / "run" / "bench.json")
    assert result.model.profile == "toy"
    assert result.runner.settings == {"colour": "blue"}
    assert result.engine == {"colour": "blue", "layers": [row.name for row in result.profiled.layers]}
    assert [section.title for section in result.sections] == ["What the toy is made of"]
    assert result.totals is not None
    assert result.compared == ()
    assert "carries no qedeploy metadata" not in " ".join(result.warnings)
    assert "was exported for" not in " ".join(result.warnings)
    page = (toys / "run" / "report.html").read_text()
    assert "What Toy Runtime tells" in page
    assert "layers of the &lt;toy&gt;" in page


def test_its_onnx_file_runs_elsewhere_and_the_report_says_so(toys, searched):
    said = done("export", searched, "--engine", "never", "--out", "alone/model.onnx", cwd=toys)
    assert "no model.toy: not asked for" in said
    said = done("bench", "alone/model.onnx", *BRIEF, "--max-variation", 1000, cwd=toys)
    assert "The file was exported for toy and is measured on ONNX Runtime" in said


def test_what_it_contributes_is_in_help_and_doctor(toys):
    assert "--colour" in (said := done("bench", "--help", cwd=toys))
    assert "--from-toyscope" in said
    assert "--wheels" in done("export", "--help", cwd=toys)
    names = [item["name"] for item in json.loads(qedeploy("doctor", "--json").stdout)["findings"]]
    assert names.index("Toy Runtime") > names.index("TensorRT engines")


def test_its_settings_are_checked_before_anything_is_exported(toys):
    assert "a toy falls over on fewer than 3" in done("export", "missing.pth", "--wheels", 2, code=2, cwd=toys)


def test_its_recordings_are_reported(toys):
    (toys / "toyscope.json").write_text(json.dumps([1.0, 1.1] * 100))
    said = done("bench", "--from-toyscope", toys, "--max-variation", 1000, cwd=toys)
    assert "1.050 ms median on Toy Runtime 0.9 (a toy elsewhere)" in said
    assert "not recorded (measured by toyscope)" in said
    both = done("bench", "--from-toyscope", toys, "--from-trtexec", toys, code=2, cwd=toys)
    assert "found --from-trtexec, --from-toyscope: name one" in both


def test_a_query_goes_through_it(exported):
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    with open_runner(exported, RunnerOptions()) as runner:
        found = runner.infer({"image": images})
    with open_runner(exported.with_suffix(".onnx"), RunnerOptions()) as runner:
        assert np.array_equal(found["logits"], runner.infer({"image": images})["logits"])


def test_the_registry_lists_the_built_in_ones_first(toys):
    assert runtime_names() == (*BUILT_IN, "toy")
    assert runtime_of(toys / "model.toy").name == "toy"
    assert runtime_of(toys / "model.onnx").name == "onnxruntime"
    assert find_runtime("toy").label == "Toy Runtime"


def test_a_second_dialect_goes_by_its_name(toys, searched):
    assert dialect_for("toy").name == "toy"
    assert dialect_for("toy", "toy-plain").name == "toy-plain"
    with pytest.raises(RequestError, match="dialect other: Toy Runtime has none of that name, expected one of toy, "):
        dialect_for("toy", "other")
    (toys / "plain.toml").write_text(PROFILE.read_text().replace("unsigned", 'dialect = "toy-plain"\nunsigned'))
    assert load_profile(str(toys / "plain.toml")).dialect == "toy-plain"
    done("export", searched, "--profile", "plain.toml", "--out", "plain/model.onnx", cwd=toys)
    metadata = find_runtime("toy").metadata(toys / "plain" / "model.toy")
    assert metadata is not None
    assert metadata.plan.dialect == "toy-plain"


def test_its_profiles_keep_to_what_it_executes(toys):
    text = PROFILE.read_text().replace('lowering = "int8"\ncarried', 'lowering = "float16"\ncarried')
    (toys / "wrong.toml").write_text(text)
    with pytest.raises(UserError, match=r"precision\[1\].lowering: expected what toy executes \(int8\), found float16"):
        load_profile(str(toys / "wrong.toml"))


@pytest.fixture
def uninstalled(toys, monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(toys / "site")])


@pytest.mark.usefixtures("uninstalled")
def test_without_its_package_the_profile_names_what_there_is():
    with pytest.raises(UserError, match=rf"runtime: expected one of none, {', '.join(BUILT_IN)}, found toy"):
        load_profile(str(PROFILE))
    with pytest.raises(RequestError, match="runtime toy: qedeploy writes no graph for it"):
        find_runtime("toy")


@pytest.mark.usefixtures("uninstalled")
def test_a_package_that_does_not_load_is_one_line(tmp_path, monkeypatch):
    install(tmp_path / "site", monkeypatch, entry="toy = tests.runtimes.toy.no_such_module:TOY")
    with pytest.raises(MissingRuntimeError, match="toy: the package toy-box that brings it does not load") as caught:
        find_runtime("toy")
    assert "\n" not in str(caught.value)
