"""What a measurement leaves in the file of an earlier one."""

from __future__ import annotations

import dataclasses

import onnxruntime
import pytest

from qedeploy.bench.measure.machine import describe_machine
from qedeploy.campaign.jobs import JobSettings
from qedeploy.campaign.storage import Storage
from qedeploy.errors import UserError
from qedeploy.latency.table import NetworkPoint, Source, TablePoint, read_table, to_text, write_table
from qedeploy.network.structure_file import from_document, to_document
from tests.campaign.test_planner import REQUEST
from tests.latency.laws import points, table
from tests.latency.test_predictor import structure


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def keeping(out, fresh=False, **settings):
    return Storage.of(REQUEST, JobSettings(**settings), seed=0, out=out, cluster=None, fresh=fresh)


def measured_here(**changes):
    """A table as this machine would measure it."""
    runtime = {"name": "ONNX Runtime", "version": onnxruntime.__version__}
    return dataclasses.replace(table(), device=describe_machine().cpu, runtime=runtime, **changes)


def network(ratio):
    return NetworkPoint(structure=to_document(structure(ratio=ratio)), seconds=2e-3, spread=0.0, rounds=1)


def test_what_the_file_has_beside_stays_at_the_pace_of_what_is_measured_now(tmp_path):
    now = measured_here(networks=(network(3),), reference_seconds=2e-4, recipes=("second",))
    known = {point.shape for point in now.points}
    taught, measured, *_ = (point.shape for point in points(seed=7) if point.shape not in known)
    before = measured_here(
        points=(
            TablePoint(shape=taught, seconds=1e-3, source=Source.BENCH),
            TablePoint(shape=measured, seconds=3e-3),
            TablePoint(shape=now.points[0].shape, seconds=9.0),
        ),
        networks=(network(2), network(3)),
        reference_seconds=1e-4,
        recipes=("first", "second"),
    )
    path = write_table(tmp_path / "t.json", before)
    after, kept_in = keeping(path).keep(now, REQUEST.profile, fresh=False)
    assert kept_in == path
    assert path.read_text() == to_text(after)
    kept = (TablePoint(shape=taught, seconds=2e-3, source=Source.BENCH), TablePoint(shape=measured, seconds=6e-3))
    assert after.points == (*now.points, *kept)
    assert [from_document(one.structure, path) for one in after.networks] == [structure(ratio=3), structure(ratio=2)]
    assert [one.seconds for one in after.networks] == [2e-3, 4e-3]
    assert after.calibration.networks == 2
    assert after.recipes == ("first", "second")
    keeping(path, fresh=True).keep(now, REQUEST.profile, fresh=True)
    assert read_table(path).points == now.points
    assert len(read_table(path).networks) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profile": "t4-int8"}, "profile t4-int8 instead of cpu-int8"),
        ({"runtime": {"name": "ONNX Runtime", "version": "1.2"}}, "version 1.2 instead of "),
        ({"settings": {"threads": 3}}, "threads 3 instead of 1"),
        ({"device": "another"}, "device another instead of "),
    ],
)
def test_times_of_another_kind_are_not_mixed_in(tmp_path, changes, said):
    path = write_table(tmp_path / "t.json", dataclasses.replace(measured_here(), **changes))
    with pytest.raises(UserError, match=rf"^--out {path}: a latency table with {said}.*, or add --fresh$"):
        keeping(path)
    keeping(path, fresh=True)


def test_each_recipe_has_a_journal_of_its_own(tmp_path):
    assert keeping(tmp_path / "t.json").journal.path == tmp_path / "t.k1dwk1-224.measurements.jsonl"


@pytest.mark.parametrize(("name", "content"), [("t.json", "{}"), ("t.txt", ""), ("t.json", "mine")])
def test_a_file_that_is_no_table_is_refused_before_anything_is_measured(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=r"expected a |not valid JSON"):
        keeping(tmp_path / name)
    assert (tmp_path / name).read_text() == content


def test_tables_of_other_devices_versions_and_threads_have_other_files():
    def path(**changes):
        return keeping(None).keep(dataclasses.replace(table(), **changes), REQUEST.profile, fresh=False)[1]

    found = {
        path(),
        path(device="another"),
        path(runtime={"name": "none", "version": "2"}),
        path(settings={"threads": 2}),
    }
    assert len(found) == 4
    assert path() in found


def test_a_broken_table_among_the_kept_ones_is_named_before_anything_is_measured():
    _, path = keeping(None).keep(measured_here(), REQUEST.profile, fresh=False)
    path.write_text("{}")
    with pytest.raises(UserError, match=rf"^{path}: "):
        keeping(None)
    assert keeping(None, fresh=True).keep(measured_here(), REQUEST.profile, fresh=True) == (measured_here(), path)
    assert read_table(path) == measured_here()
