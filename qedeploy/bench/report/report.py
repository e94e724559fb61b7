"""A result as one HTML file for a person: no network, no files beside it."""

from __future__ import annotations

from pathlib import Path

from qedeploy.bench.report import formats, pictures, plots
from qedeploy.bench.report.comparisons import FLOAT_TWIN, W8A8_TWIN
from qedeploy.bench.report.document import BenchResult, longest_layers
from qedeploy.bench.report.headline import elsewhere, headline, recorded, title
from qedeploy.printable import printable
from qedeploy.runtimes.timing import PERCENTILE_RULE
from qedeploy.train.class_report import class_section

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
    environment.globals["kind_of"] = plots.kind_of
    rows = result.profiled.layers
    return environment.get_template("report.html").render(
        result=result,
        title=title(result),
        headline=headline(result),
        elsewhere=elsewhere(result),
        recorded=recorded(result),
        around=result.surroundings,
        summary=result.summary,
        runner=result.runner,
        machine=result.machine,
        profiled=result.profiled,
        colours=plots.KIND_COLOURS,
        legend_kinds=list(dict.fromkeys(map(plots.kind_of, rows))),
        kinds={row.name: plots.kind_of(row) for row in rows},
        longest=longest_layers(rows),
        interrupted=pictures.interrupted_share(result),
        twins=(FLOAT_TWIN, W8A8_TWIN),
        pictures=pictures,
        plots=_plots(result),
        classes=_classes(result),
        percentile_rule=PERCENTILE_RULE,
    )


def _classes(result: BenchResult) -> str:
    """Return what the model says of the images of each class, "" where nobody counted."""
    known = result.surroundings.accuracy
    return "" if known is None or known.answers is None else class_section(known.answers)


def _shown(value: object) -> object:
    """Return what a page may show of a value: names of files and layers may hold what no page can."""
    return printable(value) if type(value) is str else value


def _plots(result: BenchResult) -> dict[str, str]:
    """Return each plot's SVG by name; those that the result has nothing for are left out."""
    rows = result.profiled.layers
    drawn = {}
    if rows:
        drawn["layers"] = plots.layer_times(rows)
    if result.prediction is not None:
        drawn["predicted"] = plots.predicted_times(result.prediction, rows)
    if result.totals is not None and any(row.seconds for row in rows):
        drawn["executed"] = plots.bitops_against_time(rows, executed=True)
        if not plots.same_widths(rows):
            drawn["nominal"] = plots.bitops_against_time(rows, executed=False)
    return drawn
