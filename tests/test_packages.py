"""Without PyTorch: the installation in docs/install.md searches and scores, and names what the rest would need."""

from __future__ import annotations

import re
import shlex

import pytest

from qedeploy.packages import missing_package
from tests.minimal_installation import ROOT, MinimalInstallation, closure

PAGE = (ROOT / "docs" / "install.md").read_text()
SECTION = PAGE.partition("## Without PyTorch")[2].partition("\n## ")[0]
FENCES = re.findall(r"^```\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def minimal(tmp_path_factory):
    (line,) = [line for line in FENCES[0].splitlines() if "--no-deps" not in line]
    return MinimalInstallation(tmp_path_factory.mktemp("minimal"), shlex.split(line)[2:])


@pytest.fixture(scope="module")
def searched(minimal, tmp_path_factory):
    """The folder in which the page's own commands have run."""
    folder = tmp_path_factory.mktemp("work")
    for line in FENCES[1].splitlines():
        done = minimal.run(*shlex.split(line)[1:], cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_the_pages_commands_work(searched):
    assert (searched / "runs" / "a" / "structure.json").exists()
    assert not (searched / "runs" / "a" / "model.pth").exists()


def test_the_minimal_installation_has_no_framework():
    packages = closure(shlex.split(FENCES[0].splitlines()[1])[2:])
    assert {"numpy", "pydantic-core", "typer"} <= packages
    assert not packages & {"torch", "onnx", "onnxruntime", "matplotlib", "pillow", "jinja2"}


@pytest.mark.parametrize(
    ("command", "package"),
    [
        ("search --profile cpu-int8 --out runs/b", "torch"),
        ("search --profile cpu-int8 --no-model --pareto bitops --out runs/c", "matplotlib"),
        ("search --profile cpu-int8 --method evolution --evaluations 600 --out runs/d", "torch"),
        ("export nothing.pth", "torch"),
        ("import runs/a/structure.json --out model.pth", "torch"),
        ("bench nothing.onnx", "psutil"),
        ("run --profile cpu-int8 --out runs/e", "torch"),
    ],
)
def test_a_command_names_what_it_misses(minimal, searched, command, package):
    (searched / "nothing.pth").write_bytes(b"no checkpoint")
    (searched / "nothing.onnx").write_bytes(b"no graph")
    done = minimal.run(*shlex.split(command), cwd=searched)
    assert done.returncode == 4, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"the package {package}" in line
    assert f"pip install '{package}" in line


def test_a_module_of_an_extra_comes_with_the_extra():
    assert "'qedeploy[cluster]'" in str(missing_package(ModuleNotFoundError(name="distributed.client")))
    assert "'qedeploy[tensorrt]'" in str(missing_package(ModuleNotFoundError(name="pynvml")))
    assert "pillow" in str(missing_package(ModuleNotFoundError(name="PIL.Image")))


@pytest.mark.parametrize("name", ["qedeploy.no_such_room", "sympy", None])
def test_any_other_missing_module_is_no_request_to_install(name):
    assert missing_package(ModuleNotFoundError(name=name)) is None
