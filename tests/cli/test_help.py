"""Import time is a feature: help answers at once, and a search needs no framework."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main

from qedeploy.cli.main import app

# pydantic is missing from this list because Typer imports it where it is installed.
HEAVY = {"torch", "onnx", "onnxruntime", "tensorrt", "numpy", "scipy", "matplotlib", "jinja2", "PIL"}


def command_paths(command: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    children = getattr(command, "commands", {})
    return [path, *(found for name, child in children.items() for found in command_paths(child, (*path, name)))]


PATHS = command_paths(typer.main.get_command(app))


def imported_by(*arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    return imported_in("-m", "qedeploy.cli.main", *arguments)


def imported_in(*arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return done, {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: " ".join(path) or "qedeploy")
def test_help_answers_without_heavy_imports(path):
    done, packages = imported_by(*path, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert not packages & HEAVY


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import qedeploy; print('api' in vars(qedeploy))", "False"),
        ("import qedeploy; print(callable(qedeploy.api.search))", "True"),
        ("from qedeploy import api; print(api.search.__name__)", "search"),
    ],
)
def test_the_package_and_its_functions_are_there_without_heavy_imports(code, loaded):
    done, packages = imported_in("-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, loaded), done.stderr
    assert not packages & {*HEAVY, "pydantic", "rich", "typer"}


def test_a_function_takes_no_more_than_it_needs():
    code = "from qedeploy import api; api.profiles(); api.search('any-bits', 'mixed-7d0g', model=False)"
    done, packages = imported_in("-c", code)
    assert done.returncode == 0, done.stderr
    assert not packages & (HEAVY - {"numpy", "scipy"}), packages & HEAVY


def test_help_names_every_command():
    done, _ = imported_by("--help")
    for path in PATHS:
        if len(path) == 1:
            assert path[0] in done.stdout


def test_an_unknown_command_is_wrong_usage():
    done, _ = imported_by("serach")
    assert done.returncode == 2
    assert "serach" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_makes_itself_and_no_other():
    code = (
        "import sys; from qedeploy.cli import main; sys.argv = ['qedeploy', 'profiles', '--json']\n"
        "try: main.main()\n"
        "finally: print(sorted(main.APPLICATIONS), main._made.cache_info().currsize, file=sys.stderr)"
    )
    done, _ = imported_in("-c", code)
    assert done.returncode == 0, done.stderr
    names = sorted({path[0] for path in PATHS if path})
    assert done.stderr.splitlines()[-1] == f"{names} 1"


def test_a_quiet_search_shows_nothing_and_needs_nothing_to_show_it_with(tmp_path):
    budget = ("--profile", "any-bits", "--recipe", "mixed-7d0g", "--no-model", "--out", str(tmp_path))
    done, packages = imported_by("search", "--quiet", *budget)
    assert (done.returncode, done.stdout) == (0, "")
    assert "rich" not in packages
