"""Table files: what is read is what was written, the newest is taken, and what is wrong is said."""

from __future__ import annotations

import dataclasses
import json

import pytest

from qedeploy.errors import UserError
from qedeploy.latency.store import describe_kept, kept_tables, load_table, table_path
from qedeploy.latency.table import NetworkPoint, TablePoint, from_document, read_table, to_document, write_table
from qedeploy.profiles.loader import load_profile
from tests.latency.laws import points, table

PROFILE = load_profile("cpu-int8")


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def test_a_table_survives_its_file(tmp_path):
    network = NetworkPoint(structure={"stem": 1}, seconds=1e-3, spread=0.01, rounds=3)
    written = table(networks=(network,), machine={"cpu": "x"}, date="2026-01-01", reference_seconds=1e-4)
    assert read_table(write_table(tmp_path / "t.json", written)) == written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "qedeploy-latency/9"}, "expected a qedeploy-latency/1 document"),
        ({"points": [{}]}, r"points\[0\].shape: expected this key"),
        ({"extra": 1}, "extra: unknown key"),
        ({"device": 3}, "device: "),
    ],
)
def test_a_wrong_table_is_refused_by_field(tmp_path, change, message):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({**to_document(table()), **change}))
    with pytest.raises(UserError, match=message):
        read_table(path)


def keep(date, version="1.0", **changes):
    path = table_path("cpu-int8", "a law", "none", version, 1)
    return write_table(path, dataclasses.replace(table(date=date), **changes))


def test_the_table_that_was_measured_last_is_taken(data):
    assert load_table(PROFILE, None) is None
    keep("2026-03-01", "2.0")
    newer = keep("2026-05-01", "1.0")
    assert [path.parent for path in kept_tables("cpu-int8")] == [data / "qedeploy" / "latency"] * 2
    found = load_table(PROFILE, None)
    assert found is not None
    assert found[1] == newer
    assert load_table(load_profile("t4-int8"), None) is None


def test_another_profiles_table_is_refused(tmp_path):
    path = write_table(tmp_path / "t.json", table())
    with pytest.raises(UserError, match="a latency table of profile cpu-int8: expected one of t4-int8"):
        load_table(load_profile("t4-int8"), path)


def test_points_of_known_shapes_are_replaced_and_others_added():
    before = table()
    changed = TablePoint(shape=before.points[0].shape, seconds=1.0)
    new = next(point for point in points(seed=9) if point.shape not in {p.shape for p in before.points})
    after = before.with_points((changed, new))
    assert len(after.points) == len(before.points) + 1
    assert after.points[0].seconds == 1.0


def test_what_is_kept_is_described_with_what_cannot_be_read(data):
    assert describe_kept("cpu-int8") == []
    path = keep("2026-03-01")
    (path.parent / "cpu-int8--broken.json").write_text("{")
    good, broken = describe_kept("cpu-int8")
    assert (good["file"], good["device"], good["points"], good["error"]) == (
        str(path),
        "a law",
        len(table().points),
        None,
    )
    assert "not valid JSON" in broken["fault"]
    assert describe_kept("cpu-int") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds": -1.0}, "seconds above 0"),
        ({"seconds": float("nan")}, "finite number"),
        ({"seconds": 1e308}, "seconds above 0"),
        ({"rounds": 0}, "rounds from 1"),
        ({"spread": -0.1}, "spread from 0"),
    ],
)
def test_points_that_nobody_can_have_measured_are_refused(change, said):
    document = to_document(table())
    document["points"] = [{**document["points"][0], **change}, *document["points"][1:]]
    with pytest.raises(UserError, match=said):
        from_document(document, "table.json")
