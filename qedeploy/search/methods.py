"""The methods of search, and which settings belong to which."""

from __future__ import annotations

from typing import Literal

from qedeploy.errors import UserError

Method = Literal["exact", "evolution"]
EXACT: Method = "exact"
EVOLUTION: Method = "evolution"


def refuse_mixed(
    method: Method,
    *,
    top: int,
    pareto: str | None,
    evaluations: int | None,
    population: int | None,
    workers: int | None,
    cluster: str | None,
) -> None:
    """Raise UserError for a setting, named as the command line does, that the method does not have."""
    if method == EXACT:
        _refuse(
            {"--evaluations": evaluations, "--population": population},
            "the exact search has no such setting; add --method evolution, or leave it out",
        )
        if pareto is None:
            _refuse(
                {"--workers": workers, "--cluster": cluster},
                "one exact search runs in one process; add --pareto or --method evolution, or leave it out",
            )
    elif top > 1 or pareto:
        raise UserError(f"{'--top' if top > 1 else '--pareto'}: only with --method exact; evolution proves no order")


def _refuse(given: dict[str, object], why: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise UserError(f"{name}: {why}")
