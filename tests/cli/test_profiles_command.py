import json
import os
import subprocess

import pytest

from qedeploy.latency.store import table_path
from qedeploy.latency.table import write_table
from qedeploy.profiles.loader import FOLDER, profile_names
from tests.cli.console import SCRIPT, qedeploy
from tests.latency.laws import table


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_has_every_profile_within_the_terminal(columns):
    environment = os.environ | {"COLUMNS": str(columns)}
    done = subprocess.run([SCRIPT, "profiles"], capture_output=True, text=True, check=True, env=environment)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in done.stdout
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in profile_names()] == list(
        profile_names()
    )
    words = done.stdout.split()
    for whole in ("W4A16", "int4-weight-only", "(+48", "activations", "320", "512"):
        assert whole in words


def test_the_list_as_json_has_pairs_and_limits():
    found = {item["name"]: item for item in json.loads(qedeploy("profiles", "--json").stdout)}
    assert set(found) == set(profile_names())
    assert found["stm32f746"]["memory"]["activation_bytes"] == 320 * 1024
    pair = next(item for item in found["t4-int4"]["precisions"]["pointwise"] if item["weight_bits"] == 4)
    assert (pair["lowering"], pair["nominal_bitops_per_mac"], pair["executed_bitops_per_mac"]) == (
        "int4-weight-only",
        64,
        256,
    )


def test_show_says_what_each_pair_becomes_with_sources(tmp_path):
    done = qedeploy("profiles", "show", "t4-int4", cwd=tmp_path)
    assert done.returncode == 0
    for text in ("W4A16", "int4-weight-only", "int8, carried", "W2..7 A2..8", "130 TOPS", "65 TFLOPS", "source:"):
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_show_reads_a_users_file(tmp_path):
    (tmp_path / "board.toml").write_text((FOLDER / "stm32h743.toml").read_text())
    done = qedeploy("profiles", "show", "board.toml", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["name"] == "board"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("device = 'x'\nruntime = \n", "line 2"),
        ("device = 'x'", "precision: expected this key"),
        ("\x00", "not valid TOML"),
    ],
)
def test_a_broken_file_is_one_line_and_exit_code_2(tmp_path, content, expected):
    (tmp_path / "board.toml").write_text(content)
    done = qedeploy("profiles", "show", "board.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: board.toml: ")
    assert expected in done.stderr


def test_an_unknown_name_suggests_the_closest():
    done = qedeploy("profiles", "show", "t4int8")
    assert done.returncode == 2
    assert "did you mean t4-int8?" in done.stderr


def test_the_tables_that_were_measured_are_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert "latency table: none; qedeploy measure --profile cpu-int8" in qedeploy("profiles", "show", "cpu-int8").stdout
    assert "latency table" not in qedeploy("profiles", "show", "stm32f746-cmix").stdout
    write_table(table_path("cpu-int8", "a law", "none", "1", 1), table(date="2026-03-01T00:00:00"))
    assert "latency table: a law, 2026-03-01, " in qedeploy("profiles", "show", "cpu-int8").stdout
    shown = json.loads(qedeploy("profiles", "show", "cpu-int8", "--json").stdout)
    assert shown["latency_tables"][0]["device"] == "a law"
