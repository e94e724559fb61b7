import pytest

from qedeploy.network.costs import convolutions, memory_bytes, structure_costs
from qedeploy.network.layers import expand_layers
from qedeploy.network.lightnas import from_blocks


def test_costs_equal_the_reference(golden):
    for record in golden:
        costs = structure_costs(from_blocks(record["structure"]))
        assert costs.flops == pytest.approx(record["flops"], rel=1e-12)
        assert costs.bitops == pytest.approx(64 * record["flops"], rel=1e-12)
        assert costs.size_bytes == pytest.approx(record["model_size"], rel=1e-12)
        assert costs.layers == record["layers"]
        assert costs.peak_memory_bytes == pytest.approx(record["max_feature"], rel=1e-12)


def test_memory_of_each_layer_equals_the_reference(golden):
    for record in golden:
        layers = convolutions(expand_layers(from_blocks(record["structure"])))
        assert memory_bytes(layers) == pytest.approx(record["max_feature_list"], rel=1e-12)
