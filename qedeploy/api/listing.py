"""What there is: profiles, published models, latency tables, and what this machine can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qedeploy.bench.measure.machine import Machine
    from qedeploy.network.published import PublishedModel
    from qedeploy.profiles.profile import Profile
    from qedeploy.runtimes.findings import Finding


def profiles() -> tuple[Profile, ...]:
    """Return the device profiles that ship with qedeploy, by name.

    >>> [profile.name for profile in profiles()][:4]
    ['a10-int4', 'a10-int8', 'a100-int8', 'any-bits']
    """
    from qedeploy.profiles.loader import load_profile, profile_names

    return tuple(map(load_profile, profile_names()))


def profile(name: str) -> Profile:
    """Return one profile, by its name or the path of a TOML file.

    >>> print(profile("cpu-int8").recipe)
    k1dwk1-224
    """
    from qedeploy.profiles.loader import load_profile

    return load_profile(name)


def latency_tables(profile: str) -> list[dict[str, Any]]:
    """Return what `measure` kept in the user's data for the profile of this name, the table that is taken first.

    Each is JSON-ready: its file, and device, date, points, networks and error, or the fault of a broken one.
    """
    from qedeploy.latency.store import describe_kept

    return describe_kept(profile)


def models() -> tuple[PublishedModel, ...]:
    """Return the published models, with the figures that were printed.

    >>> [(model.name, model.bitops_giga) for model in models()][-1]
    ('Mixed7d0G', '6.9')
    """
    from qedeploy.network.published import published_models

    return published_models()


def machine() -> Machine:
    """Return this machine: system, CPU, cores, memory.

    >>> machine().usable_cores >= 1
    True
    """
    from qedeploy.bench.measure.machine import describe_machine

    return describe_machine()


def doctor(of: Machine | None = None) -> tuple[Finding, ...]:
    """Return which runtimes and devices this machine has, and what to install for the rest.

    >>> [finding.status.value for finding in doctor() if finding.name == "ONNX"]
    ['ready']
    """
    from qedeploy.bench.doctor import diagnose

    return diagnose(of)
