"""All text for people goes through one place: no module but screen.py makes a console, and none writes markup."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import qedeploy

PACKAGE = Path(qedeploy.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "screen.py")

MARKUP = ("[bold]", "[/]", "[red]", "[yellow]", "[/bold]")


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_consoles_come_from_the_screen(path):
    tree = ast.parse(path.read_text())
    named = [(node, called(node)) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [node.lineno for node, name in named if name in {"Console", "from_markup"}]
    for node, name in named:
        if name == "TextColumn":
            given = {item.arg: item.value for item in node.keywords}
            literal = isinstance(node.args[0], ast.Constant) and "{" not in node.args[0].value
            assert literal or getattr(given.get("markup"), "value", None) is False, node.lineno
    imports = {item.module for item in ast.walk(tree) if isinstance(item, ast.ImportFrom)}
    assert "rich.markup" not in imports
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [text for text in texts if any(mark in text for mark in MARKUP)]
