"""Lowered networks for LiteRT, from trained numbers that NumPy made."""

from __future__ import annotations

from qedeploy.network.graph import Graph, structure_graph
from qedeploy.network.structure import Bits
from qedeploy.profiles.loader import load_profile
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.lowering import lower
from qedeploy.qdq.plan import StepSource
from qedeploy.runtimes.registry import dialect_for
from tests.export.networks import random_trained_graph, small_structure

W8A8 = Bits(weight=8, activation=8)


def lowered_graph(graph: Graph, *, signed: bool = False, seed: int = 0) -> LoweredNetwork:
    trained = random_trained_graph(graph, signed=signed, seed=seed)
    images = random_images(graph.input, 2, 0)
    return lower(trained, load_profile("stm32f746"), dialect_for("litert"), images, StepSource.RANDOM)


def lowered(bits: Bits = W8A8, *, resolution: int = 16, signed: bool = False, seed: int = 0) -> LoweredNetwork:
    """A stem, plain and pooled residuals, a head and a classifier; 14 pixels make the pooled size odd."""
    return lowered_graph(structure_graph(small_structure(bits, resolution=resolution)), signed=signed, seed=seed)
