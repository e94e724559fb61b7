"""The documents keep to the program: every command and option in them exists, and every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import typer.main

from qedeploy.cli.main import app
from qedeploy.profiles.profile_file import profile_from_document

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(document: Path) -> list[str]:
    fences = re.findall(r"^```\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    return [line for fence in fences for line in fence.splitlines() if line.startswith("qedeploy ")]


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.stem)
def test_every_command_and_option_exists(document):
    for line in commands(document):
        command = typer.main.get_command(app)
        words = shlex.split(line)[1:]
        while words and words[0] in (below := getattr(command, "commands", {})):
            command = below[words.pop(0)]
        # Runtimes contribute options when a command is parsed.
        parameters = command.get_params(typer.Context(command))
        known = {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}
        assert command.name != "qedeploy", line
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.stem)
def test_every_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def test_the_profile_in_the_documents_is_one(tmp_path):
    import tomllib

    (text,) = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs" / "profiles.md").read_text(), re.MULTILINE | re.DOTALL)
    profile = profile_from_document(tomllib.loads(text), name="my-board", source="my-board.toml")
    assert profile.memory.weight_bytes == 1 << 20
