"""A result as one HTML file for a person: no network, no files beside it."""

from __future__ import annotations

from pathlib import Path

from qedeploy.bench.report import formats, plots
from qedeploy.bench.report.document import BenchResult
from qedeploy.bench.report.findings import FLOAT_TWIN, W8A8_TWIN
from qedeploy.printable import printable
from qedeploy.runtimes.timing import PERCENTILE_RULE

_TEMPLATES = Path(__file__).parent / "templates"


def render(result: BenchResult) -> str:
    """Return the text of report.html."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["formats"] = formats
    return environment.get_template("report.html").render(
        result=result,
        summary=result.summary,
        runner=result.runner,
        machine=result.machine,
        profiled=result.profiled,
        colours=plots.KIND_COLOURS,
        kinds={row.name: row.kind for row in result.profiled.layers},
        twins=(FLOAT_TWIN, W8A8_TWIN),
        plots=_plots(result),
        percentile_rule=PERCENTILE_RULE,
    )


def _shown(value: object) -> object:
    """Return what a page may show of a value: names of files and layers may hold what no page can."""
    return printable(value) if type(value) is str else value


def _plots(result: BenchResult) -> dict[str, str]:
    """Return each plot's SVG by name; those that the result has nothing for are left out."""
    rows = result.profiled.layers
    drawn = {}
    if result.compared:
        drawn["ratios"] = plots.ratios(result.compared)
    if rows:
        drawn["layers"] = plots.layer_times(rows)
    if result.prediction is not None:
        drawn["predicted"] = plots.predicted_times(result.prediction, rows)
    if result.totals is not None and any(row.seconds for row in rows):
        drawn["nominal"] = plots.bitops_against_time(rows, executed=False)
        drawn["executed"] = plots.bitops_against_time(rows, executed=True)
    return drawn
