"""What this machine can do: runtimes, devices, versions, and what to install for the rest.

Nothing here fails because something is missing: an absence is a finding with its remedy.
"""

from __future__ import annotations

from qedeploy.bench.measure.machine import Machine, describe_machine
from qedeploy.latency.store import describe_kept
from qedeploy.profiles.loader import profile_names
from qedeploy.runtimes.findings import Finding, Readiness, package_finding
from qedeploy.runtimes.registry import runtimes


def diagnose(machine: Machine | None = None) -> tuple[Finding, ...]:
    """Return the findings about this machine, in the order in which a person asks for them."""
    return (
        cpu_finding(machine or describe_machine()),
        package_finding("PyTorch", "torch", "qedeploy search writes model.pth with it, qedeploy export reads it"),
        package_finding("ONNX", "onnx", "qedeploy export writes graphs with it"),
        *(finding for runtime in runtimes() for finding in runtime.findings()),
        tables_finding(),
        package_finding(
            "Dask", "distributed", "--cluster measures and searches on other machines with it", "'qedeploy[cluster]'"
        ),
    )


def tables_finding() -> Finding:
    """Return which profiles have a latency table that `qedeploy measure` kept."""
    kept = [f"{name} ({len(tables)})" for name in profile_names() if (tables := describe_kept(name))]
    if kept:
        return Finding(name="latency tables", status=Readiness.READY, detail=", ".join(kept))
    suited = next((name for runtime in runtimes() if (name := runtime.suited_profile())), "cpu-int8")
    remedy = f"qedeploy measure --profile {suited}, to search with --budget latency=4ms"
    return Finding(name="latency tables", status=Readiness.MISSING, detail="none was measured here", remedy=remedy)


def cpu_finding(machine: Machine) -> Finding:
    """Return the CPU, its cores and memory, and whether 8-bit products are fast on it."""
    sets = ", ".join(machine.instruction_sets) or "no vector instructions that 8-bit kernels use"
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB"
    detail = f"{machine.cpu}, {machine.usable_cores} usable cores, {memory}; {sets}"
    if machine.int8_products:
        return Finding(name="CPU", status=Readiness.READY, detail=detail)
    remedy = (
        "INT8 runs, without instructions for 8-bit dot products; prefer a CPU with VNNI (x86) or dot products (Arm)"
    )
    return Finding(name="CPU", status=Readiness.LIMITED, detail=detail, remedy=remedy)
