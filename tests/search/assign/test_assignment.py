"""Assignments by the linear program, by label setting and by trying everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qedeploy.errors import RequestError
from qedeploy.search.assign.front import enumerate_front
from qedeploy.search.assign.problem import FLOAT, AssignmentProblem, Choice, LayerChoices, Limits, Saving, costs
from qedeploy.search.assign.solver import Objective, assign


def random_problem(seed: int, layers: int = 7) -> AssignmentProblem:
    generator = np.random.default_rng(seed)
    names = [f"layer{number}" for number in range(layers)]
    return AssignmentProblem(
        float_seconds=7e-4 * layers,
        layers=tuple(
            LayerChoices(
                name=name,
                choices=(
                    Choice(precision=FLOAT, size=4000.0, executed=1024e6),
                    *(
                        Choice(
                            precision=precision,
                            seconds=generator.normal(-1e-4, 2e-4),
                            error=generator.exponential(1e-3),
                            size=1000.0,
                            executed=64e6,
                        )
                        for precision in ("W8A8", "W7A8")
                    ),
                ),
            )
            for name in names
        ),
        savings=tuple(
            Saving(layers=tuple(names[index] for index in members), seconds=generator.exponential(1e-4))
            for members in [*itertools.pairwise(range(layers)), (0, 3), (5, 2), (1, 4, 2), (6, 0, 3, 5), (2, 5)]
        ),
    )


def everything(problem: AssignmentProblem):
    names = [layer.name for layer in problem.layers]
    for chosen in itertools.product(*([choice.precision for choice in layer.choices] for layer in problem.layers)):
        yield costs(problem, dict(zip(names, chosen, strict=True)))


LIMITS = [
    Limits(),
    Limits(error=2e-3),
    Limits(error=5e-3, size=20e3),
    Limits(error=0.0),
    Limits(executed=4e9, error=1e-2),
]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limits", LIMITS)
def test_the_least_time_is_what_trying_everything_finds(seed, limits):
    problem = random_problem(seed)
    best = min((found.seconds for found in everything(problem) if found.within(limits)), default=None)
    if best is None:
        with pytest.raises(RequestError, match="no assignment"):
            assign(problem, limits)
        return
    found = assign(problem, limits)
    assert found.costs.seconds == pytest.approx(best, rel=1e-7)
    assert found.costs == costs(problem, found.precisions)
    assert found.costs.within(limits, tolerance=1e-6)
    assert found.gap <= 1e-6
    assert found.bound <= best * (1 + 1e-7)


@pytest.mark.parametrize("seed", range(6))
def test_the_least_error_within_a_time_is_what_trying_everything_finds(seed):
    problem = random_problem(seed)
    limits = Limits(seconds=4.5e-3)
    best = min(found.error for found in everything(problem) if found.within(limits))
    assert assign(problem, limits, Objective.ERROR).costs.error == pytest.approx(best, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_label_setting_finds_the_same_front(seed):
    problem = random_problem(seed)
    front = enumerate_front(problem)
    tried = list(everything(problem))
    for error in np.quantile([found.error for found in tried], [0, 0.1, 0.4, 0.8, 1]):
        best = min(found.seconds for found in tried if found.error <= error * (1 + 1e-9))
        assert front.least_seconds(float(error)) == pytest.approx(best, rel=1e-12)
    assert (np.diff(front.seconds) > 0).all()
    assert (np.diff(front.errors) < 0).all()


def test_label_setting_and_the_program_agree_on_a_network_of_sixty_layers():
    problem = random_problem(11, layers=60)
    limits = Limits(error=8e-3)
    found = assign(problem, limits)
    front = enumerate_front(problem, limits)
    assert found.gap <= 1e-6
    assert front.least_seconds(8e-3) == pytest.approx(found.costs.seconds, rel=1e-7)
    limits = Limits(seconds=found.costs.seconds)
    assert enumerate_front(problem, limits).least_seconds(8e-3) == pytest.approx(found.costs.seconds, rel=1e-7)


def test_a_layer_that_must_not_be_float_is_not():
    problem = random_problem(0)
    first = LayerChoices(name="layer0", choices=problem.layers[0].choices[1:])
    held = AssignmentProblem(float_seconds=5e-3, layers=(first, *problem.layers[1:]), savings=problem.savings)
    assert assign(held, Limits()).precisions["layer0"] != FLOAT


@pytest.mark.parametrize(
    "saving",
    [
        Saving(layers=("layer0", "nowhere"), seconds=1.0),
        Saving(layers=("layer0", "layer0"), seconds=1.0),
        Saving(layers=("layer0",), seconds=1.0),
        Saving(layers=("layer0", "layer1", "layer2"), seconds=-1.0),
    ],
)
def test_savings_that_make_no_sense_are_refused(saving):
    problem = random_problem(0)
    with pytest.raises(ValueError, match="savings"):
        AssignmentProblem(float_seconds=1.0, layers=problem.layers, savings=(saving,))
