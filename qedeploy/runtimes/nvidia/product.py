"""Which of NVIDIA's two runtimes the shared code works for: they have one Python interface, under two names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """TensorRT, or TensorRT for RTX.

    `module` is its Python module, `wheels` what its CUDA packages are called, `install` how one gets it. `oldest` is
    the oldest version that qedeploy is written for and `oldest_gpu` the oldest compute capability that it runs on,
    of the architecture `architecture`. One that works `ahead_of_time` builds for named compute capabilities without a
    GPU, finishes its kernels on the GPU that runs them, and keeps those in a runtime cache.
    """

    label: str
    module: str
    wheels: str
    install: str
    oldest: tuple[int, ...]
    oldest_gpu: tuple[int, ...]
    architecture: str
    ahead_of_time: bool = False

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON-ready data, for a child process."""
        return asdict(self)

    @classmethod
    def from_document(cls, data: Mapping[str, Any]) -> Product:
        """Return the product of `to_document`."""
        return cls(**{**data, "oldest": tuple(data["oldest"]), "oldest_gpu": tuple(data["oldest_gpu"])})


TENSORRT = Product(
    label="TensorRT",
    module="tensorrt",
    wheels="tensorrt",
    install="pip install 'qedeploy[tensorrt]'",
    # 10.16 and 11 share the calls that qedeploy makes; Turing is the oldest of 10.5 to 11.4 (its support matrix).
    oldest=(10, 16),
    oldest_gpu=(7, 5),
    architecture="Turing",
)
