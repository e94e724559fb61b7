"""`quantize` of an ONNX file for any profile: in the way that its runtime can be served."""

from __future__ import annotations

from pathlib import Path

from qedeploy.campaign.quantization.network_quantization import Progress
from qedeploy.campaign.quantization.run import FinishedQuantization, QuantizationRequest, run_quantization
from qedeploy.campaign.typed_quantization.run import FinishedTypedQuantization, run_typed_quantization
from qedeploy.errors import RequestError
from qedeploy.profiles.loader import load_profile
from qedeploy.runtimes.registry import find_runtime, runtimes


def quantize_file(
    request: QuantizationRequest, folder: Path | None, progress: Progress
) -> FinishedQuantization | FinishedTypedQuantization:
    """Return what quantizing found, written into `folder` where that is not None.

    By measured time where the profile's runtime executes and times networks here, by executed BitOps and bytes where it
    computes in the types of the graph. Raises RequestError for a profile whose runtime is neither, and what the two do.
    """
    profile = load_profile(request.profile)
    profile.require_runtime()
    runtime = find_runtime(profile.runtime)
    if runtime.mixed is not None:
        return run_quantization(request, runtime.mixed, folder, progress)
    typed = runtime.typed_graphs()
    if typed is not None:
        return run_typed_quantization(request, typed, folder, progress)
    able = ", ".join(item.name for item in runtimes() if item.mixed is not None or item.typed_graphs() is not None)
    raise RequestError(
        f"profile {profile.name}: quantize does not write for {runtime.label} yet, only for: {able}; cpu-int8 is such "
        "a profile"
    )
