"""Names and paths that break markup, steer a terminal, are formulas or no text at all, through every command.

What is shown must hold the name, and nothing of it may be obeyed: not by Rich, a terminal, a page or matplotlib.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest
from onnx import TensorProto, helper

from qedeploy import api
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.structure_file import to_document
from tests.cli.conftest import SMALL_RECIPE
from tests.cli.console import SCRIPT
from tests.export.networks import small_structure

# Some two dozen processes for each name.
pytestmark = pytest.mark.slow

NAMES = {
    "markup": "red][bold]",
    "escape": "a\x1b[31m\x1b[2J\x07b",
    "formula": r"$\frac{$",
    "tag": "<svg><script>x<!--",
    "half": os.fsdecode(b"\xff\xfe"),
    "line": "a\nb",
    "turned": "a\u202eb",
    "long": "n" * 180,
}
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Page(HTMLParser):
    """Reads a page and keeps its scripts' number."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)


def foreign_model(path: Path, name: str) -> None:
    """A model whose nodes and values carry the name, as far as protobuf takes it."""
    name = name.encode("utf-8", "replace").decode()
    values = [helper.make_tensor_value_info(item, TensorProto.FLOAT, [1, 3, 8, 8]) for item in ("x", "y")]
    nodes = [helper.make_node("Relu", ["x"], ["h"], name=name), helper.make_node("Neg", ["h"], ["y"], name=f"{name}2")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module", params=NAMES)
def folder(request, tmp_path_factory) -> Path:
    """A folder of that name with a file of each kind, each named so as well."""
    name = NAMES[request.param]
    # Paths then begin with `[/`, as closing tags do.
    base = tmp_path_factory.mktemp("names") / name / "["
    base.mkdir(parents=True)
    structure = small_structure()
    (base / f"{name}.json").write_text(json.dumps(to_document(structure)))
    (base / f"{name}.toml").write_text(SMALL_RECIPE)
    save_checkpoint(base / f"{name}.pth", build(structure, seed=0), profile="cpu-int8", recipe={})
    foreign_model(base / f"{name}.onnx", name)
    return base.parent


def said(folder: Path, *arguments: str, code: int | tuple[int, ...] = 0) -> str:
    """What a command wrote; its bytes are text, without anything that a terminal obeys."""
    done = subprocess.run(
        [str(SCRIPT), *arguments], cwd=folder, capture_output=True, check=False, timeout=300,
        env={**os.environ, "COLUMNS": "400", "XDG_DATA_HOME": str(folder.parent / "data")},
    )  # fmt: skip
    text = done.stdout.decode("utf-8") + done.stderr.decode("utf-8")
    assert done.returncode in (code if isinstance(code, tuple) else (code,)), text
    assert "Traceback" not in text
    assert not UNSAFE.search(text), text
    return text


def shown(name: str) -> str:
    """The beginning of what stands for a name, on one line."""
    escaped = re.sub("[\x00-\x1f\x7f-\x9f\u202e\udc80-\udcff]", "\0", name)
    return max(escaped.split("\0"), key=len)[:20]


def test_every_command_shows_the_name_and_obeys_none_of_it(folder):
    name = f"[/{folder.name}"
    structure, recipe, model, graph = (f"{name}.{suffix}" for suffix in ("json", "toml", "pth", "onnx"))
    profile = ("--profile", "cpu-int8")
    assert shown(folder.name) in said(folder, "score", structure, "--stage-ratios", "1,6")
    assert shown(folder.name) in said(folder, "import", structure, "--out", f"{name}2.pth", *profile)
    assert shown(folder.name) in said(folder, "export", model, "--out", f"{name}3.onnx")
    out = f"{name}-run"
    assert shown(folder.name) in said(folder, "search", *profile, "--recipe", f"./{recipe}", "--out", out, "--no-model")
    assert shown(folder.name) in said(folder, "verify", out)
    for wrong in (
        ("score", f"{name}.gone"),
        ("profiles", "show", name),
        ("profiles", "show", f"./{name}.toml"),
        ("search", *profile, "--recipe", name),
        ("search", *profile, "--budget", f"{name}=3"),
        ("models", "build", name),
        ("bench", "."),
        ("bench", f"{name}.gone"),
        ("verify", name),
        ("export", f"{name}.gone"),
        ("export", model, "--calibrate", name),
        ("export", model, "--profile", name),
        ("measure", "--profile", name),
        ("correlate", "--profile", name),
        ("run", "--profile", name),
        ("evaluate", graph, "--data", name),
        ("train", model, "--data", name),
        ("import", structure, "--checkpoint", name),
        ("doctor", name),
        (name,),
    ):
        text = said(folder, *wrong, code=(2, 3, 4))
        assert text.splitlines()[-1].startswith("error: ")


def test_a_report_shows_the_name_and_is_a_page_of_its_own(folder):
    name = f"[/{folder.name}"
    text = said(folder, "bench", f"{name}.onnx", "--out", "out", "--duration", "1ms", "--warm-up", "0ms")
    assert shown(folder.name.encode("utf-8", "replace").decode()) in text
    page = (folder / "out" / "report.html").read_bytes().decode("utf-8")
    assert not UNSAFE.search(page)
    plain = said(folder, "bench", f"{name}.onnx", "--json", "--out", "out", "--duration", "1ms", "--warm-up", "0ms")
    assert json.loads(plain[plain.index("{") : plain.rindex("}") + 1])["model"]["name"] == f"{folder.name}.onnx"
    found, usual = Page(), Page()
    found.feed(page)
    foreign_model(folder.parent / "plain.onnx", "plain")
    measured = api.bench(folder.parent / "plain.onnx", seconds=0.001, warm_up=0, folder=folder.parent / "usual")
    assert measured.written is not None
    usual.feed((folder.parent / "usual" / "report.html").read_text())
    assert found.tags.count("script") == usual.tags.count("script")
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(re.sub(r"\sxlink:", " ", drawing))
