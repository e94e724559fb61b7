"""The scores that a recipe can name: those of `kinds/`, a user's own, and those of installed packages."""

from __future__ import annotations

from qedeploy.search.plugins import Registry
from qedeploy.search.score.score import Score

_SCORES: Registry[type[Score]] = Registry(
    what="score",
    package="qedeploy.search.score.kinds",
    group="qedeploy.scores",
    kind=lambda found: (
        isinstance(found, type) and issubclass(found, Score) and isinstance(getattr(found, "name", None), str)
    ),
)


def score_names() -> tuple[str, ...]:
    """Return the names of all scores."""
    return _SCORES.names()


def score_class(name: str) -> type[Score]:
    """Return the score of a name; raises UserError naming those there are."""
    return _SCORES.get(name)


def add_score(score: type[Score]) -> None:
    """Let recipes name `score` in this process, and what it reads and writes."""
    _SCORES.add(score)
