"""The runtime cache: kernels that TensorRT for RTX finished on this GPU are not compiled again by the next run.

Written from the signatures and docstrings of its Python interface (1.7.1), without a GPU to run it on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from qedeploy.errors import UserError
from qedeploy.files import slug, write_bytes
from qedeploy.runtimes.nvidia.child import Emit


class RuntimeCache:
    """The kernels of one version, in the user's cache folder. `state` says what became of them, in words.

    `config` is what a context is created with so that it uses them.
    """

    def __init__(self, config: Any, cache: Any, path: Path, state: str, emit: Emit) -> None:
        self.config = config
        self.state = state
        self._cache = cache
        self._path = path
        self._emit = emit

    @classmethod
    def of(cls, engine: Any, version: str, emit: Emit) -> Self:
        """Return the cache for contexts of `engine`, filled with what an earlier run kept for this machine."""
        from platformdirs import user_cache_path

        path = user_cache_path("qedeploy") / "kernels" / f"{slug(f'tensorrt-rtx-{version}')}.cache"
        config = engine.create_runtime_config()
        cache = config.create_runtime_cache()
        # It refuses, and stays empty, where version, GPU or driver are others.
        known = path.is_file() and bool(cache.deserialize(path.read_bytes()))
        config.set_runtime_cache(cache)
        return cls(config, cache, path, "used" if known else "empty", emit)

    def save(self) -> None:
        """Keep the kernels for the next run; a run is not lost where they cannot be."""
        try:
            write_bytes(self._path, bytes(memoryview(self._cache.serialize())))
        except UserError as error:
            self._emit({"event": "notice", "text": f"compiled kernels are not kept: {error}"})
