"""Sets up TensorRT's real Python API, ONNX parser and builder on a machine without a GPU.

The Python bindings come from a wheel of the public index, the libraries are those of the installed TensorRT for RTX,
whose builder compiles ahead of time on the CPU; shim.c joins them. It is here for what calls TensorRT's own Python
interface; TensorRT for RTX is tested as it is, in tests/runtimes/tensorrt_rtx. What this shows is that a graph parses,
types and builds in TensorRT's own code. It shows no Turing kernel, no timing, and runs no plan.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

WHEELS = ("tensorrt-cu13-bindings==11.4.0.106",)
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
_RTX_LIBRARIES = ("libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1")


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
    rtx = _rtx_libraries()
    root = Path(os.environ.get(CACHE_VARIABLE) or user_cache_path("qedeploy") / "tensorrt-cpu")
    recipe = _SHIM.read_bytes() + "".join((*WHEELS, OLDER, str(rtx))).encode() + str(sys.version_info[:2]).encode()
    folder = root / hashlib.sha256(recipe).hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    # Several test processes prepare at once; one downloads and the others wait for it.
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=root) as temporary:
                _install(Path(temporary) / "new", compiler, rtx)
                (Path(temporary) / "new").rename(folder)
    return TensorRTOnCpu(modules=folder / "modules", libraries=folder / "libraries", older=folder / "older")


def _rtx_libraries() -> Path:
    found = importlib.util.find_spec("tensorrt_rtx_libs")
    if found is None or found.origin is None:
        raise UnavailableError("TensorRT for RTX is not installed: pip install tensorrt-rtx-cu13")
    return Path(found.origin).parent


def _install(folder: Path, compiler: str, rtx: Path) -> None:
    modules, libraries = folder / "modules", folder / "libraries"
    folder.mkdir()
    for target, wheels in ((modules, WHEELS), (folder / "older", (OLDER,))):
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), *wheels]
        _run(pip, "wheels")
    libraries.mkdir()
    for name in _RTX_LIBRARIES:
        (libraries / name).symlink_to(rtx / name)
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
