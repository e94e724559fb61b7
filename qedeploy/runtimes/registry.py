"""The runtimes there are: the folders beside this file, and those that installed packages bring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.errors import MissingRuntimeError, RequestError, UserError
from qedeploy.plugins import RUNTIMES
from qedeploy.runtimes.base import Reference, Runtime
from qedeploy.runtimes.options import Option, Settings, require_known
from qedeploy.runtimes.recorded import Recordings

if TYPE_CHECKING:
    from qedeploy.qdq.dialect import Dialect


def runtime_names() -> tuple[str, ...]:
    """Return the names of all runtimes, the built-in ones first."""
    return RUNTIMES.names()


def runtimes() -> Iterator[Runtime]:
    """Yield all runtimes in that order."""
    for name in runtime_names():
        yield find_runtime(name)


def find_runtime(name: str) -> Runtime:
    """Return the runtime of a name; raises RequestError where there is none."""
    found: Runtime | None = RUNTIMES.find(name)
    if found is None:
        raise RequestError(
            f"runtime {name}: qedeploy writes no graph for it; runtimes it writes for: {', '.join(runtime_names())}"
        )
    return found


def runtime_of(path: Path) -> Runtime:
    """Return the runtime that runs a file: by its suffix, and among several the one that the file was exported for.

    Raises UserError for a file that none runs.
    """
    suffix = path.suffix.lower()
    known = {runtime.name: runtime for runtime in runtimes()}
    claiming = [runtime for runtime in known.values() if suffix in runtime.suffixes]
    if not claiming:
        suffixes = dict.fromkeys(suffix for runtime in known.values() for suffix in runtime.suffixes)
        found = suffix or "no suffix"
        raise UserError(f"{path}: cannot be measured: expected one of: {', '.join(suffixes)}, found {found}")
    if len(claiming) == 1:
        return claiming[0]
    planned = _planned_for(path, claiming[0])
    return next((runtime for runtime in claiming if runtime.name == planned), claiming[0])


def dialect_for(runtime: str, dialect: str | None = None) -> Dialect:
    """Return a dialect of `runtime`, its usual one where none is named.

    Raises RequestError where qedeploy writes no graphs for the runtime, or it has no such dialect.
    """
    found = find_runtime(runtime)
    if dialect is not None and dialect not in found.dialects:
        raise RequestError(
            f"dialect {dialect}: {found.label} has none of that name, expected one of {', '.join(found.dialects)}"
        )
    return found.dialect(dialect or found.dialects[0])


def reference() -> Reference:
    """Return what executes ONNX files literally; raises MissingRuntimeError where no runtime does."""
    for runtime in runtimes():
        if runtime.reference is not None:
            return runtime.reference
    raise MissingRuntimeError("no runtime here executes ONNX files literally, which exports are verified with")


def recordings() -> dict[str, Recordings]:
    """Return what recorded runs can be read, by the tool that recorded them."""
    return {found.tool: found for runtime in runtimes() for found in runtime.recordings}


def run_options() -> tuple[Option, ...]:
    """Return what can be set of a run on any runtime, each name once."""
    return tuple({option.name: option for runtime in runtimes() for option in runtime.run_options}.values())


def build_options() -> tuple[Option, ...]:
    """Return what can be set of a build for any runtime, each name once."""
    return tuple({option.name: option for runtime in runtimes() for option in runtime.build_options}.values())


def require_build_settings(settings: Settings, batch: int | None) -> None:
    """Raise UserError where `settings` name no option of any runtime, or have a value that its runtime refuses."""
    require_known(build_options(), settings)
    for runtime in runtimes():
        runtime.require_settings(settings, batch)


def _planned_for(path: Path, runtime: Runtime) -> str | None:
    try:
        metadata = runtime.metadata(path)
    except UserError:
        # Whatever is wrong with it, the runner that opens it says so.
        return None
    return None if metadata is None else metadata.plan.runtime
