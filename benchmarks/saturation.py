"""Whether sessions compute the integers that files say, on a CPU with VNNI and on one without, or an emulated one.

The first run writes W8A8 and W7A8 forms of two networks, weights random over their whole range, with the logits of a
CPU that multiplies exactly; the second, anywhere, compares its own with them:

python benchmarks/saturation.py write FOLDER
qemu-x86_64 -cpu Haswell $(which python) benchmarks/saturation.py read FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "named_structures.json"
NETWORKS = ("mixed7d0G", "mixed19d2G")
WIDTHS = (8, 7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["write", "read"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    {"write": write, "read": read}[arguments.what](arguments.folder)


def write(folder: Path) -> None:
    from qedeploy.export.baselines import random_network
    from qedeploy.network.graph import structure_graph
    from qedeploy.network.lightnas import from_blocks
    from qedeploy.network.structure import Bits
    from qedeploy.qdq.writer import write_model
    from qedeploy.runtimes.processor import this_processor
    from qedeploy.runtimes.registry import dialect_for
    from qedeploy.runtimes.saturation import saturates

    if saturates(this_processor()):
        raise SystemExit("this CPU has no VNNI: write the files on one that multiplies exactly")
    folder.mkdir(parents=True, exist_ok=True)
    dialect = dialect_for("onnxruntime")
    for record in json.loads(GOLDEN.read_text()):
        if record["name"] not in NETWORKS:
            continue
        graph = structure_graph(from_blocks(record["structure"]))
        for width in WIDTHS:
            bits = Bits(weight=width, activation=8)
            network = random_network(graph.with_bits({layer.name: bits for layer in graph.layers}), dialect)
            model = write_model(dialect.arrange(network), dialect).model
            path = folder / f"{record['name']}-W{width}A8.onnx"
            path.write_bytes(model.SerializeToString())
            np.save(path.with_suffix(".npy"), logits(path, exact=False))


def read(folder: Path) -> None:
    print(f"{'file':24} {'session':18} {'RMS of logits':>14} {'same top-1':>11}")
    for path in sorted(folder.glob("*.onnx")):
        expected = np.load(path.with_suffix(".npy"), allow_pickle=False)
        for exact in (False, True):
            found = logits(path, exact=exact)
            error = float(np.sqrt(np.mean((found - expected) ** 2)) / expected.std())
            same = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
            print(
                f"{path.stem:24} {'x64quantprecision' if exact else 'plain':18} {error:>14.2%} {same:>11.0%}",
                flush=True,
            )


def logits(path: Path, *, exact: bool) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shape = [4, *session.get_inputs()[0].shape[1:]]
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found: np.ndarray = session.run(None, {"image": images})[0]
    return found


if __name__ == "__main__":
    main()
