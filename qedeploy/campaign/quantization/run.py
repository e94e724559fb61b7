"""`quantize` as one call: from a file and a folder to a result, written where a folder is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qedeploy.campaign.quantization.documents import WrittenQuantization, source_document, write_quantization
from qedeploy.campaign.quantization.kept import keeping, measured_settings
from qedeploy.campaign.quantization.network_quantization import Progress, Quantization, quantize_network
from qedeploy.campaign.quantization.request import QuantizationOptions
from qedeploy.errors import UserError
from qedeploy.export.onnx_networks.data import InMemory, Sample, load_samples
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.quantizer import WEIGHT_LIMITS
from qedeploy.export.onnx_networks.sizes import parse_sizes
from qedeploy.model.image_settings import ImageSettings
from qedeploy.network.layers import LayerCategory
from qedeploy.profiles.loader import load_profile
from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.mixed import MixedExecution
from qedeploy.search.assign.front import AssignmentFront, enumerate_front
from qedeploy.search.assign.problem import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationRequest:
    """What to quantize, for what device, on what data; `shapes` are texts of --shape, `settings` those of images."""

    model: Path
    profile: str
    data: Path | InMemory
    shapes: Sequence[str] = ()
    settings: ImageSettings = field(default_factory=ImageSettings)
    options: QuantizationOptions = field(default_factory=QuantizationOptions)
    pareto: bool = False

    def load(self, inputs: Mapping[str, tuple[int, ...]]) -> tuple[Sample, ...]:
        """Return the samples for a network with `inputs` of such shapes; raises UserError for data that do not fit."""
        if isinstance(self.data, InMemory):
            return self.data.samples
        return load_samples(self.data, inputs, self.options.samples, self.settings)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinishedQuantization:
    """A quantization, its front where that was asked for, and its files where a folder was named."""

    found: Quantization
    front: AssignmentFront | None
    written: WrittenQuantization | None


def require_quantizable(request: QuantizationRequest, folder: Path | None) -> None:
    """Raise UserError for a model that is no ONNX file, or a `folder` that is a file."""
    if request.model.suffix.lower() in {".pth", ".pt"}:
        raise UserError(
            f"{request.model}: expected an ONNX file, found a PyTorch checkpoint: of qedeploy's own, "
            "`api.assign_widths` chooses the widths; export any other with torch.onnx.export"
        )
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder to write to, found a file: choose another --out")


def run_quantization(
    request: QuantizationRequest, mixed: MixedExecution, folder: Path | None, progress: Progress
) -> FinishedQuantization:
    """Return what quantizing found, written into `folder` where that is not None.

    `mixed` is the execution of the profile's runtime. Raises UserError for files, sizes or data that cannot be used,
    RequestError for budgets that cannot be met.
    """
    require_quantizable(request, folder)
    profile = load_profile(request.profile)
    # The data are looked at last, since their shapes are the network's.
    prepared = prepare(request.model, parse_sizes(request.shapes))
    samples = request.load(prepared.inputs)
    execution = dataclasses.replace(mixed, precisions=lambda: _precisions(profile, mixed))
    settings = measured_settings(prepared, samples, request.options, {"precisions": list(execution.precisions())})
    with keeping(folder, settings) as kept:
        found = quantize_network(prepared, samples, execution, request.options, progress, kept)
    front = enumerate_front(found.problem, Limits()) if request.pareto else None
    written = None
    if folder is not None:
        source: Mapping[str, Any] = source_document(request.model, request.data, len(samples), profile.name)
        written = write_quantization(found, folder, request.options, source, front)
    return FinishedQuantization(found=found, front=front, written=written)


def _precisions(profile: Profile, execution: MixedExecution) -> tuple[str, ...]:
    """Return the precisions that this machine computes exactly, or where the profile has none of them, the profile's.

    So a file for processors without VNNI can be made on one that has it.
    """
    pairs = {str(pair) for pair in profile.pairs(LayerCategory.POINTWISE)}
    here = tuple(item for item in execution.precisions() if item in pairs)
    native = (str(pair) for pair in profile.native_pairs(LayerCategory.POINTWISE))
    return here or tuple(item for item in native if item in WEIGHT_LIMITS)
