"""What an assignment takes and errs, estimated from layers measured alone and from sets of layers measured together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qedeploy.campaign.quantization.measurement import LayerMeasurement, SetMeasurement
from qedeploy.campaign.quantization.neighbours import Conversions, Savings, fit_savings, savings
from qedeploy.campaign.quantization.together import fit_errors
from qedeploy.export.onnx_networks.quantizer import Quantizer
from qedeploy.search.assign.problem import FLOAT, AssignmentProblem, Choice, LayerChoices, costs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """The layers as measured alone, with the precisions that each may have (`allowed`); `float_seconds` of a query."""

    quantizer: Quantizer
    allowed: Mapping[str, Sequence[str]]
    layers: Sequence[LayerMeasurement]
    conversions: Sequence[Conversions]
    float_seconds: float

    def fit(self, sets: Sequence[SetMeasurement]) -> Savings:
        """Return what layers save beside each other by `sets`."""
        return fit_savings(self.conversions, self.layers, sets, self.float_seconds)

    def problem(self, sets: Sequence[SetMeasurement]) -> AssignmentProblem:
        """Return what there is to choose from, at costs that fit `sets` as well as they can."""
        fitted = self.fit(sets)
        errors = fit_errors({(item.layer, item.precision): item.error for item in self.layers}, sets)
        return AssignmentProblem(
            float_seconds=self.float_seconds,
            layers=tuple(
                LayerChoices(
                    name=name, choices=tuple(self._choice(name, precision, fitted, errors) for precision in precisions)
                )
                for name, precisions in self.allowed.items()
            ),
            savings=savings(self.conversions, self.layers, fitted.layout, fitted.numbers),
        )

    def predicted(self, precisions: Mapping[str, str], sets: Sequence[SetMeasurement]) -> float:
        """Return the time of an assignment by all of `sets` but its own, as a share of the float network's."""
        quantized = {name: precision for name, precision in precisions.items() if precision != FLOAT}
        problem = self.problem([item for item in sets if dict(item.precisions) != quantized])
        return costs(problem, precisions).seconds / self.float_seconds

    def _choice(self, name: str, precision: str, fitted: Savings, errors: Mapping[tuple[str, str], float]) -> Choice:
        layer = self.quantizer.layers[name]
        if precision == FLOAT:
            return Choice(precision=FLOAT, size=4 * layer.weight.size, executed=layer.macs * 32 * 32)
        alone = next(item for item in self.layers if (item.layer, item.precision) == (name, precision))
        return Choice(
            precision=precision,
            seconds=alone.seconds + fitted.corrections[name, precision],
            error=errors[name, precision],
            size=layer.weight.size,
            executed=layer.macs * 8 * 8,
        )
