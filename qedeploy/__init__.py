"""qedeploy: search, export and benchmark quantized networks for a named device.

`qedeploy.api` has all of it as functions. Importing the package imports nothing else, and `api` when it is first used.
"""

from __future__ import annotations

from types import ModuleType

__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    if name == "api":
        from importlib import import_module

        return import_module("qedeploy.api")
    raise AttributeError(f"module 'qedeploy' has no attribute {name!r}")
