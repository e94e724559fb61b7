"""Searches whose result keeps SRAM as it is planned: what is alive at one time, and the multipliers of every channel.

The exact search limits a maximum over parts, what is alive, and sums, such as that of the multipliers, but no sum of
both. Where the best within all of the limit takes more once it is planned, its plan splits the space in two: all others
have less alive than the limit leaves beside its multipliers, or fewer multipliers than it. So it goes on, best bound
first, until the best plan fits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from qedeploy.errors import RequestError
from qedeploy.network.structure import Structure
from qedeploy.profiles.memory_plan import PlannedSram
from qedeploy.search.costs.budgets.planned import MULTIPLIERS, SRAM, planned_sram
from qedeploy.search.exact.certificate import CLOSED, ProofStatus
from qedeploy.search.exact.solver import Solution, UndecidedError
from qedeploy.search.request import Request
from qedeploy.search.result import SearchResult

MOST_SPLITS = 24
"""Searches after which the best so far is kept, with what is proven of the rest."""

Search = Callable[[Request], tuple[SearchResult, Solution]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a search found whose plan fits, and the request, tightened, that it is the best of."""

    request: Request
    result: SearchResult
    solution: Solution


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part of the space, and what none in it scores above."""

    request: Request
    bound: float


def search_within_plan(request: Request, search: Search) -> Held:
    """Return the best of `search` whose plan is within the request's limit of SRAM.

    Raises RequestError where nothing fits, KeyboardInterrupt where Ctrl-C came before anything that fits was found.
    """
    state = _Splitting(request=request, search=search, parts=[_Part(request=request, bound=float("inf"))])
    while state.parts and not state.closed and state.searches < MOST_SPLITS:
        state.look()
    return state.held()


@dataclass(slots=True, kw_only=True)
class _Splitting:
    """The parts that are still to be searched, and the best so far; `left` bounds what parts leave out unsearched."""

    request: Request
    search: Search
    parts: list[_Part]
    best: Held | None = None
    left: float = float("-inf")
    refused: RequestError | None = None
    searches: int = 0
    stopped: bool = False

    @property
    def closed(self) -> bool:
        """Whether no part can have anything better than the best, or none is to be searched any more."""
        score = float("-inf") if self.best is None else self.best.solution.certificate.score
        return self.stopped or max(part.bound for part in self.parts) <= score + CLOSED

    def look(self) -> None:
        """Search the part with the highest bound."""
        self.parts.sort(key=lambda part: part.bound)
        part, self.searches = self.parts.pop(), self.searches + 1
        try:
            result, solution = self.search(part.request)
        except UndecidedError:
            if self.searches == 1:
                raise
            # Neither found nor excluded: what bounded the part still does.
            self.left = max(self.left, part.bound)
        except RequestError as error:
            self.refused = self.refused or error
        else:
            self._take(part, Held(request=part.request, result=result, solution=solution))

    def _take(self, part: _Part, found: Held) -> None:
        """Take what was found if its plan fits, else split the part."""
        limit, certificate = self.request.budgets.get(SRAM), found.solution.certificate
        self.stopped = certificate.status is ProofStatus.INTERRUPTED
        bound = min(part.bound, certificate.upper_bound)
        over = _over(limit, self.request, (item.structure for item in found.solution.found))
        if over is None or limit is None:
            if self.best is None or self.best.solution.certificate.score < certificate.score:
                self.best = found
            # Without a proof others of the part may score up to its bound.
            self.left = max(self.left, bound) if certificate.gap > CLOSED else self.left
            return
        self.parts += _split(part.request, limit, over, bound)
        if over.alive + over.multipliers <= limit:
            # Too much only by a gap between tensors: others as large may have none.
            self.left = max(self.left, bound)

    def held(self) -> Held:
        """Return the best with what is proven of all others in its evidence, where less than the limit was held."""
        if self.best is None:
            raise self._nothing()
        if self.best.request is self.request:
            return self.best
        known = (self.left, self.best.solution.certificate.upper_bound, *(part.bound for part in self.parts))
        result = with_limit(self.best.result, self.request, upper_bound=max(known))
        return dataclasses.replace(self.best, result=result)

    def _nothing(self) -> BaseException:
        """Return why nothing was found whose plan fits."""
        if self.stopped:
            return KeyboardInterrupt()
        if self.searches == 1 and self.refused is not None:
            return self.refused
        limit = SRAM.text(self.request.budgets[SRAM])
        if self.parts or self.left > float("-inf"):
            return UndecidedError(
                f"no network was found whose plan of SRAM is within {limit}, in {self.searches} searches, and none was "
                "excluded either: raise the limit, or name a smaller one of size"
            )
        return RequestError(f"the plan of SRAM is to be within {limit}: {self.refused}")


def tightened(request: Request, limit: float | None, structure: Structure) -> Request | None:
    """Return `request` with a limit that leaves room for what the plan of `structure` adds, None where that fits.

    `limit` is that of the whole plan, None for none.
    """
    over = _over(limit, request, [structure])
    if over is None or limit is None:
        return None
    return _limited(request, min(limit - (over.total - over.alive), over.alive - 1))


def with_limit(result: SearchResult, asked: Request, *, upper_bound: float | None = None) -> SearchResult:
    """Return `result` with the limit that was asked for in its evidence, where less was held.

    `upper_bound` is what is proven of every structure within the limit that was asked for, None for nothing.
    """
    evidence = {**(result.evidence or {}), "sram": {"asked": asked.budgets[SRAM], "upper_bound": upper_bound}}
    return dataclasses.replace(result, evidence=evidence)


def _over(limit: float | None, request: Request, structures: Iterable[Structure]) -> PlannedSram | None:
    """Return the first plan that is over the limit, None where all fit."""
    if limit is None:
        return None
    plans = (planned_sram(structure, request.space) for structure in structures)
    return next((plan for plan in plans if plan is not None and plan.total > limit), None)


def _split(request: Request, limit: float, over: PlannedSram, bound: float) -> list[_Part]:
    """Return the two parts of a request that leave out a plan which is over the limit.

    At most so much is alive, or more is, and then multipliers have at most the rest.
    """
    # Anywhere between what is alive in the plan and what its multipliers leave of the limit.
    alive = (min(limit - over.multipliers, over.alive - 1) + over.alive - 1) // 2
    most = min(limit - alive - 1, over.multipliers - 1, request.budgets.get(MULTIPLIERS, limit))
    return [
        _Part(request=_limited(request, alive), bound=bound),
        _Part(request=dataclasses.replace(request, budgets={**request.budgets, MULTIPLIERS: most}), bound=bound),
    ]


def _limited(request: Request, alive: float) -> Request:
    return dataclasses.replace(request, budgets={**request.budgets, SRAM: min(request.budgets[SRAM], alive)})
