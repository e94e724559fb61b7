"""From the sum of parts to whole networks: three factors, fitted on networks that were measured whole.

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
from qedeploy.search.latency.table import Calibration, LatencyTable

Array = NDArray[np.float64]

FEWEST_NETWORKS = 6
"""Networks under which only the scale is fitted."""


def calibrate(table: LatencyTable, profile: Profile) -> LatencyTable:
    """Return `table` with the calibration that its networks ask for; without networks, parts count as they are.

    Relative errors are minimised, by factors of which none is negative. The calibration's error is that of each
    network predicted from the others.
    """
    if not table.networks:
        return dataclasses.replace(table, calibration=Calibration())
    rows = network_terms(table, profile)
    seconds = np.array([network.seconds for network in table.networks])
    used = rows if len(seconds) >= FEWEST_NETWORKS else rows * (1, 0, 0)
    scale, constant, rate = _fitted(used, seconds).tolist()
    error = None
    if len(seconds) > 1:
        others = [np.arange(len(seconds)) != index for index in range(len(seconds))]
        predicted = np.array([used[index] @ _fitted(used[mask], seconds[mask]) for index, mask in enumerate(others)])
        error = float(np.abs(predicted / seconds - 1).mean())
    calibration = Calibration(
        scale=scale, constant=constant, seconds_per_weight_byte=rate, networks=len(seconds), error=error
    )
    return dataclasses.replace(table, calibration=calibration)


def network_terms(table: LatencyTable, profile: Profile) -> Array:
    """Return for each network of `table` the sum of its parts in seconds, 1, and its weight bytes, [networks, 3]."""
    plain = LatencyModel(dataclasses.replace(table, calibration=Calibration()), profile)
    bytes_only = LatencyModel(
        dataclasses.replace(table, calibration=Calibration(scale=0.0, seconds_per_weight_byte=1.0)), profile
    )
    structures = [from_document(network.structure, "latency table") for network in table.networks]
    return np.array([(plain.seconds(one), 1.0, bytes_only.seconds(one)) for one in structures])


def _fitted(rows: Array, seconds: Array) -> Array:
    from scipy.optimize import nnls

    relative = rows / seconds[:, None]
    # Columns differ by twelve orders of magnitude; at one scale the solver's tolerance means the same for each.
    size = np.where(relative.max(axis=0) > 0, relative.max(axis=0), 1.0)
    found: Array = nnls(relative / size, np.ones(len(seconds)))[0] / size
    return found
