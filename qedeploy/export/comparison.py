"""Proof that a written graph computes its plan: every layer on the runtime's own inputs, integer for integer.

The runtime's integers of every quantized value are read out of a copy of the graph; PyTorch then computes each
operation from the inputs that the runtime gave it, so that an error is charged to the layer that made it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from qedeploy.errors import UserError
from qedeploy.network.operations import IMAGE
from qedeploy.qdq import simulation
from qedeploy.qdq.dialect import EXACT, Rounding
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import Grid
from qedeploy.qdq.simulation import Reading
from qedeploy.qdq.writer import LOGITS, WrittenModel
from qedeploy.runtimes.base import Evaluator
from qedeploy.runtimes.registry import reference

DIFFERING_SHARE = EXACT.share
"""Largest share of a layer's values that may differ by the one step of a sum on a rounding boundary."""

CHECKED_IMAGES = 4
"""Images on which every layer is compared: a million values of most layers."""

_CHUNK = 4


class DifferenceError(UserError):
    """An exported graph that does not compute its plan: a fault of qedeploy or of the runtime (exit code 1)."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueCheck:
    """One value of the network, compared over `values` numbers.

    Quantized: `differing` of them are not the same integer, by `largest` steps at most. Floating point: `largest` is
    the largest difference as a share of the value's largest magnitude, and `differing` counts those over tolerance.
    `allowed_share` is how many of the integers may differ by the one step of a sum on a rounding boundary.
    """

    name: str
    quantized: bool
    values: int
    differing: int
    largest: float
    allowed_share: float = DIFFERING_SHARE

    @property
    def passed(self) -> bool:
        """Whether the differences are rounding; a single value never fails a layer by its share."""
        if not self.quantized:
            return self.differing == 0
        return self.largest <= 1 and self.differing <= max(1, self.allowed_share * self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was compared on how many images, with the runtime that ran the graph.

    `logit_difference` is the largest between runtime and PyTorch end to end, in the logits' own units, and
    `logit_range` their largest magnitude; `top1_agreement` is a share of the images.
    """

    runtime: str
    images: int
    checks: tuple[ValueCheck, ...]
    logit_difference: float
    logit_range: float
    top1_agreement: float

    @property
    def passed(self) -> bool:
        """Whether every value passed."""
        return all(check.passed for check in self.checks)

    @property
    def values(self) -> int:
        """Number of integers compared."""
        return sum(check.values for check in self.checks if check.quantized)

    @property
    def differing(self) -> int:
        """Number of integers that are not the same."""
        return sum(check.differing for check in self.checks if check.quantized)


def compare_with_pytorch(
    network: LoweredNetwork,
    written: WrittenModel,
    images: Tensor,
    expected: Tensor,
    *,
    float_tolerance: float,
    rounding: Rounding = EXACT,
    exact: bool = True,
) -> Comparison:
    """Compare `written`, run literally, with PyTorch's run of the same plan on `images`; raises no error for a failure.

    It runs with products that are `exact` on every processor, or else as a user's own session does.

    Layers are compared on the first CHECKED_IMAGES, logits on all. `expected`: the logits of `reference.run` on the
    same images, (batch, classes). `rounding` says by how much the graph's own floating-point type may
    change the integers.
    """
    runtime = reference()
    evaluator = runtime.exact if exact else runtime.evaluator
    exposed = evaluator(_exposed(network, written).SerializeToString(), rounding.optimize)
    plain = evaluator(_open_batch(written.model).SerializeToString(), rounding.optimize)
    counts: dict[str, list[ValueCheck]] = {}
    logits = []
    for index, chunk in enumerate(torch.split(images.to(torch.float32), _CHUNK)):
        feed = {IMAGE: chunk.numpy()}
        logits.append(plain(feed)[LOGITS])
        if index * _CHUNK >= CHECKED_IMAGES:
            continue
        outputs = exposed(feed)
        if rounding is EXACT and not np.array_equal(logits[-1], outputs[LOGITS]):
            raise DifferenceError("reading layers' values out of the graph changed its result; please report this")
        for check in _check_chunk(network, written, chunk, outputs, float_tolerance):
            counts.setdefault(check.name, []).append(dataclasses.replace(check, allowed_share=rounding.share))
    _require_same_in_fixed_batch(written.model, images, logits[0], lambda model: evaluator(model, rounding.optimize))
    found = torch.from_numpy(np.concatenate(logits)).to(torch.float64)
    return Comparison(
        runtime=runtime.version(),
        images=len(images),
        checks=tuple(_merged(checks) for checks in counts.values()),
        logit_difference=float((found - expected).abs().max()),
        logit_range=float(expected.abs().max()),
        top1_agreement=top1_agreement(found, expected),
    )


