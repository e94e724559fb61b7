"""The journal of a measurement: nothing finished is lost, nothing half-written counts."""

from __future__ import annotations

import json

import pytest

from qedeploy.campaign.jobs import JobResult, MeasuredCase
from qedeploy.campaign.journal import Entry, Journal
from qedeploy.errors import UserError
from qedeploy.export.benchmark_cases import BenchmarkCase
from tests.campaign.test_jobs import STEM, TAIL, block

SETTINGS = {"threads": 1, "machine": "x"}


def entry(*cases):
    measured = tuple(MeasuredCase(key=one.key, ratios=(1.0, 1.5), parts={"stem": 0.5}) for one in cases)
    result = JobResult(
        measured=measured,
        failures={"abc": "why"},
        reference_seconds=1e-4,
        machine={"cpu": "x", "packages": [{"name": "a", "version": "1"}]},
        runtime={"name": "none"},
    )
    return Entry(cases=cases, result=result)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "deep" / "j.jsonl", SETTINGS)


def test_what_was_finished_is_read_again(journal):
    assert journal.read() == []
    entries = [entry(STEM, TAIL), entry(block()), entry(BenchmarkCase(structure=STEM.structure))]
    for one in entries:
        journal.append(one)
    assert Journal(journal.path, SETTINGS).read() == entries


def test_a_line_that_was_cut_short_does_not_count_and_does_not_spoil_the_next(journal):
    journal.append(entry(STEM))
    journal.append(entry(TAIL))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-40])
    assert journal.read() == [entry(STEM)]
    journal.append(entry(block()))
    assert journal.read() == [entry(STEM), entry(block())]


def test_a_cut_first_line_is_no_reason_to_fail(journal):
    journal.append(entry(STEM))
    journal.path.write_bytes(journal.path.read_bytes()[:10])
    assert journal.read() == []
    journal.append(entry(STEM))
    assert journal.read() == [entry(STEM)]


def test_another_measurements_journal_is_refused_by_what_differs(journal):
    journal.append(entry(STEM))
    with pytest.raises(UserError, match=r"with threads 1 instead of 2: repeat those settings, or add --fresh"):
        Journal(journal.path, {**SETTINGS, "threads": 2}).read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n{}\n", "line 1 is none of the measurements"),
        (b'{"format": "other"}\n', "expected measurements that"),
        (b"[1]\n", "line 1 is none of the measurements"),
        (b"\xff\xfe\n", "not UTF-8"),
    ],
)
def test_a_foreign_file_is_refused(journal, content, message):
    journal.path.parent.mkdir()
    journal.path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        journal.read()


def test_a_changed_line_is_refused(journal):
    journal.append(entry(STEM))
    journal.append(entry(TAIL))
    lines = journal.path.read_text().splitlines()
    lines[1] = json.dumps({"subjects": []})
    journal.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"measurements are incomplete.*--fresh"):
        journal.read()
    journal.remove()
    assert journal.read() == []
