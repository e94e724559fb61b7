"""qedeploy: search, export and benchmark quantized networks for a named device.

`qedeploy.api` has all of it as functions, and `qedeploy.quantize` is the one of them for networks that are trained
already. Importing the package imports nothing else, and `api` when it is first used.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in {"api", "quantize"}:
        from importlib import import_module

        api = import_module("qedeploy.api")
        return api if name == "api" else api.quantize
    raise AttributeError(f"module 'qedeploy' has no attribute {name!r}")
