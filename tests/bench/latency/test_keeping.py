"""What a measurement leaves in the file of an earlier one."""

from __future__ import annotations

import dataclasses

import pytest

from qedeploy.bench.latency.jobs import JobSettings
from qedeploy.bench.latency.keeping import Keeping
from qedeploy.errors import UserError
from qedeploy.network.document import from_document, to_document
from qedeploy.search.latency.table import NetworkPoint, Point, Source, read_table, write_table
from tests.bench.latency.test_campaign import REQUEST
from tests.search.latency.laws import points, table
from tests.search.latency.test_model import structure


def keeping(out):
    return Keeping.of(REQUEST, JobSettings(), seed=0, out=out, cluster=None)


def test_what_bench_taught_stays_where_nothing_was_measured_in_its_place(tmp_path):
    measured = table()
    known = {point.shape for point in measured.points}
    taught = next(point for point in points(seed=7) if point.shape not in known)
    network, again = (
        NetworkPoint(structure=to_document(structure(ratio=ratio)), seconds=2e-3, spread=0.0, rounds=1)
        for ratio in (2, 3)
    )
    measured = dataclasses.replace(measured, networks=(again,))
    before = dataclasses.replace(
        measured,
        points=(
            Point(shape=taught.shape, seconds=1e-3, source=Source.BENCH),
            Point(shape=measured.points[0].shape, seconds=9.0, source=Source.BENCH),
            Point(shape=points(seed=8)[5].shape, seconds=9.0),
        ),
        networks=(network, again),
    )
    path = write_table(tmp_path / "t.json", before)
    assert keeping(path).keep(measured, REQUEST.profile, fresh=False) == path
    after = read_table(path)
    assert after.points == (*measured.points, before.points[0])
    assert [from_document(one.structure, path) for one in after.networks] == [structure(ratio=3), structure(ratio=2)]
    assert after.calibration.networks == 2
    keeping(path).keep(measured, REQUEST.profile, fresh=True)
    assert read_table(path).points == measured.points
    assert len(read_table(path).networks) == 1


@pytest.mark.parametrize(("name", "content"), [("t.json", "{}"), ("t.txt", ""), ("t.json", "mine")])
def test_a_file_that_is_no_table_is_refused_before_anything_is_measured(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=r"expected a |not valid JSON"):
        keeping(tmp_path / name)
    assert (tmp_path / name).read_text() == content


def test_tables_of_other_devices_versions_and_threads_have_other_files():
    def path(**changes):
        return keeping(None).keep(dataclasses.replace(table(), **changes), REQUEST.profile, fresh=False)

    found = {
        path(),
        path(device="another"),
        path(runtime={"name": "none", "version": "2"}),
        path(settings={"threads": 2}),
    }
    assert len(found) == 4
    assert path() in found
