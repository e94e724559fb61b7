"""Proof that a .tflite file computes its plan: every integer of LiteRT's reference kernels, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from qedeploy.errors import UserError
from qedeploy.network.operations import IMAGE
from qedeploy.qdq import simulation
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.one_thread import one_thread
from qedeploy.qdq.simulation import Reading
from qedeploy.runtimes.litert.arithmetic import compute
from qedeploy.runtimes.litert.interpreter import load
from qedeploy.runtimes.litert.program import Program
from qedeploy.runtimes.litert.verified import Verification
from qedeploy.runtimes.litert.zero_points import zero_point

_IMAGES = 2


class WrongIntegersError(UserError):
    """A file that does not compute its plan: a fault of qedeploy or of the runtime (exit code 1)."""

    exit_code = 1


def verify(network: LoweredNetwork, program: Program, content: bytes) -> Verification:
    """Return what comparing the file `content` with `network` found.

    Raises WrongIntegersError naming the operator with an integer that is not LiteRT's arithmetic, or is more than a
    step off the plan.
    """
    with one_thread():
        return _verify(network, program, content)


def _verify(network: LoweredNetwork, program: Program, content: bytes) -> Verification:
    interpreter = load(content, preserve=True, reference=True)
    details = {item["name"]: item["index"] for item in interpreter.get_tensor_details()}
    batch = program.tensors[program.source].shape[0]
    images = random_images(network.graph.input, max(_IMAGES, batch), 0)
    grid = network.plan.grids()[IMAGE]
    integers = values = one_step = 0
    for start in range(0, len(images) - batch + 1, batch):
        numbers = simulation.quantize(images[start : start + batch].to(torch.float64), grid).numpy()
        interpreter.set_tensor(
            details[program.source], (numbers + zero_point(grid)).astype(np.int8).transpose(0, 2, 3, 1)
        )
        interpreter.invoke()
        found = {
            tensor.name: interpreter.get_tensor(details[tensor.name])
            for tensor in program.tensors.values()
            if tensor.data is None
        }
        integers += _compare_arithmetic(program, found)
        compared, differing = _compare_plan(network, program, found)
        values, one_step = values + compared, one_step + differing
    return Verification(images=len(images) // batch * batch, integers=integers, values=values, one_step=one_step)


def _compare_arithmetic(program: Program, found: Mapping[str, NDArray[Any]]) -> int:
    count = 0
    for call in program.calls:
        made = found[call.output]
        wrong = int(np.count_nonzero(compute(program, call, found) != made))
        count += made.size
        if wrong:
            raise WrongIntegersError(
                f"{call.output}: LiteRT's reference kernels give {wrong} of {made.size} integers that its "
                "documented arithmetic does not; no .tflite file was written: please report this"
            )
    return count


def _compare_plan(network: LoweredNetwork, program: Program, found: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    grids = network.plan.grids()

    def reading(name: str) -> Reading:
        tensor = program.tensors[program.values[name]]
        numbers = found[tensor.name].astype(np.float32) - tensor.zero_point
        return Reading(numbers=torch.from_numpy(numbers.transpose(0, 3, 1, 2).copy()), step=grids[name].step)

    values = differing = 0
    for step in network.graph.operations:
        exact = simulation.execute(step, [reading(name) for name in step.inputs], network.layers.get(step.name))
        numbers = reading(step.name).numbers
        distance = (simulation.quantize(exact, grids[step.name]).reshape(numbers.shape) - numbers).abs()
        if distance.max() > 1:
            raise WrongIntegersError(
                f"{step.name}: LiteRT differs from PyTorch by {int(distance.max())} steps; no .tflite file was "
                "written: please report this"
            )
        values, differing = values + distance.numel(), differing + int(torch.count_nonzero(distance))
    return values, differing
