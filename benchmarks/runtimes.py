"""Times Mixed7d0G and Mixed19d2G in every runtime of this CPU, one thread, in turn, with how exact each form is.

Weights are random, one draw for all forms. Time is the process's CPU time of a query; a ratio is the median over rounds
of the ratio within the round, with the 10th and 90th percentile. Exactness is what a form computes against what it
says: ours against PyTorch's run of the plan, others against their own graph executed literally, as the root mean square
of the logits' difference in percent of the logits' deviation. One integer that rounds to the other side adds up to
percents of an untrained network, so it is also said how far the last bits of float32 alone move the plan's logits.

Run: python benchmarks/runtimes.py [--rounds 60]. NNCF is left out where `pip install nncf` has not been.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import torch
from export_speed import GOLDEN, write_models
from numpy.typing import NDArray

from qedeploy.export.baselines import random_network, uniform
from qedeploy.network.graph import Graph, structure_graph
from qedeploy.network.lightnas import from_blocks
from qedeploy.qdq import simulation
from qedeploy.qdq.dialect import Dialect
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.litert.flatbuffer import to_flatbuffer
from qedeploy.runtimes.litert.interpreter import load
from qedeploy.runtimes.litert.ports import ports
from qedeploy.runtimes.litert.translation import translate
from qedeploy.runtimes.onnxruntime.session import open_session
from qedeploy.runtimes.openvino.session import SETTINGS
from qedeploy.runtimes.openvino.verification import verify
from qedeploy.runtimes.processor import cpuinfo, this_processor
from qedeploy.runtimes.registry import dialect_for

NETWORKS = ("mixed7d0G", "mixed19d2G")
PACKAGES = ("onnxruntime", "openvino", "nncf", "ai-edge-litert", "torch")
OURS = "ONNX Runtime, ours"
WARM_UP = 10
CHECKED = 4

Images = NDArray[np.float32]
Query = Callable[[Images], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A network as one runtime runs it: a query of one image, and logits as the form says them, (images, classes).

    `timed` runs the last query again without bringing its image to the runtime's form, where that is work.
    """

    query: Query
    literal: NDArray[np.floating[Any]]
    timed: Callable[[], object] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    logging.disable(logging.WARNING)
    processor = this_processor()
    print(f"CPU: {cpuinfo('model name')}, one thread; instruction sets: {', '.join(processor.instruction_sets)}")
    print("packages: " + ", ".join(f"{name} {found}" for name in PACKAGES if (found := installed(name))))
    records = {record["name"]: record for record in json.loads(GOLDEN.read_text())}
    for name in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            report(name, records[name], Path(folder), rounds)


def report(name: str, record: dict[str, Any], folder: Path, rounds: int) -> None:
    graph = structure_graph(from_blocks(record["structure"]))
    images = random_images(graph.input, CHECKED, 0)
    fed = images.to(torch.float32).numpy()
    forms, notes = made(record, graph, images, folder)
    times = alternate(forms, fed[:1], rounds)
    print(f"\n{name}: {rounds} rounds in turn\n")
    print("| form | CPU time of a query | against ours in ONNX Runtime | logits off what it says | same top-1 |")
    print("|---|---|---|---|---|")
    for form, own in forms.items():
        found = np.concatenate([own.query(fed[index : index + 1]) for index in range(CHECKED)])
        ratios = times[form] / times[OURS]
        low, middle, high = np.percentile(ratios, [10, 50, 90])
        off = np.sqrt(np.mean((found - own.literal) ** 2)) / own.literal.std()
        same = np.mean(found.argmax(axis=1) == own.literal.argmax(axis=1))
        print(
            f"| {form} | {1e3 * np.median(times[form]):.2f} ms | {middle:.2f} [{low:.2f}, {high:.2f}] | "
            f"{100 * off:.2g} % | {round(CHECKED * same)} of {CHECKED} |"
        )
    print()
    for note in notes:
        print(f"- {note}")


def made(record: dict[str, Any], graph: Graph, images: torch.Tensor, folder: Path) -> tuple[dict[str, Form], list[str]]:
    """Return the forms by name, and what is to be said of them."""
    fed = images.to(torch.float32).numpy()
    written = write_models(record, folder)
    dialects = {name: dialect_for(name) for name in ("onnxruntime", "openvino", "litert")}
    networks = {name: dialect.arrange(random_network(graph, dialect)) for name, dialect in dialects.items()}
    plans = {name: simulation.logits(network, images).numpy() for name, network in networks.items()}
    floating = literally(written["float32"], fed)
    static = literally(written["quantize_static"], fed)
    own = model_of(networks["openvino"], dialects["openvino"])
    wide = random_network(uniform(graph, 8), dialects["openvino"])
    forms = {
        "ONNX Runtime, float32": Form(query=in_onnxruntime(written["float32"]), literal=floating),
        OURS: Form(query=in_onnxruntime(written["qedeploy"]), literal=plans["onnxruntime"]),
        "ONNX Runtime, quantize_static": Form(query=in_onnxruntime(written["quantize_static"]), literal=static),
        "OpenVINO, float32": Form(query=in_openvino(read(written["float32"])), literal=floating),
        "OpenVINO, ours": Form(query=in_openvino(own), literal=plans["openvino"]),
        "OpenVINO, ours with all layers W8A8": Form(
            query=in_openvino(model_of(wide, dialects["openvino"])),
            literal=simulation.logits(wide, images).numpy(),
        ),
        "OpenVINO, ours for ONNX Runtime": Form(
            query=in_openvino(read(written["qedeploy"])), literal=plans["onnxruntime"]
        ),
        "OpenVINO, quantize_static": Form(query=in_openvino(read(written["quantize_static"])), literal=static),
        **with_nncf(written["float32"], fed),
        "LiteRT with XNNPACK, ours": in_litert(networks["litert"], plans["litert"]),
    }
    execution = verify(networks["openvino"], dialects["openvino"], images, f"OpenVINO {version('openvino')}")
    exact = integers_here(networks["onnxruntime"], dialects["onnxruntime"], images)
    return forms, [f"OpenVINO, ours: {execution}.", exact]


