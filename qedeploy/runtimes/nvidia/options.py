"""What a user may set of an engine and of its queries."""

from __future__ import annotations

from qedeploy.runtimes.options import Option

DEFAULT_OPTIMIZATION_LEVEL = 3
"""TensorRT's own default of its levels 0 (quick build) to 5 (compares most kernels)."""

RUN_OPTIONS = (
    # The defaults are trtexec 11's; 10.16 has the opposite of all three.
    Option(name="cuda_graph", kind=bool, default=True, help="Launch an engine as one CUDA graph."),
    Option(name="spin_wait", kind=bool, default=True, help="Wait for the GPU by spinning, which is quicker."),
    Option(name="transfers", kind=bool, default=False, help="Count the copies to and from the GPU."),
)

BUILD_OPTIONS = (
    Option(
        name="engine_batch",
        default=None,
        metavar="N|MIN:OPT:MAX",
        help="Images an engine takes (default: --batch, or 1).",
    ),
    Option(
        name="workspace",
        default=None,
        metavar="SIZE",
        help="GPU memory for kernels while building, such as 2GiB (default: all).",
    ),
    Option(
        name="optimization_level",
        kind=int,
        default=DEFAULT_OPTIMIZATION_LEVEL,
        help="How long the builder compares kernels: 0 to 5.",
    ),
    Option(name="timing_cache", kind=bool, default=True, help="Keep the kernels' timings for the next build."),
)
