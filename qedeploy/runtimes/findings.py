"""What a machine has and lacks, one thing at a time: what `qedeploy doctor` shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Readiness(StrEnum):
    """Whether a thing is there; `limited` where it is and cannot be used in full."""

    READY = "ready"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked for: what was found, and where it is missing or limited, what mends it."""

    name: str
    status: Readiness
    detail: str
    remedy: str = ""


def package_finding(name: str, distribution: str, purpose: str, install: str = "") -> Finding:
    """Return whether a package is installed and its version; `purpose` says what wants it, `install` what pip takes."""
    # Every runtime imports this file, and importing it must cost nothing.
    import importlib.metadata

    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            name=name,
            status=Readiness.MISSING,
            detail=f"not installed; {purpose}",
            remedy=f"pip install {install or distribution}",
        )
    return Finding(name=name, status=Readiness.READY, detail=version)
