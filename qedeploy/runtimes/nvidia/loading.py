"""Loading a plan in the measured process and binding its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.errors import RequestError, UserError
from qedeploy.files import read_bytes
from qedeploy.runtimes.inputs import random_values
from qedeploy.runtimes.nvidia.child import Emit
from qedeploy.runtimes.nvidia.cuda import Buffer, Cuda, open_cuda
from qedeploy.runtimes.nvidia.machine import inspect_machine, load_tensorrt
from qedeploy.runtimes.nvidia.messages import Messages, logger
from qedeploy.runtimes.nvidia.product import Product
from qedeploy.runtimes.nvidia.refusals import refusal
from qedeploy.runtimes.nvidia.runtime_cache import RuntimeCache


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A plan on the GPU, ready to run: its tensors bound, its queries launched by `launch`."""

    trt: Any
    log: Any
    cuda: Cuda
    engine: Any
    context: Any
    inputs: Mapping[str, Buffer]
    outputs: Mapping[str, Buffer]
    shapes: Mapping[str, tuple[int, ...]]
    launch: Callable[[], object]
    transfers: bool
    profiled: Any = None

    def upload(self) -> None:
        """Queue the copies of all inputs."""
        for buffer in self.inputs.values():
            self.cuda.upload(buffer)

    def download(self) -> None:
        """Queue the copies of all outputs."""
        for buffer in self.outputs.values():
            self.cuda.download(buffer)


def load(request: Mapping[str, Any], emit: Emit) -> tuple[Loaded, Mapping[str, Any]]:
    """Load the plan of a request and bind its tensors to random, non-zero inputs.

    Raises MissingRuntimeError where driver or TensorRT are missing or do not fit the plan, UserError where it is no
    plan, RequestError where the GPU's memory does not suffice.
    """
    # TensorRT ends in a segmentation fault when it loads a plan without a driver: ask before.
    product = Product.from_document(request["product"])
    inspect_machine(product).require()
    trt = load_tensorrt(product)
    messages = Messages(emit)
    log = logger(trt, messages)
    cuda = open_cuda(spin_wait=request["spin_wait"])
    plan = Path(request["plan"])
    engine = trt.Runtime(log).deserialize_cuda_engine(read_bytes(plan))
    if engine is None:
        raise refusal(plan, messages.errors, trt.__version__, product.label)
    kernels = RuntimeCache.of(engine, trt.__version__, emit) if product.ahead_of_time else None
    context = _context(engine, plan, messages, kernels)
    shapes = _set_shapes(trt, engine, context, request["batch"], plan)
    inputs, outputs = _bind(trt, engine, context, cuda, shapes, request["seed"])
    loaded = Loaded(
        trt=trt,
        log=log,
        cuda=cuda,
        engine=engine,
        context=context,
        inputs=inputs,
        outputs=outputs,
        shapes=shapes,
        launch=lambda: None,
        transfers=request["transfers"],
    )
    graphed = _prepare_launch(loaded, wanted=request["cuda_graph"], plan=plan, messages=messages)
    if kernels is not None:
        # The first queries have made them.
        kernels.save()
    return loaded, {**_describe(loaded, graphed), "runtime_cache": None if kernels is None else kernels.state}


def _context(engine: Any, plan: Path, messages: Messages, kernels: RuntimeCache | None) -> Any:
    context = engine.create_execution_context() if kernels is None else engine.create_execution_context(kernels.config)
    if context is None:
        raise RequestError(f"{plan}: cannot be run: {messages.reason()}; free the GPU's memory, or build it again")
    return context


def _set_shapes(trt: Any, engine: Any, context: Any, batch: int | None, plan: Path) -> Mapping[str, tuple[int, ...]]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    for name in names:
        shape = tuple(engine.get_tensor_shape(name))
        if engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT:
            continue
        if -1 in shape:
            low, best, high = (tuple(found) for found in engine.get_tensor_profile_shape(name, 0))
            size = batch or best[0]
            wanted = (size, *best[1:])
            if not low[0] <= size <= high[0] or not context.set_input_shape(name, wanted):
                raise UserError(f"{plan}: runs batches of {low[0]} to {high[0]}: expected --batch there, found {size}")
        elif batch not in {None, shape[0]}:
            raise UserError(f"{plan}: its batch is fixed: expected --batch {shape[0]}, found --batch {batch}")
    return {name: tuple(context.get_tensor_shape(name)) for name in names}


def _bind(
    trt: Any, engine: Any, context: Any, cuda: Cuda, shapes: Mapping[str, tuple[int, ...]], seed: int
) -> tuple[dict[str, Buffer], dict[str, Buffer]]:
    generator = np.random.default_rng(seed)
    inputs: dict[str, Buffer] = {}
    outputs: dict[str, Buffer] = {}
    for name, shape in shapes.items():
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        buffer = cuda.allocate(int(np.prod(shape)) * dtype.itemsize)
        context.set_tensor_address(name, buffer.address)
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            values = random_values(shape, dtype, generator)
            buffer.host[:] = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            cuda.upload(buffer)
            inputs[name] = buffer
        else:
            outputs[name] = buffer
    cuda.synchronize()
    return inputs, outputs


def _prepare_launch(loaded: Loaded, *, wanted: bool, plan: Path, messages: Messages) -> str:
    cuda, context = loaded.cuda, loaded.context
    stream = cuda.stream

    def enqueue() -> bool:
        return bool(context.execute_async_v3(stream))

    # One plain query before a capture: TensorRT finishes its set-up of the shapes in it, which cannot be captured.
    if not enqueue():
        raise RequestError(f"{plan}: cannot be run: {messages.reason()}")
    cuda.synchronize()
    loaded.launch = enqueue
    if not wanted:
        return "off"
    replay = cuda.capture(enqueue)
    if replay is None:
        return "off (this engine cannot be captured)"
    loaded.launch = replay
    replay()
    cuda.synchronize()
    return "on"


def _describe(loaded: Loaded, graphed: str) -> Mapping[str, Any]:
    engine, trt = loaded.engine, loaded.trt
    return {
        "tensorrt": trt.__version__,
        "cuda": loaded.cuda.name,
        "bus_id": loaded.cuda.bus_id(),
        "cuda_graph": graphed,
        "device_memory_bytes": int(engine.device_memory_size_v2),
        "inputs": [
            {"name": name, "element_type": engine.get_tensor_dtype(name).name.lower(), "shape": list(shape)}
            for name, shape in loaded.shapes.items()
            if name in loaded.inputs
        ],
    }
