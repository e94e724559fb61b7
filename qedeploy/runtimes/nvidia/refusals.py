"""Why TensorRT refuses a plan: it returns nothing and logs a reason, which is put here into a user's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from qedeploy.errors import MissingRuntimeError, RequestError, UserError
from qedeploy.runtimes.nvidia.messages import speaks_of_memory
from qedeploy.runtimes.nvidia.product import TENSORRT

_REBUILD = "build it again here with qedeploy export"

_REFUSALS: tuple[tuple[re.Pattern[str], type[UserError], str], ...] = (
    (
        re.compile(r"magic ?tag", re.IGNORECASE),
        UserError,
        "not a {label} plan, or one of another system or of NVIDIA's other runtime",
    ),
    (
        re.compile(r"expecting library version (?P<here>[\w.]+) got (?P<plan>[\w.]+)"),
        MissingRuntimeError,
        "built by {label} {plan}, this machine has {here}",
    ),
    (
        re.compile(r"expecting compute (?P<here>[\w.]+) got compute (?P<plan>[\w.]+)"),
        MissingRuntimeError,
        "built for compute capability {plan}, this GPU has {here}",
    ),
    (
        re.compile(r"not compatible with this version|incompatible serialization version|major version", re.IGNORECASE),
        MissingRuntimeError,
        "built by another {label} than the {version} of this machine",
    ),
    (
        re.compile(
            r"incompatible device|multiprocessors|Expected compute capability|platform specific tag", re.IGNORECASE
        ),
        MissingRuntimeError,
        "built for another GPU than this machine's",
    ),
    (
        re.compile(r"header\.size|blobSize|empty memory buffer|unexpected end|truncat", re.IGNORECASE),
        UserError,
        "cut short; copy it again",
    ),
)
"""What the log says, the error it is, and its sentence. The texts are strings of the 11.4 library."""

_NO_DRIVER = re.compile(r"cudaError 35|CUDA driver version|initialization (?:failure|error)", re.IGNORECASE)


def refusal(plan: Path, errors: Sequence[str], version: str, label: str = TENSORRT.label) -> UserError:
    """Return the error for a plan that `version` of the product `label` did not load and logged `errors` about.

    A reason that is not known comes back in TensorRT's own words.
    """
    said = "; ".join(errors)
    if speaks_of_memory(errors):
        return RequestError(f"{plan}: out of GPU memory while loading it: free the GPU, or build a smaller --batch")
    for pattern, kind, sentence in _REFUSALS:
        found = pattern.search(said)
        if found:
            return kind(f"{plan}: {sentence.format(version=version, label=label, **found.groupdict())}: {_REBUILD}")
    if _NO_DRIVER.search(said):
        return MissingRuntimeError(f"{plan}: no usable NVIDIA driver ({errors[0]}): check nvidia-smi")
    return UserError(f"{plan}: {label} {version} does not load it: {said or 'it gave no reason'}: {_REBUILD}")