def integers_here(network: LoweredNetwork, dialect: Dialect, images: torch.Tensor) -> str:
    from qedeploy.export.comparison import compare_with_pytorch

    found = compare_with_pytorch(
        network,
        write_model(network, dialect),
        images,
        simulation.logits(network, images),
        float_tolerance=dialect.float_tolerance,
        exact=False,
    )
    return (
        f"{OURS}: {found.differing} of {found.values:,} integers differ from the plan, each layer on the runtime's own "
        "inputs, in a session without options."
    )


def alternate(forms: Mapping[str, Form], image: Images, rounds: int) -> dict[str, NDArray[np.float64]]:
    """Return CPU seconds of each form's queries, (rounds,); within a round the forms come in a random order."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    order = np.random.default_rng(2)
    gc.disable()
    for turn in range(rounds + WARM_UP):
        for name in order.permutation(list(forms)):
            # One query leaves the caches to the next: the second of two in a row is the one that counts.
            form = forms[name]
            form.query(image)
            again = form.timed or functools.partial(form.query, image)
            start = time.process_time()
            again()
            if turn >= WARM_UP:
                times[name].append(time.process_time() - start)
    gc.enable()
    return {name: np.array(values) for name, values in times.items()}


def in_onnxruntime(path: Path) -> Query:
    """Return a query of the session that a user has, without options."""
    session = open_session(path, threads=1, exact=False)

    def query(images: Images) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(None, {"image": images})[0]
        return found

    return query


def literally(path: Path, images: Images) -> NDArray[np.float32]:
    """Return the logits of a file of which nothing is fused."""
    session = open_session(path, optimize=False)
    found: NDArray[np.float32] = session.run(None, {"image": images})[0]
    return found


def read(path: Path) -> openvino.Model:
    return openvino.Core().read_model(str(path))


def model_of(network: LoweredNetwork, dialect: Dialect) -> openvino.Model:
    return openvino.Core().read_model(write_model(network, dialect).model.SerializeToString())


def in_openvino(model: openvino.Model, **settings: str) -> Query:
    compiled = openvino.Core().compile_model(model, "CPU", {**SETTINGS, "INFERENCE_NUM_THREADS": 1, **settings})
    request = compiled.create_infer_request()

    def query(images: Images) -> NDArray[np.float32]:
        found: NDArray[np.float32] = request.infer([images])[compiled.output(0)]
        return np.array(found)

    return query


def with_nncf(path: Path, images: Images) -> dict[str, Form]:
    """Return NNCF's quantization of a float file, by its usual settings, where it is installed."""
    if installed("nncf") is None:
        return {}
    import nncf

    fixed = onnx.load(path)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    target = path.with_name("fixed.onnx")
    onnx.save(fixed, target)
    generator = np.random.default_rng(0)
    calibration = [generator.standard_normal(images[:1].shape).astype(np.float32) for _ in range(4)]
    model = nncf.quantize(read(target), nncf.Dataset(calibration))
    # Without these transformations the quantized graph is computed in float32, as it says.
    literal = in_openvino(model, LP_TRANSFORMS_MODE="NO")
    said = np.concatenate([literal(images[index : index + 1]) for index in range(len(images))])
    return {"OpenVINO, NNCF": Form(query=in_openvino(model), literal=said)}


def in_litert(network: LoweredNetwork, logits: NDArray[np.float64]) -> Form:
    """Return the file of a microcontroller or phone; its logits are integers as well."""
    interpreter = load(to_flatbuffer(translate(network, 1)))
    (source,) = ports(interpreter.get_input_details(), Path("model.tflite"), ours=True)
    (target,) = ports(interpreter.get_output_details(), Path("model.tflite"), ours=True, output=True)

    def query(images: Images) -> NDArray[np.float32]:
        interpreter.set_tensor(source.index, source.store(images))
        interpreter.invoke()
        found: NDArray[np.float32] = target.load(interpreter.get_tensor(target.index))
        return found

    grid = network.plan.grids()[network.graph.operations[-1].name]
    rounded = simulation.quantize(torch.from_numpy(logits), grid).numpy() * grid.step
    return Form(query=query, literal=rounded, timed=interpreter.invoke)


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
