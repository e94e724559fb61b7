"""Packages that only some commands need, and what to say where one is not installed.

`pip install qedeploy` brings them all. Whoever installed the search alone learns here which package a command needs
and how to get it.
"""

from __future__ import annotations

import re
from importlib.util import find_spec

from qedeploy.errors import MissingRuntimeError

# Packages whose module has another name than the package.
PACKAGES = {"PIL": "pillow", "cuda": "cuda-python", "pynvml": "nvidia-ml-py"}
# `torch>=2.4`, or `distributed>=2024.8 ; extra == 'cluster'`: name, versions, and the extra that brings it.
REQUIREMENT = re.compile(
    r"""(?P<name>[\w.-]+)[^;]*?(?P<versions>[<>=!~][^;]*?)?\s*(;.*extra == ["'](?P<extra>\w+)["'])?$"""
)


def require_package(module: str, *, otherwise: str) -> None:
    """Raise MissingRuntimeError if `module` is not installed; `otherwise` says how the command goes without it."""
    if find_spec(module) is None:
        raise MissingRuntimeError(f"{_missing(module)}; {otherwise}")


def missing_package(error: ModuleNotFoundError) -> MissingRuntimeError | None:
    """Return what to tell a user about a failed import, or None if the module is of no package that qedeploy names."""
    module = (error.name or "").partition(".")[0]
    return MissingRuntimeError(_missing(module)) if _requirement(module) else None


def _missing(module: str) -> str:
    found = _requirement(module)
    package = _package(module)
    if found is None:
        remedy = f"pip install {package}"
    elif found["extra"]:
        remedy = f"pip install 'qedeploy[{found['extra']}]'"
    else:
        remedy = f"pip install '{found['name']}{found['versions'] or ''}', or pip install qedeploy for all that it uses"
    return f"this command needs the package {package}, which is not installed: {remedy}"


def _package(module: str) -> str:
    return PACKAGES.get(module, module.replace("_", "-").lower())


def _requirement(module: str) -> re.Match[str] | None:
    """Return what qedeploy's own metadata say about the package of a module; extras for development come last."""
    # Reading metadata takes longer than starting a command.
    from importlib import metadata

    try:
        requirements = metadata.requires("qedeploy") or []
    except metadata.PackageNotFoundError:
        return None
    found = [match for text in requirements if (match := REQUIREMENT.match(text)) and match["name"] == _package(module)]
    return min(found, key=lambda match: match["extra"] == "dev", default=None)
