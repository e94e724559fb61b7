"""The functions from Python: their examples run, they write only where they are told, and refuse in one line."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest

from qedeploy import api
from qedeploy.errors import RequestError, UserError
from qedeploy.model.checkpoint import load_checkpoint
from qedeploy.network.structure_file import read_structure
from tests.cli.conftest import SMALL_RECIPE

FUNCTIONS = [getattr(api, name) for name in api.__all__]
DOCUMENTED = [api, *FUNCTIONS]
EXAMPLES = [
    example
    for documented in DOCUMENTED
    for example in doctest.DocTestFinder(recurse=False).find(documented, globs=dict(vars(api)))
    if example.examples
]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a recipe that is searched at once; the working folder is another, which stays empty."""
    (tmp_path / "small.toml").write_text(SMALL_RECIPE)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return str(tmp_path / "small.toml")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_examples_give_what_they_say(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert outcome.attempted > 0
    assert outcome.failed == 0, "".join(said)
    assert not list(tmp_path.iterdir())


def test_every_function_says_how_it_is_called():
    assert len(FUNCTIONS) > 10
    for function in FUNCTIONS:
        assert function.__doc__, function.__name__
        assert set(function.__annotations__) > {"return"} or function.__code__.co_argcount == 0, function.__name__


def test_a_search_writes_nothing_unless_told(recipe, tmp_path):
    found = api.search("any-bits", recipe)
    assert (found.folder, found.model, found.written) == (None, None, None)
    assert found.certificate.gap <= 1e-9
    assert found.score == pytest.approx(api.score(found.structure, settings=found.request.recipe.score).score)
    assert found.document()["score"] == found.score
    assert not list(Path.cwd().iterdir())
    assert not (tmp_path / "data").exists()


def test_a_search_writes_what_its_value_says(recipe, tmp_path):
    found = api.search("any-bits", recipe, folder=tmp_path / "out", lightnas=True)
    assert found.folder == tmp_path / "out"
    assert json.loads((found.folder / "search.json").read_text()) == json.loads(json.dumps(found.document()))
    assert read_structure(found.folder / "structure.json") == found.structure
    assert load_checkpoint(found.model).structure == found.structure
    assert all(check.holds for check in api.verify(found.folder))
    names = {path.name for path in found.folder.iterdir()}
    assert names == {"structure.json", "search.json", "model.pth", "best_structure.txt"}


def test_evolution_stays_below_the_proven_best_and_both_report(recipe):
    said: list[str] = []
    bounds: list = []
    exact = api.search("any-bits", recipe, progress=bounds.append)
    assert bounds
    assert all(one.score <= one.upper_bound for one in bounds)
    said += map(str, bounds)
    evolved = api.search(
        "any-bits", recipe, method="evolution", evaluations=5000, progress=lambda progress: said.append(str(progress))
    )
    assert 0 < evolved.score <= exact.score + 1e-9
    assert evolved.costs["flops"] <= 3e6
    assert evolved.certificate is None
    assert any("none above" in text for text in said)
    assert any("used of flops" in text for text in said)


@pytest.mark.parametrize(
    "budgets",
    [{"flops": 2e6}, {"flops": "2M"}, ["flops=2M"], {"flops": 2_000_000}],
    ids=["number", "text", "list", "int"],
)
def test_limits_are_numbers_or_texts(recipe, budgets):
    found = api.search("any-bits", recipe, budgets=budgets)
    assert found.document()["budgets"]["flops"]["limit"] == 2e6
    assert found.costs["flops"] <= 2e6


def test_a_front_is_a_value_and_two_files(recipe, tmp_path):
    found = api.search("any-bits", recipe, against="layers")
    front = api.front(found, "layers", folder=tmp_path / "front")
    assert front.whole
    assert front.points[-1].score == pytest.approx(found.score)
    assert {path.name for path in (tmp_path / "front").iterdir()} == {"front.json", "front.svg"}
    assert json.loads((tmp_path / "front" / "front.json").read_text())["points"][-1]["score"] == front.points[-1].score


@pytest.mark.parametrize(
    ("arguments", "kind", "reason"),
    [
        ({"budgets": {"bitop": 1e9}}, UserError, "did you mean bitops"),
        ({"budgets": {"flops": -1}}, UserError, "expected a positive number"),
        ({"budgets": {"flops": float("nan")}}, UserError, "expected a positive number"),
        ({"budgets": {"flops": 1}}, RequestError, "cannot be met"),
        ({"against": "joules"}, UserError, "expected one of"),
        ({"runnable": True}, RequestError, "any-bits"),
        ({"top": 3, "method": "evolution"}, UserError, "--top"),
        ({"population": 3}, UserError, "--population"),
        ({"workers": 2}, UserError, "--workers"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(recipe, arguments, kind, reason):
    with pytest.raises(kind, match=reason) as caught:
        api.search("any-bits", recipe, **arguments)
    assert "\n" not in str(caught.value)


def test_a_model_is_built_of_a_structure_or_a_name(recipe, tmp_path):
    structure = api.search("any-bits", recipe).structure
    network = api.build(structure, profile="any-bits", seed=3)
    assert network.structure == structure
    again = api.build(structure, profile="any-bits", seed=3, out=tmp_path / "model.pth")
    assert all((one == other).all() for one, other in zip(network.parameters(), again.parameters(), strict=True))
    assert load_checkpoint(tmp_path / "model.pth").recipe == {}
    with pytest.raises(UserError, match="did you mean Mixed7d0G"):
        api.build("mixed7d0")


def test_a_file_of_many_structures_is_not_one(tmp_path):
    lines = [json.dumps(api_document) for api_document in _documents()]
    (tmp_path / "two.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match="expected one structure, found 2"):
        api.score(tmp_path / "two.jsonl")
    (tmp_path / "one.json").write_text(lines[0])
    assert api.score(tmp_path / "one.json").score == api.score(str(tmp_path / "one.json")).score


def _documents() -> list[dict]:
    from qedeploy.network.structure_file import to_document

    return [to_document(model.structure) for model in api.models()[-2:]]


def test_a_table_is_measured_and_used_without_a_file(recipe, tmp_path):
    measured = api.measure("cpu-int8", recipe, minutes=0.05)
    assert measured.path is None
    assert measured.table.points
    assert not list(Path.cwd().iterdir())
    assert not (tmp_path / "data").exists()
