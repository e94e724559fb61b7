"""Pages of the documentation site that are made when it is built, of what the program and its docstrings already say.

Commands come from the command line's own help, a page for each room of the package from its docstrings; the changelog
and the guide for contributors from the top of the repository.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import typer
import typer.core
import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from qedeploy import api
from qedeploy.cli.main import app

ROOT = Path(__file__).parents[1]
# The rooms as data flows through them. The command line has a page of its own.
ROOMS = ("network", "profiles", "latency", "search", "model", "train", "qdq", "runtimes", "export", "bench", "campaign")
REFERENCE = "Python"
ROOMS_INTRODUCTION = """\
[Functions](functions.md) are what a program or a notebook calls; the rooms below hold what they are made of.

Each page is made from the docstrings of one room of the package. Imports go one way: a room may use those above it in
this table and none below, and import-linter holds the code to that. `import qedeploy` imports nothing else; each module
imports PyTorch, ONNX or a runtime where it uses them.
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List a page for each room behind the one that the navigation names under `REFERENCE`."""
    section = _section(config.nav or [], REFERENCE)
    section += [{"Functions": "api/functions.md"}, *({room: f"api/{room}.md"} for room in _rooms())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    pages = {
        "commands.md": _commands(),
        "changelog.md": _from_the_top("CHANGELOG.md"),
        "contributing.md": _from_the_top("CONTRIBUTING.md"),
        "api/index.md": _rooms_page(),
        "api/functions.md": _functions(),
    }
    pages |= {f"api/{room}.md": _reference(room) for room in _rooms()}
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def _functions() -> str:
    names = "\n".join(f"::: qedeploy.api.{name}\n" for name in api.__all__)
    return f"# Functions\n\n::: qedeploy.api\n    options:\n      members: false\n\n{names}"


def _rooms() -> list[str]:
    """Return the rooms of the package in their order; a new one comes last."""
    found = {path.parent.name for path in ROOT.glob("qedeploy/*/__init__.py")} - {"api", "cli"}
    return [room for room in ROOMS if room in found] + sorted(found.difference(ROOMS))


def _rooms_page() -> str:
    rows = [f"| [{room}]({room}.md) | {_described(room)} |" for room in _rooms()]
    return "\n".join(["# Python\n", ROOMS_INTRODUCTION, "\n| room | what it has |", "|---|---|", *rows])


def _described(room: str) -> str:
    text = (ROOT / "qedeploy" / room / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").replace("\n", " ")


def _reference(room: str) -> str:
    """Return a page with the docstring of a room, then every module of it in the order of their names."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "qedeploy" / room).rglob("*.py"))
        if path.name != "__init__.py"
    ]
    return "\n\n".join([f"# {room}", _described(room), *(f"::: {module}" for module in modules)])


def _commands() -> str:
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="qedeploy")
    assert isinstance(group, typer.core.TyperGroup)
    pages = [
        get_docs_for_click(obj=command, ctx=context, indent=1, call_prefix="qedeploy")
        for command in group.commands.values()
    ]
    return "\n".join(["# Commands\n", "What `--help` says behind each of them.\n", *pages])


def _from_the_top(name: str) -> str:
    """Return a file of the repository's top folder, with its links as they are from the folder of the pages."""
    return (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")


def _section(entries: list[Any], title: str) -> list[Any]:
    """Return the list that a navigation has under a title, at any depth."""
    for entry in entries:
        for name, below in entry.items() if isinstance(entry, dict) else ():
            if not isinstance(below, list):
                continue
            if name == title:
                return below
            if found := _section(below, title):
                return found
    return []
