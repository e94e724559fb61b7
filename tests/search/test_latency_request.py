"""A search's latency table: where it comes from, what is written of it, and what verification says of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from qedeploy.errors import RequestError, UserError
from qedeploy.files import sha256
from qedeploy.latency import store
from qedeploy.latency.table import Part, read_table, write_table
from qedeploy.profiles.loader import load_profile
from qedeploy.search.audit.verification import verify
from qedeploy.search.costs.budgets.counted import LAYERS
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.exact.search import search_exactly
from qedeploy.search.request import make_request
from qedeploy.search.result import result_folder, settings_document, write_result
from qedeploy.search.space.recipe_file import recipe_from_document, recipe_to_document
from qedeploy.search.space.recipe_loader import load_recipe
from qedeploy.search.warnings import search_warnings
from tests.search.made_up_latency import plausible_table

LIMIT = {LATENCY: 0.002}


def no_model(path: Path):
    raise AssertionError(f"{path}: no model was written")


@pytest.fixture(scope="module")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = plausible_table(load_profile("cpu-int8"), load_recipe("k1dwk1-224"))
    return write_table(tmp_path_factory.mktemp("tables") / "mine.json", table)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder, empty: where `qedeploy measure` would keep a table."""
    monkeypatch.setattr(store, "tables_folder", lambda: tmp_path / "data")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture(scope="module")
