"""`qedeploy search --budget latency=...` from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from qedeploy.latency.table import write_table
from qedeploy.profiles.loader import load_profile
from qedeploy.search.space.recipe_loader import load_recipe
from tests.cli.console import qedeploy
from tests.search.made_up_latency import plausible_table

SEARCH = ("search", "--profile", "cpu-int8", "--no-model")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made_up = plausible_table(load_profile("cpu-int8"), load_recipe("k1dwk1-224"))
    return write_table(tmp_path_factory.mktemp("table") / "mine.json", made_up)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "qedeploy" / "latency"


@pytest.mark.slow
def test_both_methods_keep_the_budget_and_verification_agrees(tmp_path: Path, table: Path) -> None:
    scores, asked = [], ("--latency-table", table, "--budget", "latency=1500us")
    for method in (("exact",), ("evolution", "--evaluations", "4000")):
        done = qedeploy(*SEARCH, *asked, "--out", method[0], "--method", *method, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "predicted latency" in done.stdout
        assert "latency is predicted from the table of 2026-11-23 of made up" in done.stdout
        document = json.loads((tmp_path / method[0] / "search.json").read_text())
        assert document["latency_seconds"] <= document["budgets"]["latency"]["limit"] == 0.0015
        assert qedeploy("verify", method[0], cwd=tmp_path).returncode == 0
        scores.append(document["score"])
    assert scores[0] >= scores[1]
    again = qedeploy(*SEARCH, *asked, "--out", "again", "--quiet", cwd=tmp_path)
    assert again.returncode == 0
    for name in ("search.json", "latency-table.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "exact" / name).read_bytes()


def test_a_front_against_latency_is_in_milliseconds(tmp_path: Path, table: Path) -> None:
    recipe = tmp_path / "small.toml"
    text = (Path(__file__).parents[2] / "qedeploy/search/recipes/k1dwk1-224.toml").read_text().split("[[start]]")[0]
    recipe.write_text(text.replace("max = 1280", "max = 32").replace("depths = [1, 2, 3]", "depths = [1]"))
    arguments = ("--recipe", recipe, "--latency-table", table, "--pareto", "latency", "--out", "out")
    done = qedeploy(*SEARCH, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "score against latency" in done.stdout
    points = json.loads((tmp_path / "out" / "front.json").read_text())["points"]
    assert points[-1]["cost"] == json.loads((tmp_path / "out" / "search.json").read_text())["latency_seconds"]
    drawn = (tmp_path / "out" / "front.svg").read_text()
    assert "latency (ms, predicted)" in drawn
    assert "MBV2-8bit" in drawn


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG_DATA_HOME is Linux's")
def test_the_table_kept_for_the_profile_is_taken(tmp_path: Path, data: Path, table: Path) -> None:
    missing = qedeploy(*SEARCH, "--budget", "latency=2ms", cwd=tmp_path)
    assert missing.returncode == 3
    assert "`qedeploy measure --profile cpu-int8` makes one" in missing.stderr
    data.mkdir(parents=True)
    (data / "cpu-int8--made-up.json").write_bytes(table.read_bytes())
    done = qedeploy(*SEARCH, "--budget", "latency=2ms", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "latency-table.json").read_bytes() == table.read_bytes()
    plain = qedeploy(*SEARCH, "--out", "plain", cwd=tmp_path)
    assert "latency" not in plain.stdout
    assert "latency" not in (tmp_path / "plain" / "search.json").read_text()
    assert not (tmp_path / "plain" / "latency-table.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--budget", "latency=4"), 2, "did you mean latency=4ms?"),
        (("--budget", "latency=4msec"), 2, "did you mean ms?"),
        (("--budget", "latency=100us"), 3, "latency=100 us cannot be met: the smallest structure of the space has"),
        (("--budget", "latency=100us", "--method", "evolution"), 3, "latency=100 us cannot be met"),
        (("--profile", "t4-int8"), 2, "expected one of t4-int8"),
        (("--recipe", "mixed-7d0g"), 3, "has no pointwise layers at W3A3"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, table: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = qedeploy(*SEARCH, "--latency-table", table, *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_no_file_is_wrong_usage(tmp_path: Path) -> None:
    for command in ("search", "run"):
        done = qedeploy(command, "--profile", "cpu-int8", "--latency-table", "none.json", cwd=tmp_path)
        assert done.returncode == 2
        assert "does not exist" in done.stderr
