"""From a lowered network to model.tflite: translated, written, verified, and only then put in place."""

from __future__ import annotations

import hashlib
import time
from importlib.metadata import version
from pathlib import Path

from qedeploy.errors import RequestError
from qedeploy.files import sha256, write_bytes
from qedeploy.publishing import together
from qedeploy.runtimes.base import Artefact, BuildSource
from qedeploy.runtimes.litert.c_array import write_c_array
from qedeploy.runtimes.litert.flatbuffer import to_flatbuffer
from qedeploy.runtimes.litert.memory import measure, shortages
from qedeploy.runtimes.litert.record import LiteRTRecord, write_record
from qedeploy.runtimes.litert.translation import translate
from qedeploy.runtimes.litert.verification import verify
from qedeploy.units import format_bytes


def build(source: BuildSource, target: Path, batch: int, *, c_array: bool = False) -> Artefact:
    """Write `source` as `target` and its record beside it, with `c_array` also as C source.

    Raises RequestError for an ONNX file that is not ours or a layer that LiteRT does not compute, WrongIntegersError
    where the file does not compute its plan; nothing is written then.
    """
    started = time.monotonic()
    network, metadata = source.network, source.metadata
    if network is None or metadata is None or source.blocks is not None:
        raise RequestError(f"{source.model}: LiteRT files are written from whole networks of qedeploy export alone")
    program = translate(network, batch)
    content = to_flatbuffer(program)
    verification = verify(network, program, content)
    memory = measure(program, len(content))
    graph = metadata.graph
    record = LiteRTRecord(
        litert=version("ai-edge-litert"),
        sha256=hashlib.sha256(content).hexdigest(),
        onnx=source.model.name,
        onnx_sha256=sha256(source.model),
        batch=batch,
        profile=metadata.profile,
        lowering=metadata.plan,
        verification=verification,
        memory=memory,
        structure=graph.structure,
        graph=None if graph.structure is not None else graph,
        images=metadata.images,
    )
    with together(target.parent):
        write_bytes(target, content)
        write_record(record, target)
        if c_array:
            write_c_array(content, target)
    return Artefact(
        path=target,
        size_bytes=len(content),
        seconds=time.monotonic() - started,
        description=(
            f"full-integer int8, batch {batch}; {verification}; SRAM arena {format_bytes(memory.arena)}, "
            f"flash {format_bytes(memory.flash)}"
        ),
        warnings=() if source.profile is None else shortages(memory, source.profile),
    )
