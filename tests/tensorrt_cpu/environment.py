"""Sets up TensorRT's real Python API, ONNX parser and builder on a machine without a GPU.

The Python bindings come from one wheel of the public index, the libraries (TensorRT for RTX, whose builder compiles
ahead of time on the CPU) from another; shim.c joins them. What this shows is that a graph parses, types and builds in
TensorRT's own code. It shows no Turing kernel, no timing, and runs no plan.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

WHEELS = ("tensorrt-cu13-bindings==11.4.0.106", "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0")
OLDER = "tensorrt-cu13-bindings==10.16.1.11"
"""The oldest TensorRT that qedeploy supports: its bindings alone, to look calls up in."""

CACHE_VARIABLE = "QEDEPLOY_TENSORRT_CPU"
"""Names the folder to install into; without it, the user's cache folder."""

REQUIRED_VARIABLE = "QEDEPLOY_TENSORRT_CPU_REQUIRED"
"""Where it is set, what would skip these tests fails them: for continuous integration."""

_SHIM = Path(__file__).with_name("shim.c")
_SHIMMED = tuple(
    f"{name}.so.{major}" for name in ("libnvinfer", "libnvonnxparser", "libnvinfer_plugin") for major in (10, 11)
)
_RTX = {"libtensorrt_rtx.so.1": "libtensorrt_rtx.so.1.*", "libtensorrt_onnxparser_rtx.so.1": "*onnxparser_rtx.so.1.*"}


class UnavailableError(Exception):
    """This machine cannot have it; the message is the reason for skipping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRTOnCpu:
    """Where the modules and libraries lie."""

    modules: Path
    libraries: Path
    older: Path

    def variables(self) -> dict[str, str]:
        """Return what a process that may `import tensorrt` needs in its environment before its Python starts."""
        return {
            "PYTHONPATH": os.pathsep.join([str(self.modules), *_given("PYTHONPATH")]),
            "LD_LIBRARY_PATH": os.pathsep.join([str(self.libraries), *_given("LD_LIBRARY_PATH")]),
        }


def prepare() -> TensorRTOnCpu:
    """Return the installation, made on first use; raises UnavailableError with the reason where that fails."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise UnavailableError(f"the wheels are for x86-64 Linux, this is {sys.platform} on {platform.machine()}")
    compiler = shutil.which("cc")
    if compiler is None:
        raise UnavailableError("no C compiler (cc) to build the shim with")
    root = Path(os.environ.get(CACHE_VARIABLE) or user_cache_path("qedeploy") / "tensorrt-cpu")
    recipe = _SHIM.read_bytes() + "".join((*WHEELS, OLDER)).encode() + str(sys.version_info[:2]).encode()
    folder = root / hashlib.sha256(recipe).hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    # Several test processes prepare at once; one downloads and the others wait for it.
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=root) as temporary:
                _install(Path(temporary) / "new", compiler)
                (Path(temporary) / "new").rename(folder)
    return TensorRTOnCpu(modules=folder / "modules", libraries=folder / "libraries", older=folder / "older")


def _install(folder: Path, compiler: str) -> None:
    modules, libraries = folder / "modules", folder / "libraries"
    folder.mkdir()
    for target, wheels in ((modules, WHEELS), (folder / "older", (OLDER,))):
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), *wheels]
        _run(pip, "wheels")
    libraries.mkdir()
    source = modules / "onnxruntime_ep_nv_tensorrt_rtx"
    for name, pattern in _RTX.items():
        next(source.glob(pattern)).rename(libraries / name)
    # The rest of that wheel is an execution provider of ONNX Runtime, 70 MB that nothing here uses.
    shutil.rmtree(source)
    for name in _SHIMMED:
        _run([compiler, "-shared", "-fPIC", "-O1", str(_SHIM), "-o", str(libraries / name), "-ldl"], "shim")
    package = modules / "tensorrt"
    package.mkdir()
    (package / "__init__.py").write_text("from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n")


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise UnavailableError(f"{what}: {last}")


def _given(variable: str) -> list[str]:
    return [os.environ[variable]] if os.environ.get(variable) else []
