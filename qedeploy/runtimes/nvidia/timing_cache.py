"""The timing cache: kernels that were timed once on a GPU are not timed again by the next build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.files import slug, write_bytes


def cache_path(gpu: str, version: str) -> Path:
    """Return where the timings of this GPU and TensorRT version lie, in the user's cache folder."""
    from platformdirs import user_cache_path

    return user_cache_path("qedeploy") / "timing" / f"{slug(f'{gpu}-tensorrt-{version}')}.cache"


def attach(config: Any, path: Path) -> str:
    """Give `config` the timings in `path`; returns a notice where they could not be used, "" where all is well."""
    content = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(content)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return ""
    config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    return f"{path}: not a timing cache of this GPU and version, starting an empty one"


def save(config: Any, path: Path) -> str:
    """Write the timings of `config` to `path`; returns a notice where that failed: a build is not lost for it."""
    cache = config.get_timing_cache()
    if cache is None:
        return ""
    try:
        write_bytes(path, bytes(cache.serialize()))
    except UserError as error:
        return f"timings are not kept: {error}"
    return ""
