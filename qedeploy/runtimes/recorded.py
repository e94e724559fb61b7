"""Runs that another tool recorded, here or elsewhere: what such a run must tell to be reported like one of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qedeploy.qdq.metadata import ModelMetadata
    from qedeploy.runtimes.runner import ProfiledRun, RunnerDescription
    from qedeploy.runtimes.sections import RuntimeReport
    from qedeploy.runtimes.timing import Samples


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedRun:
    """A recorded run. `source` is the file that stands for it; `metadata` None where nothing tells of the network."""

    source: Path
    description: RunnerDescription
    metadata: ModelMetadata | None
    samples: Samples
    profile: ProfiledRun
    report: RuntimeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """What a tool leaves in a folder: `--from-<tool> DIR` on the command line.

    `require` raises UserError where a folder holds no such run, before anything is read; `read` where it is damaged.
    """

    tool: str
    help: str
    require: Callable[[Path], None]
    read: Callable[[Path], RecordedRun]
