"""Times exported Mixed7d0G and Mixed19d2G on ONNX Runtime, one thread, against two rivals made of the same network.

Rivals: float32, and `onnxruntime.quantization.quantize_static` of it (QDQ, per channel, uint8 activations). All three
take turns in one run; a ratio is the median over rounds of the ratio within the round, with a 95 % bootstrap interval.

Run: python benchmarks/export_speed.py [--rounds 300]
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from qedeploy.export.baselines import random_network, write_float_onnx
from qedeploy.network.graph import structure_graph
from qedeploy.network.lightnas import from_blocks
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.onnxruntime.session import open_session
from qedeploy.runtimes.registry import dialect_for

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "named_structures.json"
FLOAT_TARGET = {"mixed7d0G": 0.75, "mixed19d2G": 0.5}


class Images(CalibrationDataReader):
    """Four images of noise."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        generator = np.random.default_rng(0)
        self._images = iter([{"image": generator.standard_normal(shape, np.float32)} for _ in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next input, None after the last."""
        return next(self._images, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    logging.disable(logging.WARNING)
    records = {record["name"]: record for record in json.loads(GOLDEN.read_text())}
    for name, target in FLOAT_TARGET.items():
        with tempfile.TemporaryDirectory() as folder:
            times = measure(write_models(records[name], Path(folder)), rounds)
        print(f"{name}: one thread, {rounds} interleaved rounds, median ms: " + describe(times))
        print(f"  / quantize_static  {ratio(times['qedeploy'], times['quantize_static'])}  (to meet: at most 1)")
        print(f"  / float32          {ratio(times['qedeploy'], times['float32'])}  (to meet: at most {target})")


def write_models(record: dict[str, Any], folder: Path) -> dict[str, Path]:
    dialect = dialect_for("onnxruntime")
    structure = from_blocks(record["structure"])
    network = random_network(structure_graph(structure), dialect)
    ours, plain, prepared, rival = (folder / f"{name}.onnx" for name in ("ours", "float32", "prepared", "static"))
    ours.write_bytes(write_model(dialect.arrange(network), dialect).model.SerializeToString())
    write_float_onnx(network, plain, dialect)
    quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        rival,
        Images((1, *structure.image_sizes)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return {"qedeploy": ours, "quantize_static": rival, "float32": plain}


def measure(models: dict[str, Path], rounds: int) -> dict[str, np.ndarray]:
    sessions = {name: open_session(path, threads=1) for name, path in models.items()}
    shape = next(iter(sessions.values())).get_inputs()[0].shape
    feed = {"image": np.random.default_rng(1).standard_normal((1, *shape[1:]), np.float32)}
    order = np.random.default_rng(2)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(rounds + 20):
        for name in order.permutation(list(sessions)):
            start = time.perf_counter()
            sessions[name].run(None, feed)
            if turn >= 20:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in times.items()}


def describe(times: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {np.median(values):.2f}" for name, values in times.items())


def ratio(ours: np.ndarray, theirs: np.ndarray) -> str:
    ratios = ours / theirs
    drawn = np.random.default_rng(3).choice(ratios, (2000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return f"{np.median(ratios):.3f}x [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
