"""What `qedeploy measure` shows at its end: how good the table has become."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qedeploy.campaign.measure_table import MeasuredTable
from qedeploy.cli.verdicts import BAD, GOOD, UNSURE, print_verdict
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import LatencyTable
from qedeploy.printable import one_line
from qedeploy.profiles.profile import Profile
from qedeploy.words import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def warn_of_other_machine(console: Console, profile: str, cluster: str | None) -> None:
    """Print why a profile is not for this machine, where it is this one that measures."""
    from rich.text import Text

    from qedeploy.profiles.loader import load_profile
    from qedeploy.runtimes.registry import find_runtime

    found = load_profile(profile)
    if cluster is None and not found.search_only and (why := find_runtime(found.runtime).mismatch(found)):
        console.print(Text(f"warning: {why}", style="yellow"), soft_wrap=True)


def print_measured(console: Console, measured: MeasuredTable) -> None:
    """Print a table that was measured, what is missing in it, where it is, and what to do next."""
    from rich.text import Text

    from qedeploy.screen import line

    request = measured.request
    print_table(console, measured.table, request.profile)
    if measured.failures:
        console.print(f"not measured, {len(measured.failures)} parts: {measured.failures[0]}")
    if measured.lost:
        console.print(f"{measured.lost} jobs were lost with their workers")
    console.print(line(f"written to {measured.path}"), soft_wrap=True)
    profile = one_line(request.profile_argument)
    console.print(
        Text.assemble(
            "next: ",
            (f"qedeploy search --profile {profile} --budget latency=...ms", "bold"),
            ", or ",
            (f"qedeploy correlate --profile {profile}", "bold"),
            " for how true it is",
        ),
        soft_wrap=True,
    )
    print_measured_verdict(console, measured)


def print_measured_verdict(console: Console, measured: MeasuredTable) -> None:
    """Print in one line whether to rely on a table that was measured."""
    print_verdict(console, *_verdict(measured.table))


def _verdict(table: LatencyTable) -> tuple[str, str]:
    """Return whether to rely on a table, and the style of how that is meant."""
    stable = f"{len(table.points) - table.unstable} of {counted(len(table.points), 'point')} are stable"
    error = table.calibration.error
    if table.doubt:
        return f"{table.doubt}; do not rely on this table, measure again with --fresh on a quiet machine", BAD
    if error is None:
        return f"{stable}; no whole network was measured yet, so nobody knows how true the table is", UNSURE
    predicted = f"whole networks are predicted to {error:.1%} in the mean, each from the others; {stable}"
    if table.competition:
        return f"{predicted}, but {table.competition}", UNSURE
    return predicted, GOOD


def print_table(console: Console, table: LatencyTable, profile: Profile) -> None:
    """Print what a table holds and how well its points, and whole networks, are predicted from the others."""
    console.print(_parts(table, profile))
    calibration = table.calibration
    stable = len(table.points) - table.unstable
    console.print(
        f"{len(table.points)} points, {stable} of them stable; {table.device}, {table.runtime.get('name', '')} "
        f"{table.runtime.get('version', '')}, {table.settings.get('threads', '?')} thread(s)",
        highlight=False,
    )
    if calibration.networks:
        error = "" if calibration.error is None else f", each predicted from the others to {calibration.error:.1%}"
        console.print(
            f"{calibration.networks} whole networks{error}: {calibration}",
            highlight=False,
        )


def _parts(table: LatencyTable, profile: Profile) -> Table:
    from rich.table import Table

    shown = Table(title=f"latency table of {table.profile}", title_justify="left")
    shown.add_column("part")
    for heading in ("points", "unstable", "mean error", "90 % within"):
        shown.add_column(heading, justify="right")
    for name, error in LatencyModel(table, profile).errors().items():
        shares = ("-" if share is None else f"{share:.1%}" for share in (error.mean, error.p90))
        shown.add_row(name, str(error.points), str(error.unstable), *shares)
    shown.caption = "error: each point predicted from the others"
    return shown
