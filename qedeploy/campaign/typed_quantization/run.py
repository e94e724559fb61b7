"""From a file and data to a result of a typed runtime; where a folder is named written, and built where that can be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qedeploy.campaign.quantization.documents import WrittenQuantization, source_document
from qedeploy.campaign.quantization.kept import keeping, measured_settings
from qedeploy.campaign.quantization.network_quantization import Progress
from qedeploy.campaign.quantization.run import QuantizationRequest, require_quantizable
from qedeploy.campaign.typed_quantization.documents import write_typed_quantization
from qedeploy.campaign.typed_quantization.finding import TypedQuantization, quantize_typed
from qedeploy.errors import MissingRuntimeError, RequestError
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.sizes import parse_sizes
from qedeploy.profiles.loader import load_profile
from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.base import Artefact, BuildSource
from qedeploy.runtimes.registry import find_runtime
from qedeploy.runtimes.typed import TypedGraphs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinishedTypedQuantization:
    """A quantization and, where a folder was named, its files and what was built of them or one line on why not."""

    found: TypedQuantization
    written: WrittenQuantization | None
    artefact: Artefact | None
    reason: str


def run_typed_quantization(
    request: QuantizationRequest, typed: TypedGraphs, folder: Path | None, progress: Progress
) -> FinishedTypedQuantization:
    """Return what quantizing found, written into `folder` where that is not None.

    Raises UserError for files, sizes or data that cannot be used, RequestError for budgets that cannot be met.
    """
    require_quantizable(request, folder)
    profile = load_profile(request.profile)
    if request.pareto:
        raise RequestError(f"--pareto: expected a profile whose layers are timed here, {typed.label} has none")
    prepared = prepare(request.model, parse_sizes(request.shapes))
    samples = request.load(prepared.inputs)
    settings = measured_settings(prepared, samples, request.options, {"profile": profile.name})
    with keeping(folder, settings) as kept:
        found = quantize_typed(prepared, samples, profile, typed, request.options, progress, kept)
    if folder is None:
        return FinishedTypedQuantization(found=found, written=None, artefact=None, reason="")
    source = source_document(request.model, request.data, len(samples), profile.name)
    written = write_typed_quantization(found, folder, request.options, source)
    progress("building", 0, 1)
    artefact, reason = _build(written.model, profile)
    progress("building", 1, 1)
    return FinishedTypedQuantization(found=found, written=written, artefact=artefact, reason=reason)


def _build(model: Path, profile: Profile) -> tuple[Artefact | None, str]:
    """Return what the runtime builds of the file, or one line on why this machine builds nothing."""
    runtime = find_runtime(profile.runtime)
    try:
        return runtime.build(BuildSource(model=model, profile=profile), runtime.artefact_path(model), {}, None), ""
    except MissingRuntimeError as error:
        return None, str(error)
