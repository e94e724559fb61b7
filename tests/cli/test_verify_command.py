"""The exact search from the command line, and `qedeploy verify` on what it writes and on lies about that."""

from __future__ import annotations

import copy
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import qedeploy
from qedeploy import api
from qedeploy.cli.verify import verify
from qedeploy.errors import UserError
from qedeploy.network.structure_file import from_document, to_document
from qedeploy.search.audit.verification import read_claims
from qedeploy.search.costs.registry import budget_costs, budget_named
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import solve
from tests.cli.conftest import SMALL_RECIPE
from tests.cli.console import qedeploy as run

RECIPE = Path(qedeploy.__file__).parent / "search" / "recipes" / "mixed-7d0g.toml"


def small_recipe(folder: Path) -> Path:
    """The mixed-7d0g recipe with narrow channels and a budget to match."""
    text = RECIPE.read_text().split("[[start]]")[0]
    text = re.sub(r"max = 1280", "max = 48", text).replace('"109e6"', '"30e6"')
    path = folder / "small.toml"
    path.write_text(text)
    return path


def verified(path: Path) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(verify)
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(path)])
    if isinstance(result.exception, UserError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exact")
    arguments = ("--profile", "any-bits", "--recipe", str(small_recipe(folder)), "--no-model", "--top", "3")
    done = run("search", *arguments, "--verbose", "--pareto", "flops", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "optimal, proven" in done.stdout
    assert "shadow price of flops" in done.stdout
    assert "best shapes" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(": proven the best of its space")
    return folder / "out"


def test_what_is_written_holds(searched: Path) -> None:
    document = json.loads((searched / "search.json").read_text())
    certificate = document["evidence"]["certificate"]
    assert certificate["status"] == "optimal"
    assert 0 <= certificate["upper_bound"] - document["score"] <= 1e-9
    assert certificate["multipliers"]["flops"] > 0
    scores = [document["score"], *(item["score"] for item in document["evidence"]["alternatives"])]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    for path in (searched, searched / "search.json"):
        code, output = verified(path)
        assert code == 0, output
        assert "none can" in output


def test_json_is_what_was_found_and_quiet_leaves_the_exit_code(searched: Path, tmp_path: Path) -> None:
    done = run("verify", searched, "--json")
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)
    assert all(check["holds"] is True for check in checks)
    assert {"score", "budget flops is kept", "front.json"} <= {check["claim"] for check in checks}
    document = json.loads((searched / "search.json").read_text())
    (tmp_path / "search.json").write_text(json.dumps(lied(document, "score")))
    done = run("verify", tmp_path / "search.json", "--json")
    assert done.returncode == 3
    assert [check["holds"] for check in json.loads(done.stdout) if check["claim"] == "score"] == [False]
    quiet = run("verify", tmp_path / "search.json", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (3, "", "")


def test_a_search_prints_its_document(tmp_path: Path) -> None:
    asked = ("--profile", "any-bits", "--recipe", str(small_recipe(tmp_path)), "--no-model", "--out", "out", "--json")
    done = run("search", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "out" / "search.json").read_text()


def test_front_ends_at_the_optimum_and_is_drawn(searched: Path) -> None:
    front = json.loads((searched / "front.json").read_text())
    points = front["points"]
    assert points[-1]["score"] == pytest.approx(json.loads((searched / "search.json").read_text())["score"], abs=1e-9)
    pairs = list(pairwise(points))
    assert all(low["cost"] < high["cost"] and low["score"] < high["score"] for low, high in pairs)
    drawn = (searched / "front.svg").read_text()
    assert drawn.lstrip().startswith("<?xml")
    assert "Mixed7d0G" in drawn


def lied(document: dict, change: str) -> dict:
    lie = copy.deepcopy(document)
    certificate = lie["evidence"]["certificate"]
    match change:
        case "score":
            lie["score"] = certificate["score"] = document["score"] + 0.01
            certificate["upper_bound"] += 0.01
        case "structure":
            lie["structure"]["head"]["bits"]["weight"] = 3
        case "structure outside the space":
            lie["structure"]["stages"][0]["kernel"] = 7
        case "budget":
            lie["budgets"]["flops"]["limit"] *= 1.5
        case "bound":
            certificate["upper_bound"] -= 0.2
            certificate["gap"] -= 0.2
        case "relaxed bound":
            certificate["relaxed_bound"] -= 1e-3
        case "multipliers":
            certificate["multipliers"]["flops"] *= 1.01
        case "negative price":
            certificate["prices"][0]["flops"] = certificate["multipliers"]["flops"] = -1e-6
        case "profile":
            lie["profile"]["sha256"] = "0" * 64
        case "no certificate":
            del lie["evidence"]["certificate"]
        case "bound behind another method":
            lie["method"]["name"] = "evolution"
            certificate["upper_bound"] -= 0.2
            certificate["gap"] -= 0.2
        case "recipe under a name that ships":
            lie["recipe"]["name"] = "mixed-7d0g"
    return lie


@pytest.mark.parametrize(
    "change",
    [
        "score",
        "structure",
        "structure outside the space",
        "budget",
        "bound",
        "relaxed bound",
        "multipliers",
        "negative price",
        "profile",
        "no certificate",
        "bound behind another method",
        "recipe under a name that ships",
    ],
)
def test_a_lie_is_refuted(searched: Path, tmp_path: Path, change: str) -> None:
    document = json.loads((searched / "search.json").read_text())
    (tmp_path / "search.json").write_text(json.dumps(lied(document, change)))
    code, output = verified(tmp_path / "search.json")
    assert code == 3, output


def test_a_consistent_claim_of_a_worse_structure_is_refuted(searched: Path, tmp_path: Path) -> None:
    """Every figure agrees, only that the structure is not the best one."""
    lie = json.loads((searched / "search.json").read_text())
    claims = read_claims(searched / "search.json", None)
    second = lie["evidence"]["alternatives"][0]
    structure = from_document(second["structure"], "second")
    costs = budget_costs(structure, claims.space)
    lie |= {"score": second["score"], "structure": to_document(structure)}
    names = {"size_bytes": "size", "peak_memory_bytes": "peak-memory", "executed_bitops": "executed-bitops"}
    for name in ("flops", "bitops", "layers", *names):
        lie[name] = costs[budget_named(names.get(name, name))]
    for kind, entry in lie["budgets"].items():
        entry["used"] = costs[budget_named(kind)]
    certificate = lie["evidence"]["certificate"]
    certificate |= {"score": second["score"], "upper_bound": second["score"] + 5e-10, "gap": 5e-10}
    (tmp_path / "search.json").write_text(json.dumps(lie))
    code, output = verified(tmp_path / "search.json")
    assert code == 3
    best = solve(Problem.of(claims.space, claims.budgets)).certificate.score
    assert f"one scores {best:.12g}" in " ".join(output.split())


def test_files_of_a_folder_are_checked(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    (folder / "model.onnx").write_bytes(b"graph")
    digest = "65cfffdc53fd2d8abc4b5fb3ad5c7ac4b9b4d4a8b06ca4b9ba2ddfd7d9e9e51b"
    (folder / "model.export.json").write_text(json.dumps({"model": {"file": "model.onnx", "sha256": digest}}))
    code, output = verified(folder)
    assert code == 3
    assert "model.onnx is the file of model.export.json" in " ".join(output.split())
    (folder / "model.export.json").unlink()
    other = json.loads((folder / "structure.json").read_text())
    other["stages"][0]["kernel"] = 3 if other["stages"][0]["kernel"] == 5 else 5
    (folder / "structure.json").write_text(json.dumps(other))
    code, output = verified(folder)
    assert code == 3
    assert "another structure than search.json has" in output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "structure.json").unlink(), "missing; the search wrote one"),
        (lambda folder: (folder / "model.pth").write_bytes(b"junk"), "model.pth │ no"),
        (lambda folder: (folder / "model.export.json").write_text("{}"), "records the SHA-256 of no file"),
        (lambda folder: (folder / "bench.json").write_text("{}"), "records the SHA-256 of no file"),
        (
            lambda folder: (folder / "model.export.json").write_text(
                json.dumps({"model": {"file": "model.onnx", "sha256": "0" * 64}})
            ),
            "model.onnx is the file of model.export.json │ no │ missing",
        ),
        (
            lambda folder: (folder / "engine.json").write_text(
                json.dumps({"plan_sha256": "0" * 64, "onnx": "model.onnx", "onnx_sha256": "0" * 64})
            ),
            "engine.plan is the file of engine.json │ no │ missing",
        ),
        (
            lambda folder: (folder / "model.tflite.json").write_text(json.dumps({"sha256": "0" * 64, "onnx": "other"})),
            "model.tflite is the file of model.tflite.json │ no │ missing",
        ),
        (lambda folder: (folder / "best_structure.txt").write_text("{}"), "other structures than search.json has"),
    ],
)
def test_what_lies_beside_a_search_is_checked(searched: Path, tmp_path: Path, change, message: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    change(folder)
    code, output = verified(folder)
    assert code == 3, output
    assert message in " ".join(output.split())


def test_files_of_others_beside_a_search_are_passed_over(searched: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    (folder / "notes.json").write_text('{"mine": 1}')
    (folder / "broken.json").write_text("{")
    code, output = verified(folder)
    assert code == 0, output
    assert "notes" not in output


@pytest.mark.parametrize("field", ["score", "cost", "structure"])
def test_a_front_that_says_other_figures_is_refuted(searched: Path, tmp_path: Path, field: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    front = json.loads((folder / "front.json").read_text())
    if field == "structure":
        front["points"][1]["structure"]["stages"][0]["kernel"] = 7
    else:
        front["points"][1][field] *= 0.99
    (folder / "front.json").write_text(json.dumps(front))
    code, output = verified(folder)
    assert code == 3, output
    assert "point 2" in output


def test_the_model_of_a_search_is_held_to_its_structure(tmp_path: Path) -> None:
    for name, channels in (("one", "48"), ("other", "40")):
        recipe = tmp_path / f"{name}.toml"
        recipe.write_text(small_recipe(tmp_path).read_text().replace("max = 48", f"max = {channels}"))
        done = run("search", "--profile", "any-bits", "--recipe", str(recipe), "--out", name, "--quiet", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    code, output = verified(tmp_path / "one")
    assert code == 0, output
    assert "weights of the same structure" in output
    shutil.copy(tmp_path / "other" / "model.pth", tmp_path / "one" / "model.pth")
    code, output = verified(tmp_path / "one")
    assert code == 3
    assert "weights of another structure" in output


def test_a_profile_of_the_user_s_own_is_kept_beside_the_search(tmp_path: Path) -> None:
    profile = tmp_path / "mine" / "box.toml"
    profile.parent.mkdir()
    shutil.copy(Path(qedeploy.__file__).parent / "profiles" / "any-bits.toml", profile)
    asked = ("--profile", "mine/box.toml", "--recipe", str(small_recipe(tmp_path)), "--no-model", "--out", "out")
    assert run("search", *asked, cwd=tmp_path).returncode == 0
    profile.unlink()
    code, output = verified(tmp_path / "out")
    assert code == 0, output
    (tmp_path / "out" / "box.toml").write_text((tmp_path / "out" / "box.toml").read_text() + "\n# changed\n")
    code, output = verified(tmp_path / "out")
    assert code == 3
    assert "box.toml has changed since the search" in output


def test_a_search_for_fewer_classes_holds_to_the_recipe_that_ships(tmp_path: Path) -> None:
    asked = ("--profile", "any-bits", "--recipe", "mixed-7d0g", "--classes", "10", "--no-model", "--out", "out")
    done = run("search", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "structure.json").read_text())["classifier"]["classes"] == 10
    code, output = verified(tmp_path / "out")
    assert code == 0, output
    assert "with 10 classes" in output


def test_evolution_claims_no_bound(tmp_path: Path) -> None:
    asked = ("--profile", "any-bits", "--recipe", str(small_recipe(tmp_path)), "--no-model", "--out", "out")
    done = run("search", *asked, "--method", "evolution", "--evaluations", "2000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    code, output = verified(tmp_path / "out")
    assert code == 0, output
    assert "evolution searches without a proof" in output


@pytest.mark.parametrize("method", ["exact", {"name": "guess"}, None])
def test_a_method_that_is_none_is_refused(searched: Path, tmp_path: Path, method: object) -> None:
    document = json.loads((searched / "search.json").read_text())
    (tmp_path / "search.json").write_text(json.dumps({**document, "method": method}))
    code, output = verified(tmp_path / "search.json")
    assert code == 2
    assert "method" in output


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("{", "not valid JSON"), ("{}", "qedeploy-search/1"), ("[]", "qedeploy-search/1")],
)
def test_what_is_no_search_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "search.json"
    if content is not None:
        path.write_text(content)
    code, output = verified(path)
    assert code == 2
    assert message in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--evaluations", "9"), "add --method evolution"),
        (("--method", "evolution", "--top", "2"), "--top: only with --method exact"),
        (("--method", "evolution", "--pareto", "bitops"), "--pareto: only with --method exact"),
        (("--pareto", "bitop"), "expected one of bitops"),
    ],
)
def test_settings_of_the_other_method_are_refused(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run("search", "--profile", "cpu-int8", "--no-model", *arguments, cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert message in done.stderr


@pytest.mark.parametrize(
    ("path", "value"), [(("recipe", "name"), {}), (("profile", "name"), []), (("recipe", "score", "kind"), 5e-324)]
)
def test_names_that_are_no_text_are_a_line(tmp_path, path, value):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(SMALL_RECIPE)
    api.search("cpu-int8", str(recipe), folder=tmp_path / "found", model=False)
    file = tmp_path / "found" / "search.json"
    document = json.loads(file.read_text())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"search\.json"):
        verify(tmp_path / "found")


def test_widths_that_the_space_does_not_have_fail_the_membership(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(SMALL_RECIPE)
    api.search("cpu-int8", str(recipe), folder=tmp_path / "found", model=False)
    file = tmp_path / "found" / "search.json"
    document = json.loads(file.read_text())
    document["structure"]["stages"][0]["blocks"][0]["depthwise"]["activation"] = 1
    file.write_text(json.dumps(document))
    code, said = verified(tmp_path / "found")
    assert code != 0
    assert "stage1: its channels, kernel, depth or widths are not in the space" in said
