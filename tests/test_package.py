"""What people expect of a package: a licence, types, a module to start, and files that name the same version."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

import qedeploy
from tests.minimal_installation import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_python_dash_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "qedeploy", "--version"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, qedeploy.__version__)


@pytest.mark.slow
def test_torchrun_starts_the_module():
    """torchrun starts its processes as modules, each with a rank in its environment."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*launcher, "qedeploy", "--version"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split().count(qedeploy.__version__) == 2


def test_the_licence_that_the_metadata_name_is_there():
    assert PROJECT["license"] == "Apache-2.0"
    (name,) = PROJECT["license-files"]
    text = (ROOT / name).read_text()
    assert "Apache License\n                           Version 2.0" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_type_checkers_find_the_types():
    assert (ROOT / "qedeploy" / "py.typed").exists()


def test_the_changelog_and_the_citation_name_the_version():
    headings = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", qedeploy.__version__]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (qedeploy.__version__, PROJECT["license"])


def test_every_development_package_has_its_version_fixed():
    fixed = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["dev"], *extras["cluster"]]
    names = {re.split(r"[^\w-]", text)[0].lower() for text in wanted}
    assert not names - fixed