def require_passed(comparison: Comparison) -> None:
    """Raise DifferenceError, naming the worst layer, where `comparison` did not pass."""
    failed = [check for check in comparison.checks if not check.passed]
    if failed:
        worst = max(failed, key=lambda check: (check.largest, check.differing))
        unit = "steps" if worst.quantized else "of its largest value"
        raise DifferenceError(
            f"{worst.name}: {comparison.runtime} differs from PyTorch by up to {worst.largest:g} {unit} in "
            f"{worst.differing} of {worst.values} values ({len(failed)} layers differ); nothing was written"
        )


def top1_agreement(first: Tensor, second: Tensor) -> float:
    """Return the share of images on which two sets of logits (batch, classes) have the same largest class."""
    return float((first.argmax(dim=1) == second.argmax(dim=1)).to(torch.float64).mean())


def _open_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` with an open batch, so that memory does not grow with the fixed one."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for item in (*copy.graph.input, *copy.graph.output):
        item.type.tensor_type.shape.dim[0].dim_param = "batch"
    return copy


def _require_same_in_fixed_batch(
    model: onnx.ModelProto, images: Tensor, logits: np.ndarray, opened: Callable[[bytes], Evaluator]
) -> None:
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    if not batch:
        return
    chosen = np.arange(batch) % min(len(images), len(logits))
    run = opened(model.SerializeToString())
    found = run({IMAGE: images.to(torch.float32).numpy()[chosen]})[LOGITS]
    if not np.allclose(found, logits[chosen], rtol=1e-5, atol=1e-6 * float(np.abs(logits).max())):
        raise DifferenceError(f"with its batch fixed to {batch} the graph computes something else; nothing was written")


def _exposed(network: LoweredNetwork, written: WrittenModel) -> onnx.ModelProto:
    model = _open_batch(written.model)
    names = {name for name in _tensors(network, written).values() if name not in {LOGITS, IMAGE}}
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {item.name: item for item in inferred.graph.value_info}
    model.graph.output.extend(types[name] for name in sorted(names))
    return model


def _tensors(network: LoweredNetwork, written: WrittenModel) -> Mapping[str, str]:
    """Return the graph's tensor for each value: its integers where it is quantized, else the value itself."""
    found = {}
    for name in (IMAGE, *(step.name for step in network.graph.operations)):
        quantized = written.quantized.get(name)
        integers = quantized.integers if quantized is not None else None
        found[name] = integers if integers is not None else written.values[name]
    return found


def _check_chunk(
    network: LoweredNetwork,
    written: WrittenModel,
    images: Tensor,
    outputs: Mapping[str, np.ndarray],
    float_tolerance: float,
) -> list[ValueCheck]:
    grids = network.plan.grids()
    tensors = _tensors(network, written)

    def reading(name: str) -> Reading:
        if tensors[name] == IMAGE:
            return Reading(numbers=images.to(torch.float64))
        numbers = torch.from_numpy(outputs[tensors[name]])
        quantized = written.quantized.get(name)
        if quantized is None or name not in grids:
            return Reading(numbers=numbers.to(torch.float64))
        return Reading(numbers=numbers.to(torch.float32) - quantized.zero_point, step=grids[name].step)

    checks = []
    if IMAGE in grids:
        checks.append(_compare(IMAGE, images.to(torch.float64), reading(IMAGE), grids[IMAGE], float_tolerance))
    for step in network.graph.operations:
        value = simulation.execute(step, [reading(name) for name in step.inputs], network.layers.get(step.name))
        checks.append(_compare(step.name, value, reading(step.name), grids.get(step.name), float_tolerance))
    return checks


def _compare(name: str, value: Tensor, found: Reading, grid: Grid | None, tolerance: float) -> ValueCheck:
    if grid is not None:
        steps = (simulation.quantize(value, grid) - found.numbers).abs()
        return ValueCheck(
            name=name,
            quantized=True,
            values=steps.numel(),
            differing=int(torch.count_nonzero(steps)),
            largest=float(steps.max()),
        )
    scale = float(value.abs().max()) or 1.0
    shares = (value - found.numbers).abs() / scale
    return ValueCheck(
        name=name,
        quantized=False,
        values=shares.numel(),
        differing=int(torch.count_nonzero(~(shares <= tolerance))),
        largest=float(shares.max()),
    )


def _merged(checks: Sequence[ValueCheck]) -> ValueCheck:
    return ValueCheck(
        name=checks[0].name,
        quantized=checks[0].quantized,
        values=sum(check.values for check in checks),
        differing=sum(check.differing for check in checks),
        largest=max(check.largest for check in checks),
        allowed_share=checks[0].allowed_share,
    )
