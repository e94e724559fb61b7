"""All that the commands do, as functions: they return values, and write files only where a folder or file is named.

    >>> from qedeploy import api
    >>> found = api.search("cpu-int8", budgets={"bitops": "7G"})
    >>> print(f"{found.score:.2f}, {found.certificate.status}")
    1178.45, optimal

Every function raises `qedeploy.errors.UserError` for input that cannot be used, with one line that says what was
expected; RequestError, one of its kinds, for what cannot be met; MissingRuntimeError for what is not installed.
Whoever wants to see how far a function is hands it a `progress`, `print` for one. Importing this module imports no
framework: each function imports what it needs.

A program (other than a notebook) that measures, or searches with several `workers`, must start them below
`if __name__ == "__main__":`, since each of those processes imports the program anew.
"""

from __future__ import annotations

from qedeploy.api.comparing import compare
from qedeploy.api.exporting import assign_widths, build_artefact, export, quantize
from qedeploy.api.listing import doctor, latency_tables, machine, models, profile, profiles
from qedeploy.api.networks import build, import_model
from qedeploy.api.searching import front, score, search, verify
from qedeploy.api.timing import bench, bench_models, correlate, lacks_table, measure
from qedeploy.api.training import correlate_accuracy, evaluate, labelled_data, train

__all__ = [
    "assign_widths",
    "bench",
    "bench_models",
    "build",
    "build_artefact",
    "compare",
    "correlate",
    "correlate_accuracy",
    "doctor",
    "evaluate",
    "export",
    "front",
    "import_model",
    "labelled_data",
    "lacks_table",
    "latency_tables",
    "machine",
    "measure",
    "models",
    "profile",
    "profiles",
    "quantize",
    "score",
    "search",
    "train",
    "verify",
]
