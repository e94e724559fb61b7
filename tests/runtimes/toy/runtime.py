"""A runtime that another package could bring: its files are JSON and not ONNX, and ONNX Runtime does its arithmetic."""

from __future__ import annotations

import base64
import json
import tempfile
import time
from pathlib import Path

from qedeploy.errors import MissingRuntimeError, UserError
from qedeploy.profiles.capabilities import Capabilities
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq.metadata import read_metadata, to_properties
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.base import Artefact, Runtime, ignore
from qedeploy.runtimes.findings import Finding, Readiness
from qedeploy.runtimes.onnxruntime.dialect import OnnxRuntimeDialect
from qedeploy.runtimes.onnxruntime.runner import OnnxRuntimeRunner
from qedeploy.runtimes.options import Option, chosen
from qedeploy.runtimes.recorded import RecordedRun, Recordings
from qedeploy.runtimes.runner import NodeTime, ProfiledRun, RunnerDescription
from qedeploy.runtimes.sections import Column, RuntimeReport, Section
from qedeploy.runtimes.timing import Samples


class ToyDialect(OnnxRuntimeDialect):
    name = "toy"
    runtime = "toy"


class PlainToyDialect(ToyDialect):
    """A second dialect of the same runtime: it leaves channels as they are."""

    name = "toy-plain"
    channel_multiple = 1


class ToyRunner(OnnxRuntimeRunner):
    def __init__(self, path, options):
        self._toy = path
        self._colour = chosen(Toy.run_options, options.settings)["colour"]
        self._folder = tempfile.TemporaryDirectory()
        self._document = read_toy(path)
        model = Path(self._folder.name) / "inside.onnx"
        model.write_bytes(base64.b64decode(self._document["graph"]))
        super().__init__(model, options)

    def __exit__(self, *error):
        super().__exit__(*error)
        self._folder.cleanup()

    @property
    def description(self):
        found = super().description
        return RunnerDescription(
            runtime=Toy.label, version="1.0", device=found.device, latency=found.latency, inputs=found.inputs,
            batch=found.batch, threads=found.threads, settings={"colour": self._colour},
        )  # fmt: skip

    def report(self):
        layers = self._document["layers"]
        return RuntimeReport(
            sections=(
                Section(
                    title="What the toy is made of",
                    columns=(Column(title="part", widest=10), Column(title="count", number=True)),
                    rows=(("layers of the <toy>", str(len(layers))),),
                ),
            ),
            findings=(f"The toy is {self._colour}.",),
            warnings=("A toy's figures mean nothing.",),
            figures={"colour": self._colour, "layers": layers},
        )


class Toy(Runtime):
    name = "toy"
    label = "Toy Runtime"
    capabilities = Capabilities(lowerings=(Lowering.INT8,), unsigned_activation_bits=8)
    suffixes = (".toy",)
    dialects = ("toy", "toy-plain")
    artefact = "model.toy"
    run_options = (Option(name="colour", default="red", help="Colour of the toy."),)
    build_options = (Option(name="wheels", kind=int, default=4, help="Wheels of the toy."),)

    def dialect(self, name):
        return {"toy": ToyDialect, "toy-plain": PlainToyDialect}[name]()

    def open(self, path, options):
        return ToyRunner(path, options)

    def version(self):
        return "1.0"

    def require_settings(self, settings, batch):
        if chosen(self.build_options, settings)["wheels"] < 3:
            raise UserError("--wheels: a toy falls over on fewer than 3")

    def build(self, source, target, settings, batch, on_event=ignore):
        if source.metadata is None:
            raise MissingRuntimeError("toys are made of exports only")
        started = time.monotonic()
        wheels = chosen(self.build_options, settings)["wheels"]
        on_event({"event": "notice", "text": f"fitting {wheels} wheels"})
        # From the network and not from the ONNX file, as a runtime that reads another form does.
        written = write_model(
            source.network, self.dialect(source.network.plan.dialect), metadata=to_properties(source.metadata)
        )
        document = {
            "toy": 1,
            "wheels": wheels,
            "layers": list(source.network.layers),
            "graph": base64.b64encode(written.model.SerializeToString()).decode(),
        }
        target.write_text(json.dumps(document))
        return Artefact(
            path=target,
            size_bytes=target.stat().st_size,
            seconds=time.monotonic() - started,
            description=f"{self.label} 1.0 on {wheels} wheels",
        )

    def metadata(self, path):
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "inside.onnx"
            model.write_bytes(base64.b64decode(read_toy(path)["graph"]))
            return read_metadata(model)

    def findings(self):
        return (Finding(name=self.label, status=Readiness.READY, detail="1.0, in the toy box"),)


def read_toy(path):
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not a toy: build it again") from error


def _require(folder):
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder with a toyscope.json")


def _recorded(folder):
    milliseconds = json.loads((folder / "toyscope.json").read_text())
    seconds = [value * 1e-3 for value in milliseconds]
    import numpy as np

    mean = float(np.mean(seconds))
    return RecordedRun(
        source=folder / "toyscope.json",
        description=RunnerDescription(
            runtime=Toy.label, version="0.9", device="a toy elsewhere", latency="as toyscope counts", inputs=(),
            batch=1, threads=1, settings={"source": "toyscope"},
        ),
        metadata=None,
        samples=Samples(latency=np.asarray(seconds), elapsed=sum(seconds)),
        profile=ProfiledRun(
            nodes=(NodeTime(name="wheel", op_type="Roll", seconds=mean),), inside=mean, whole=mean, queries=len(seconds)
        ),
        report=RuntimeReport(),
    )  # fmt: skip


Toy.recordings = (Recordings(tool="toyscope", help="Report what toyscope saw.", require=_require, read=_recorded),)


class OnnxToy(Toy):
    """A runtime that runs ONNX files, as others do."""

    name = "onnxtoy"
    suffixes = (".onnx",)

    def metadata(self, path):
        return read_metadata(path)


TOY, ONNX_TOY = Toy(), OnnxToy()
