"""From the sum of parts to whole networks: a few factors, fitted on networks that were measured whole.

Parts are measured alone, their weights in the nearest cache. In a network every layer finds the cache full of the
others, and a query has a cost of its own.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import Calibration, LatencyTable, Part
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure_file import from_document
from qedeploy.profiles.profile import Profile

Array = NDArray[np.float64]

FEWEST_NETWORKS = 6
"""Networks under which only the scale is fitted."""

ENOUGH_NETWORKS = 24
"""Networks from which on the parts that most of a network consists of may have scales of their own."""

OWN_SCALES = (Part.POINTWISE, Part.DEPTHWISE, Part.SHORTCUT)


def fit_calibration(table: LatencyTable, profile: Profile) -> LatencyTable:
    """Return `table` with the calibration that its networks ask for; without networks, parts count as they are.

    Relative errors are minimised, by factors of which none is negative. The calibration's error is that of each
    network predicted from the others, and decides whether parts have scales of their own; stem, head and classifier
    then count as they were measured alone, since no network tells what all of them have from a constant.
    """
    if not table.networks:
        return dataclasses.replace(table, calibration=Calibration())
    rows = network_terms(table, profile)
    seconds = np.array([network.seconds for network in table.networks])
    own, others, rest = np.split(rows, [len(OWN_SCALES), len(OWN_SCALES) + 1], axis=1)
    together = np.column_stack([own.sum(axis=1) + others[:, 0], rest])
    if len(seconds) < FEWEST_NETWORKS:
        together[:, 1:] = 0
    scale, constant, rate = _fitted(together, seconds).tolist()
    found = Calibration(
        scale=scale,
        constant=constant,
        seconds_per_weight_byte=rate,
        networks=len(seconds),
        error=_error(together, seconds, np.zeros_like(seconds)),
    )
    if len(seconds) >= ENOUGH_NETWORKS:
        apart, alone = np.column_stack([own, rest]), others[:, 0]
        error = _error(apart, seconds, alone)
        if error is not None and found.error is not None and error < found.error:
            *scales, constant, rate = _fitted(apart, seconds, alone).tolist()
            found = Calibration(
                constant=constant,
                seconds_per_weight_byte=rate,
                part_scales=dict(zip(OWN_SCALES, scales, strict=True)),
                networks=len(seconds),
                error=error,
            )
    return dataclasses.replace(table, calibration=found)


def network_terms(table: LatencyTable, profile: Profile) -> Array:
    """Return what the factors multiply, a row for each network of `table`.

    Columns: seconds of the parts of each of OWN_SCALES, of all others, 1, and weight bytes.
    """
    plain = LatencyModel(dataclasses.replace(table, calibration=Calibration()), profile)
    bytes_only = LatencyModel(
        dataclasses.replace(table, calibration=Calibration(scale=0.0, seconds_per_weight_byte=1.0)), profile
    )
    rows = []
    for network in table.networks:
        graph = structure_graph(from_document(network.structure, "latency table"))
        seconds = dict.fromkeys((*OWN_SCALES, None), 0.0)
        for shape in shapes_of(graph, table.bottleneck_multiple).values():
            seconds[shape.part if shape.part in OWN_SCALES else None] += plain.shape_seconds(shape)
        rows.append((*seconds.values(), 1.0, bytes_only.seconds(graph)))
    return np.array(rows)


def _error(rows: Array, seconds: Array, fixed: Array) -> float | None:
    """Return the mean absolute percentage error of networks, each predicted from the others; None for a single one."""
    count = len(seconds)
    if count == 1:
        return None
    others = [np.arange(count) != index for index in range(count)]
    predicted = fixed + [
        rows[index] @ _fitted(rows[mask], seconds[mask], fixed[mask]) for index, mask in enumerate(others)
    ]
    return float(np.abs(predicted / seconds - 1).mean())


def _fitted(rows: Array, seconds: Array, fixed: Array | float = 0.0) -> Array:
    """Return the factors of `rows` that come closest to `seconds` behind what is `fixed` in them."""
    from scipy.optimize import nnls

    relative = rows / seconds[:, None]
    # Columns differ by twelve orders of magnitude; at one scale the solver's tolerance means the same for each.
    size = np.where(relative.max(axis=0) > 0, relative.max(axis=0), 1.0)
    found: Array = nnls(relative / size, 1.0 - fixed / seconds)[0] / size
    return found
