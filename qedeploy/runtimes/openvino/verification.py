"""Whether OpenVINO's kernels compute a plan: each block as a model of its own, on the plan's integers.

The whole network would not tell: an integer that lands on the other side of a rounding boundary changes what follows,
and an untrained network of few bits makes percents of the logits out of one. So blocks are compared, output integer
by integer, and for the whole the change is set beside that by the last bits of float32 before each rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from qedeploy.network.operations import IMAGE
from qedeploy.qdq import simulation
from qedeploy.qdq.dialect import Dialect
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import Grid
from qedeploy.qdq.writer import FRAGMENT_INPUT, block_of, write_fragment, write_model
from qedeploy.runtimes.execution import ExecutionCheck
from qedeploy.runtimes.openvino.session import compile_model, query

_LAST_BITS = 2.0**-22
"""What a product and a sum in float32 may move a value, as a share of it."""


def verify(network: LoweredNetwork, dialect: Dialect, images: Tensor, version: str) -> ExecutionCheck:
    """Return what comparing OpenVINO with `network` on `images` (batch, channels, height, width) found."""
    grids = network.plan.grids()
    made = {step.name: value for step, value in simulation.run(network, images)}
    made[IMAGE] = images.to(torch.float64)
    values = differing = largest = 0
    worst, worst_share, float_error = "", 0.0, 0.0
    steps = network.graph.operations
    for block in dict.fromkeys(block_of(step) for step in steps):
        own = [step for step in steps if block_of(step) == block]
        model = write_fragment(network, dialect, [block]).SerializeToString()
        fed = _on_grid(made[own[0].inputs[0]], grids.get(own[0].inputs[0])).to(torch.float32).numpy()
        found = torch.from_numpy(query(compile_model(model, 1), {FRAGMENT_INPUT: fed})[0]).to(torch.float64)
        expected, grid = made[own[-1].name], grids.get(own[-1].name)
        if grid is None:
            scale = float(expected.abs().max()) or 1.0
            float_error = max(float_error, float((found - expected).abs().max()) / scale)
            continue
        off = (torch.round(found / grid.step) - simulation.quantize(expected, grid)).abs()
        wrong = int(torch.count_nonzero(off))
        values, differing, largest = values + off.numel(), differing + wrong, max(largest, int(off.max()))
        if wrong / off.numel() > worst_share:
            worst, worst_share = block, wrong / off.numel()
    logits, nudged, agreement = _whole(network, dialect, images, made[steps[-1].name])
    return ExecutionCheck(
        runtime=version,
        images=len(images),
        values=values,
        differing=differing,
        largest=largest,
        worst=worst,
        worst_share=worst_share,
        float_error=float_error,
        logits=logits,
        nudged=nudged,
        top1_agreement=agreement,
    )


def _whole(network: LoweredNetwork, dialect: Dialect, images: Tensor, expected: Tensor) -> tuple[float, float, float]:
    feeds: Mapping[str, np.ndarray] = {IMAGE: images.to(torch.float32).numpy()}
    model = write_model(network, dialect).model.SerializeToString()
    found = torch.from_numpy(query(compile_model(model, 1), feeds)[0]).to(torch.float64)
    nudged = _nudged(network, images)
    deviation = float(expected.std()) or 1.0
    agreement = float((found.argmax(dim=1) == expected.argmax(dim=1)).to(torch.float64).mean())
    return _rms(found - expected) / deviation, _rms(nudged - expected) / deviation, agreement


def _nudged(network: LoweredNetwork, images: Tensor) -> Tensor:
    """Return the plan's logits where every value is moved by a last bit or not, at random, before it is rounded."""
    grids, generator = network.plan.grids(), torch.Generator().manual_seed(0)

    def moved(value: Tensor) -> Tensor:
        return value * (1 + _LAST_BITS * (2 * torch.rand(value.shape, generator=generator, dtype=torch.float64) - 1))

    value = moved(images.to(torch.float64))
    readings = {IMAGE: simulation.read(value, grids.get(IMAGE))}
    for step in network.graph.operations:
        inputs = [readings[name] for name in step.inputs]
        value = moved(simulation.execute(step, inputs, network.layers.get(step.name)))
        readings[step.name] = simulation.read(value, grids.get(step.name))
    return value


def _on_grid(value: Tensor, grid: Grid | None) -> Tensor:
    return value if grid is None else simulation.quantize(value, grid).to(torch.float64) * grid.step


def _rms(difference: Tensor) -> float:
    return float(difference.pow(2).mean().sqrt())
