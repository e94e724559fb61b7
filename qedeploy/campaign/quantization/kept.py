"""What `quantize` has measured so far, kept in its folder until the answer is written, for a stopped run to go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from qedeploy.campaign.journal import RowJournal
from qedeploy.campaign.quantization.request import QuantizationOptions
from qedeploy.errors import Interrupted, UserError
from qedeploy.export.onnx_networks.data import Sample
from qedeploy.export.onnx_networks.preparation import PreparedModel
from qedeploy.runtimes.processor import this_processor

MEASUREMENTS_FILE = "quantize.measurements.jsonl"
FORMAT = "qedeploy-quantize-measurements/1"

Found = TypeVar("Found")

Assigned = Sequence[Mapping[str, str]]
"""What is measured in turn: for each network the precisions of its layers, as far as they are not in float."""


class KeptMeasurements:
    """Rows of measurements by what was measured; without a journal nothing is kept."""

    def __init__(self, journal: RowJournal | None = None) -> None:
        """Read what `journal` has. What another run, or nobody who can be understood, left there is measured anew."""
        self._journal = journal
        self._rows: list[dict[str, Any]] = []
        if journal is None:
            return
        try:
            self._rows = journal.rows()
        except (UserError, KeyError):
            journal.remove()

    def once(
        self,
        kind: str,
        assigned: Assigned,
        measure: Callable[[], Mapping[str, Any]],
        read: Callable[[Mapping[str, Any]], Found],
    ) -> Found:
        """Return what `read` makes of the row of what is `assigned`, of this `kind`.

        `measure` returns the row, JSON-ready, where none is kept that `read` understands.
        """
        key = {"kind": kind, "assigned": [dict(item) for item in assigned]}
        for row in self._rows:
            if {name: row.get(name) for name in key} == key:
                with suppress(KeyError, TypeError):
                    return read(row)
        row = {**key, **measure()}
        if self._journal is not None:
            self._journal.add(row)
        return read(row)


@contextmanager
def keeping(folder: Path | None, settings: Mapping[str, Any]) -> Iterator[KeptMeasurements]:
    """Keep measurements of these settings (JSON-ready) in `folder` until the block ends well, or by an error.

    Only a run that was stopped leaves them. Raises Interrupted for Ctrl-C where there is a folder.
    """
    if folder is None:
        yield KeptMeasurements()
        return
    journal = RowJournal(
        folder / MEASUREMENTS_FILE,
        settings,
        form=FORMAT,
        what="measurements",
        command="qedeploy quantize",
        mend="remove the file",
    )
    try:
        yield KeptMeasurements(journal)
    except KeyboardInterrupt as stop:
        if not journal.path.exists():
            raise
        raise Interrupted(f"{folder} keeps what was measured; the same command goes on") from stop
    except BaseException:
        journal.remove()
        raise
    journal.remove()


def measured_settings(
    prepared: PreparedModel, samples: Sequence[Sample], options: QuantizationOptions, device: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all that measurements depend on, as JSON-ready data; `device` is what of it the runtime says.

    Budgets are not among it, nor are layers whose precision is known better: they decide what is measured, not how.
    """
    data = hashlib.sha256()
    for sample in samples:
        for name, array in sample.feed.items():
            data.update(f"{sample.source} {name} {array.dtype} {array.shape}".encode())
            data.update(array.tobytes())
    return {
        "model": hashlib.sha256(prepared.model.SerializeToString(deterministic=True)).hexdigest(),
        "data": data.hexdigest(),
        "calibration": options.method.value,
        "metric": None if options.metric is None else options.metric.name,
        "duration": options.duration,
        "threads": options.threads,
        "instruction_sets": list(this_processor().instruction_sets),
        **device,
    }
