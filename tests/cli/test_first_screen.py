"""What every command offers: an answer last, silence, JSON, and names behind the Tab key."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from qedeploy.bench.measure.stage import BenchStage
from qedeploy.cli import completion
from qedeploy.cli.main import app
from qedeploy.cli.progress import stages_shown
from qedeploy.network.published import published_models
from qedeploy.profiles.loader import profile_names
from qedeploy.screen import Screen
from tests.cli.conftest import SMALL_RECIPE
from tests.cli.console import SCRIPT, qedeploy


def commands() -> Iterator[tuple[str, set[str]]]:
    """Yield each command with its options, commands of a group with the group's name before theirs."""
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        for inner, one in {"": command, **getattr(command, "commands", {})}.items():
            yield f"{name} {inner}".strip(), {option for item in one.params for option in item.opts}


@pytest.mark.parametrize(
    ("name", "options"), tuple(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_can_be_silent_and_can_print_json(name, options):
    assert {"--quiet", "--json"} <= options


def test_names_are_completed_and_paths_are_left_to_the_shell():
    assert set(completion.profiles("cpu")) == {name for name in profile_names() if name.startswith("cpu")}
    assert completion.profiles("./mine") == []
    assert completion.recipes("k1dwk1-2") != []
    assert completion.trainings("qu") == ["quick"]
    assert completion.models("mixed") == [
        model.name for model in published_models() if model.name.lower().startswith("mixed")
    ]


def test_a_shell_gets_the_names_of_profiles():
    environment = {
        **os.environ,
        "_QEDEPLOY_COMPLETE": "complete_bash",
        "COMP_WORDS": "qedeploy search --profile cpu-",
        "COMP_CWORD": "3",
    }
    done = subprocess.run([str(SCRIPT)], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert set(done.stdout.split()) == set(completion.profiles("cpu-"))


def test_search_export_and_json_end_with_the_answer(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL_RECIPE)
    searched = qedeploy("search", "--profile", "cpu-int8", "--recipe", "small.toml", "--out", "run", cwd=tmp_path)
    verdict = searched.stdout.splitlines()[-1]
    assert verdict.startswith("QE-Score ")
    assert "of 3M flops" in verdict
    assert verdict.endswith("proven the best of its space")
    assert "shadow price" not in searched.stdout
    exported = qedeploy("export", "run/model.pth", cwd=tmp_path)
    assert exported.stdout.splitlines()[-1].startswith("model.onnx computes what PyTorch does: ")
    again = qedeploy("export", "run/model.pth", "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == json.loads((tmp_path / "run" / "model.export.json").read_text())
    silent = qedeploy("export", "run/model.pth", "--quiet", cwd=tmp_path)
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, "", "")


def test_a_benchmark_counts_down_on_a_terminal_and_leaves_nothing_behind():
    console = Screen(force_terminal=True, width=100, markup=False)
    with console.capture() as captured, stages_shown(console, quiet=False) as show:
        show(BenchStage(text="timing model.onnx", seconds_left=42.0))
        time.sleep(0.3)
    assert "timing model.onnx" in captured.get()
    assert "about 42 s left" in captured.get()
    with console.capture() as captured, stages_shown(console, quiet=True) as show:
        show(BenchStage(text="timing model.onnx"))
    assert captured.get() == ""