def searched(table_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    request = make_request("cpu-int8", None, LIMIT, latency_table=table_file)
    write_result(folder, request, search_exactly(request)[0])
    return folder


def test_a_latency_without_a_table_names_the_profile_and_the_mend(kept: Path) -> None:
    with pytest.raises(
        RequestError, match=r"cpu-int8 has no latency table .*`qedeploy measure --profile cpu-int8`"
    ) as caught:
        make_request("cpu-int8", None, LIMIT)
    assert "\n" not in str(caught.value)
    with pytest.raises(RequestError, match=r"any-bits has no latency table .*--latency-table FILE") as caught:
        make_request("any-bits", "mixed-7d0g", LIMIT)
    assert "measure" not in str(caught.value)
    with pytest.raises(RequestError, match="no latency table"):
        make_request("cpu-int8", need_latency=True)


def test_the_kept_table_is_taken_where_latency_is_asked_for_only(kept: Path, table_file: Path) -> None:
    before = make_request("cpu-int8")
    shutil.copy(table_file, kept / "cpu-int8--here.json")
    assert make_request("cpu-int8").document() == before.document()
    assert make_request("cpu-int8").space.latency is None
    for request in (make_request("cpu-int8", None, LIMIT), make_request("cpu-int8", need_latency=True)):
        assert request.document()["latency_table"]["sha256"] == sha256(table_file)
    folders = {
        result_folder(found, settings_document(found, "exact", {}))
        for found in (before, make_request("cpu-int8"), make_request("cpu-int8", latency_table=table_file))
    }
    assert len(folders) == 2


def test_a_recipes_own_latency_survives_its_document(kept: Path, table_file: Path) -> None:
    recipe = replace(load_recipe("k1dwk1-224"), budgets={LATENCY: 0.0008125, LAYERS: 47.0})
    document = json.loads(json.dumps(recipe_to_document(recipe)))
    assert document["budgets"] == {"latency": "0.0008125 s", "layers": 47.0}
    assert recipe_from_document(document, name=recipe.name, source="recipe") == recipe
    with pytest.raises(UserError, match=r"budgets: .*latency: expected a positive time"):
        recipe_from_document(document | {"budgets": {"latency": 0.004}}, name="x", source="recipe")


def test_a_table_of_another_profile_or_without_a_pair_is_refused(tmp_path: Path, table_file: Path) -> None:
    with pytest.raises(UserError, match=r"table of profile cpu-int8: expected one of t4-int8") as caught:
        make_request("t4-int8", None, LIMIT, latency_table=table_file)
    assert caught.value.exit_code == 2
    table = read_table(table_file)
    points = tuple(point for point in table.points if point.shape.part is not Part.HEAD)
    lacking = write_table(tmp_path / "lacking.json", replace(table, points=points))
    with pytest.raises(RequestError, match=r"has no head layers at W8A8: .*qedeploy measure"):
        make_request("cpu-int8", latency_table=lacking)


@pytest.mark.parametrize(
    ("part", "kernel", "stride"),
    [(Part.DEPTHWISE, 5, 2), (Part.DEPTHWISE, 5, 1), (Part.SHORTCUT, 1, 2), (Part.CLASSIFIER, 1, 1)],
)
def test_layers_that_the_table_lacks_are_missed_before_the_search(
    tmp_path: Path, table_file: Path, part: Part, kernel: int, stride: int
) -> None:
    table = read_table(table_file)
    lacking = [
        point
        for point in table.points
        if (point.shape.part, point.shape.kernel, point.shape.stride) == (part, kernel, stride)
    ]
    assert lacking
    points = tuple(point for point in table.points if point not in lacking)
    file = write_table(tmp_path / "lacking.json", replace(table, points=points))
    with pytest.raises(RequestError, match=rf"has no {part}.*: measure them with"):
        make_request("cpu-int8", latency_table=file)


def test_what_is_written_says_which_table(searched: Path, table_file: Path) -> None:
    document = json.loads((searched / "search.json").read_text())
    table = read_table(table_file)
    assert document["latency_table"] == {
        "file": "latency-table.json", "sha256": sha256(searched / "latency-table.json"),
        "device": table.device, "date": table.date,
    }  # fmt: skip
    assert read_table(searched / "latency-table.json") == table
    assert document["budgets"]["latency"]["limit"] == 0.002
    assert document["budgets"]["latency"]["used"] == document["latency_seconds"] <= 0.002
    assert document["evidence"]["certificate"]["multipliers"]["latency"] > 0


def test_a_search_with_its_table_is_verified(searched: Path) -> None:
    for path in (searched, searched / "search.json"):
        checks = {check.claim: check for check in verify(path, no_model)}
        assert all(check.holds for check in checks.values())
        assert {"latency_seconds", "budget latency is kept", "the latency table is the one searched with"} < set(checks)


@pytest.mark.parametrize("field", ["latency_seconds", "used", "limit", "sha256"])
def test_a_lie_about_latency_is_refuted(searched: Path, tmp_path: Path, field: str) -> None:
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    document = json.loads((tmp_path / "search.json").read_text())
    match field:
        case "latency_seconds":
            document["latency_seconds"] *= 0.99
        case "used" | "limit":
            document["budgets"]["latency"][field] *= 0.99
        case "sha256":
            document["latency_table"]["sha256"] = "0" * 64
    (tmp_path / "search.json").write_text(json.dumps(document))
    assert not all(check.holds for check in verify(tmp_path, no_model))


def test_a_changed_table_is_found_out_and_a_missing_one_asked_for(searched: Path, tmp_path: Path) -> None:
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "latency-table.json"
    table = read_table(file)
    write_table(file, replace(table, points=tuple(replace(p, seconds=p.seconds * 0.9) for p in table.points)))
    failed = {check.claim: check.detail for check in verify(tmp_path, no_model) if not check.holds}
    assert "has changed since the search" in failed["the latency table is the one searched with"]
    assert "latency_seconds" in failed
    file.unlink()
    with pytest.raises(
        UserError, match=r"latency-table\.json: expected the latency table of the search beside"
    ) as caught:
        verify(tmp_path / "search.json", no_model)
    assert "\n" not in str(caught.value)
    document = json.loads((tmp_path / "search.json").read_text())
    del document["latency_table"]
    (tmp_path / "search.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="latency_table: expected the record"):
        verify(tmp_path, no_model)


def test_a_search_repeats_the_doubt_about_its_table(table_file: Path, tmp_path: Path) -> None:
    calm = read_table(table_file)
    half = [replace(point, spread=0.3) if number % 2 else point for number, point in enumerate(calm.points)]
    loaded = write_table(tmp_path / "loaded.json", replace(calm, points=tuple(half)))
    for file, doubted in ((table_file, False), (loaded, True)):
        request = make_request("cpu-int8", None, LIMIT, latency_table=file)
        result, _ = search_exactly(request)
        found = [text for text in search_warnings(request, result) if "not to be relied on" in text]
        assert len(found) == doubted
        if doubted:
            assert f"{len(half) // 2} of {len(half)} points are unstable" in found[0]


def test_a_search_says_what_competed_while_its_table_was_measured(table_file: Path, tmp_path: Path) -> None:
    table = read_table(table_file)
    for load, said in ((0.5, False), (2.0, True)):
        machine, settings = {"load": load, "usable_cores": 2}, {**table.settings, "threads": 1}
        file = write_table(tmp_path / f"{load}.json", replace(table, machine=machine, settings=settings))
        request = make_request("cpu-int8", None, LIMIT, latency_table=file)
        result, _ = search_exactly(request)
        found = [text for text in search_warnings(request, result) if "others competed" in text]
        assert len(found) == said
        assert all("load was 2.0 on 2 cores" in text for text in found)
        assert ("doubt" in request.document()["latency_table"]) == said
