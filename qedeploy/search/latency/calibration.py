"""From the sum of parts to whole networks: a few factors, fitted on networks that were measured whole.

Parts are measured alone, their weights in the nearest cache. In a network every layer finds the cache full of the
others, and a query has a cost of its own.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from qedeploy.network.document import from_document
from qedeploy.profiles.profile import Profile
from qedeploy.search.latency.model import LatencyModel
from qedeploy.search.latency.shapes import shapes_of
from qedeploy.search.latency.table import Calibration, LatencyTable, Part

Array = NDArray[np.float64]

FEWEST_NETWORKS = 6
"""Networks under which only the scale is fitted."""

ENOUGH_NETWORKS = 24
"""Networks from which on the parts that most of a network consists of may have scales of their own."""

OWN_SCALES = (Part.POINTWISE, Part.DEPTHWISE, Part.SHORTCUT)


def calibrate(table: LatencyTable, profile: Profile) -> LatencyTable:
    """Return `table` with the calibration that its networks ask for; without networks, parts count as they are.

    Relative errors are minimised, by factors of which none is negative. The calibration's error is that of each
    network predicted from the others, and decides whether parts have scales of their own.
    """
    if not table.networks:
        return dataclasses.replace(table, calibration=Calibration())
    rows = network_terms(table, profile)
    seconds = np.array([network.seconds for network in table.networks])
    own = len(OWN_SCALES)
    together = np.column_stack([rows[:, : own + 1].sum(axis=1), rows[:, own + 1 :]])
    if len(seconds) < FEWEST_NETWORKS:
        together[:, 1:] = 0
    scale, constant, rate = _fitted(together, seconds).tolist()
    found = Calibration(
        scale=scale,
        constant=constant,
        seconds_per_weight_byte=rate,
        networks=len(seconds),
        error=_error(together, seconds),
    )
    if len(seconds) >= ENOUGH_NETWORKS:
        error = _error(rows, seconds)
        if error is not None and found.error is not None and error < found.error:
            *scales, scale, constant, rate = _fitted(rows, seconds).tolist()
            found = Calibration(
                scale=scale,
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
        structure = from_document(network.structure, "latency table")
        seconds = dict.fromkeys((*OWN_SCALES, None), 0.0)
        for shape in shapes_of(structure, table.bottleneck_multiple).values():
            seconds[shape.part if shape.part in OWN_SCALES else None] += plain.shape_seconds(shape)
        rows.append((*seconds.values(), 1.0, bytes_only.seconds(structure)))
    return np.array(rows)


def _error(rows: Array, seconds: Array) -> float | None:
    """Return the mean absolute percentage error of networks, each predicted from the others; None for a single one."""
    count = len(seconds)
    if count == 1:
        return None
    others = [np.arange(count) != index for index in range(count)]
    predicted = np.array([rows[index] @ _fitted(rows[mask], seconds[mask]) for index, mask in enumerate(others)])
    return float(np.abs(predicted / seconds - 1).mean())


def _fitted(rows: Array, seconds: Array) -> Array:
    from scipy.optimize import nnls

    relative = rows / seconds[:, None]
    # Columns differ by twelve orders of magnitude; at one scale the solver's tolerance means the same for each.
    size = np.where(relative.max(axis=0) > 0, relative.max(axis=0), 1.0)
    found: Array = nnls(relative / size, np.ones(len(seconds)))[0] / size
    return found
