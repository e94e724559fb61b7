import json
import subprocess

import pytest

from qedeploy.network.lightnas import from_value, to_text
from qedeploy.network.structure_file import to_document
from tests.cli.console import SCRIPT, qedeploy
from tests.conftest import GOLDEN

COLUMNS = {
    "score": "score",
    "flops": "flops",
    "size_bytes": "model_size",
    "layers": "layers",
    "peak_memory_bytes": "max_feature",
}


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def check(found: list[dict], golden: list[dict]) -> None:
    assert len(found) == len(golden)
    for record, expected in zip(found, golden, strict=True):
        for ours, theirs in COLUMNS.items():
            assert record[ours] == pytest.approx(expected[theirs], rel=1e-12)
        assert record["bitops"] == pytest.approx(64 * expected["flops"], rel=1e-12)


def test_json_lines_of_the_reference_match_it():
    golden = records((GOLDEN / "random_structures.jsonl").read_text())
    done = qedeploy("score", GOLDEN / "random_structures.jsonl", "--json")
    assert done.returncode == 0
    check(records(done.stdout), golden)


def test_named_structures_of_the_reference_match_it():
    golden = json.loads((GOLDEN / "named_structures.json").read_text())
    done = qedeploy("score", GOLDEN / "named_structures.json", "--json")
    check(records(done.stdout), golden)


def test_document_text_and_standard_input_give_one_result(tmp_path, named_golden):
    structure = from_value(named_golden["mixed7d0G"]["structure"])
    (tmp_path / "structure.json").write_text(json.dumps(to_document(structure), indent=2))
    (tmp_path / "net.txt").write_text(to_text(structure))
    done = qedeploy("score", "structure.json", "net.txt", "--json", "--profile", "t4-int8", cwd=tmp_path)
    first, second = records(done.stdout)
    piped = subprocess.run(
        [SCRIPT, "score", "-", "--json", "--profile", "t4-int8"],
        input=to_text(structure),
        capture_output=True,
        text=True,
        check=True,
    )
    results = [{key: value for key, value in item.items() if key != "file"} for item in (first, second)]
    results.append({key: value for key, value in records(piped.stdout)[0].items() if key != "file"})
    assert results[0] == results[1] == results[2]
    assert results[0]["executed_bitops"] > 2 * results[0]["bitops"]


def test_per_layer_parts_add_up(tmp_path, named_golden):
    (tmp_path / "net.json").write_text(json.dumps(named_golden["mixed19d2G"]["structure"]))
    [record] = records(qedeploy("score", "net.json", "--json", "--per-layer", cwd=tmp_path).stdout)
    layers = record["per_layer"]
    assert layers[-1]["name"] == "classifier"
    assert sum(layer["bitops"] for layer in layers[:-1]) == pytest.approx(record["bitops"], rel=1e-12)
    assert [layer["memory_bytes"] for layer in layers[:-1]] == named_golden["mixed19d2G"]["max_feature_list"]


def test_settings_change_what_they_name(tmp_path, named_golden):
    (tmp_path / "net.json").write_text(json.dumps(named_golden["mixed7d0G"]["structure"]))
    [plain] = records(qedeploy("score", "net.json", "--json", cwd=tmp_path).stdout)
    options = ("--resolution", 112, "--sigma-weight", 3, "--sigma-activation", 6, "--stage-ratios", "0,0,0,0,1")
    [changed] = records(qedeploy("score", "net.json", "--json", *options, cwd=tmp_path).stdout)
    assert changed["flops"] == pytest.approx(plain["flops"] / 4, rel=1e-12)
    assert changed["size_bytes"] == plain["size_bytes"]
    assert 0 < changed["score"] < plain["score"] / 5


def test_the_table_has_units_and_says_where_the_score_is_blind(tmp_path, named_golden):
    (tmp_path / "net.json").write_text(json.dumps(named_golden["mixed7d0G"]["structure"]))
    done = qedeploy("score", "net.json", cwd=tmp_path)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout
    for text in ("1224.5368", "6.839G", "866.4 KiB", "stage5.block3.depthwise", "mem. KiB", "blind above"):
        assert text in done.stdout


BAD = {
    "empty.json": (b"", "empty"),
    "blank.json": (b" \n\n", "empty"),
    "truncated.json": (b'[{"class": "ConvKXBNRELU", "in": 3, "out"', "found neither"),
    "binary.bin": (bytes(range(256)), "not UTF-8"),
    "null.json": (b"null", "expected a list of blocks"),
    "nothing.json": (b"[]", "expected a list of blocks"),
    "other.json": (b'{"foo": 1}', "foo: unknown key"),
    "evil.txt": (b"__import__('os').system('touch pwned')", "found neither"),
    "deep.txt": (b"[" * 100_000, "found neither"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_structure_is_one_line_and_exit_code_2(tmp_path, name):
    content, expected = BAD[name]
    (tmp_path / name).write_bytes(content)
    done = qedeploy("score", name, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {name}: ")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "pwned").exists()


def test_a_truncated_line_is_named(tmp_path):
    text = (GOLDEN / "random_structures.jsonl").read_bytes()[:5000]
    (tmp_path / "many.jsonl").write_bytes(text)
    done = qedeploy("score", "many.jsonl", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert len(records(done.stdout)) == text.count(b"\n")
    bad_line = text.count(b"\n") + 1
    assert f"error: many.jsonl:{bad_line}: " in done.stderr


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    for name, reason in ((".", "is a folder"), ("gone.json", "No such file")):
        done = qedeploy("score", name, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert reason in done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--sigma-weight", "0"), "--sigma-weight: expected a positive number"),
        (("--sigma-activation", "nan"), "--sigma-activation: expected a positive number"),
        (("--sigma-activation", "1e-9"), "every value rounds to 0"),
        (("--resolution", "0"), "resolution: expected 1 to"),
        (("--stage-ratios", "1,2"), "net.json: stage ratios: expected 5"),
        (("--stage-ratios", "0,0,one"), "--stage-ratios: expected numbers"),
        (("--profile", "t4"), "no profile is named 't4'"),
    ],
)
def test_settings_that_fit_nothing_are_one_line(tmp_path, named_golden, options, expected):
    (tmp_path / "net.json").write_text(json.dumps(named_golden["mixed7d0G"]["structure"]))
    done = qedeploy("score", "net.json", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert expected in done.stderr


def test_a_profile_without_the_widths_is_exit_code_3(tmp_path, named_golden):
    (tmp_path / "net.json").write_text(json.dumps(named_golden["mixed7d0G"]["structure"]))
    done = qedeploy("score", "net.json", "--profile", "stm32f746-cmix", cwd=tmp_path)
    assert done.returncode == 3
    assert "net.json: stage1.block1.expand: profile stm32f746-cmix has no W5A5 for pointwise layers" in done.stderr


def test_two_forms_at_once_are_refused(tmp_path):
    done = qedeploy("score", "--json", "--lightnas", str(tmp_path / "none.json"))
    assert done.returncode == 2
    assert "expected one of the two" in done.stderr
