"""Made-up latency tables of this machine for networks of the tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import onnxruntime

from qedeploy.bench.measure.machine import describe_machine
from qedeploy.bench.prediction.expected import Expectation
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import LatencyTable, TablePoint, write_table
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure import Structure
from qedeploy.profiles.loader import load_profile
from qedeploy.runtimes.runner import NodeTime, ProfiledRun

PROFILE = load_profile("cpu-int8")
MULTIPLE = 16


def table_for(structure: Structure, **changes: Any) -> LatencyTable:
    """Return a table of this machine with a point of 10 us for each shape of `structure`."""
    # Whatever else runs here while the tests do.
    machine = dataclasses.replace(describe_machine(), load=None)
    table = LatencyTable(
        profile=PROFILE.name,
        device=machine.cpu,
        runtime={"name": "ONNX Runtime", "version": onnxruntime.__version__, "device": "CPU"},
        settings={"threads": 1, "batch": 1},
        points=tuple(
            TablePoint(shape=shape, seconds=1e-5)
            for shape in dict.fromkeys(shapes_of(structure_graph(structure), MULTIPLE).values())
        ),
        machine=dataclasses.asdict(machine),
        date="2026-11-20T12:00:00+00:00",
        reference_seconds=1e-4,
        bottleneck_multiple=MULTIPLE,
    )
    return dataclasses.replace(table, **changes)


def expectation_of(structure: Structure, table: LatencyTable, path: Path = Path("table.json")) -> Expectation:
    """Return what `table`, which is written to `path` where that has a folder, leads one to expect of `structure`."""
    if path.is_absolute():
        write_table(path, table)
    return Expectation(
        path=path,
        table=table,
        profile=PROFILE,
        graph=structure_graph(structure),
        layers=LatencyModel(table, PROFILE).seconds_by_layer(structure_graph(structure)),
        differences=(),
        beyond=(),
    )


def profile_of(structure: Structure, seconds: float) -> ProfiledRun:
    """Return a profiled pass with one node of `seconds` for each part of `structure`."""
    names = shapes_of(structure_graph(structure), 1)
    nodes = tuple(NodeTime(name=name, op_type="QLinearConv", seconds=seconds) for name in names)
    whole = seconds * len(nodes)
    return ProfiledRun(nodes=nodes, inside=whole, whole=whole, queries=100)
