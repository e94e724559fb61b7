"""Engines as TensorRT describes them, synthesised: no engine of either generation was at hand to record.

Shapes are those of the documentation and of public tools that read them: TensorRT 10 has `Bindings` and
`Format/Datatype`, TensorRT 11 `I/O Tensors`, `Engine Metadata`, `Format` and `Datatype`; `Metadata` joins ONNX nodes
with 0x1E (TREx) or 0x1F (other public tools).
"""

from __future__ import annotations

from typing import Any

from qedeploy.network.operations import OperationKind
from qedeploy.qdq.metadata import ModelMetadata
from tests.tensorrt_cpu.models import lowered, metadata_of, structure

INT8 = "Thirty-two wide channel vectorized row major Int8 format"
HALF = "Channel major FP16 format where channel % 8 == 0"
FLOAT = "Row major linear FP32"
IMMA = "sm75_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32_tilesize128x128_tensor8x8x16"


def model() -> ModelMetadata:
    """The plan of a small W8A8 network with two residuals, one of them pooled."""
    return metadata_of(lowered(structure(bottleneck=48)))


def engine(metadata: ModelMetadata, *, generation: int, slow: str = "", separator: str = "\x1e") -> dict[str, Any]:
    """An engine in which every layer is INT8 but `slow`, which reformats bring to float16 and back."""
    layers: list[dict[str, Any]] = [_reformat("image", FLOAT, INT8, generation)]
    for step in metadata.graph.operations:
        nodes = [f"{step.name}.weight.dequantize", step.name, f"{step.name}.relu"]
        match step.kind:
            case OperationKind.ADD:
                # The convolution of its branch has absorbed it.
                branch = next(item for item in layers if f"[ONNX Layer: {step.inputs[0]}]" in item["Metadata"])
                branch["Metadata"] += f"{separator}[ONNX Layer: {step.name}]"
            case OperationKind.AVERAGE_POOL | OperationKind.GLOBAL_AVERAGE_POOL:
                layers.append(_layer([step.name], "CaskPooling", INT8, "", INT8, generation, separator, tactic="pool"))
            case _ if step.name == slow:
                layers.append(_reformat(step.name, INT8, HALF, generation))
                layers.append(
                    _layer(nodes, "CaskConvolution", HALF, "Half", HALF, generation, separator, tactic="dw_fp16")
                )
                layers.append(_reformat(f"{step.name}.back", HALF, INT8, generation))
            case _:
                kind = "CaskConvolution"
                layers.append(_layer(nodes, kind, INT8, "Int8", INT8, generation, separator, tactic=IMMA))
    if generation == 10:
        return {"Layers": layers, "Bindings": ["image", "logits"]}
    tensors = [
        {"Name": name, "IOMode": mode, "DataType": "FP32", "Dimensions": [1, 10], "Location": "DEVICE"}
        for name, mode in (("image", "INPUT"), ("logits", "OUTPUT"))
    ]
    return {"Layers": layers, "I/O Tensors": tensors, "Engine Metadata": {"Multi-Device": "Disabled"}}


def seconds(document: dict[str, Any]) -> dict[str, float]:
    """A time for each layer of an engine: 10 us for what computes, 5 us for the rest."""
    return {layer["Name"]: 1e-5 if "Weights" in layer else 5e-6 for layer in document["Layers"]}


def _layer(
    nodes: list[str],
    kind: str,
    source: str,
    weights: str,
    target: str,
    generation: int,
    separator: str,
    *,
    tactic: str,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "Name": " + ".join(nodes),
        "LayerType": kind,
        "ParameterType": "Convolution",
        "Inputs": [_tensor("in", source, generation)],
        "Outputs": [_tensor("out", target, generation)],
        "TacticName": tactic,
        "StreamId": 0,
        "Metadata": separator.join(f"[ONNX Layer: {node}]" for node in nodes),
    }
    if weights:
        found["Weights"] = {"Type": weights, "Count": 512}
    return found


def _reformat(name: str, source: str, target: str, generation: int) -> dict[str, Any]:
    return {
        "Name": f"Reformatting CopyNode for Input Tensor 0 to {name}",
        "LayerType": "Reformat",
        "ParameterType": "Reformat",
        "Origin": "REFORMAT",
        "Inputs": [_tensor("in", source, generation)],
        "Outputs": [_tensor("out", target, generation)],
        "TacticValue": "0x00000000000003ea",
        "StreamId": 0,
        "Metadata": "",
    }


def _tensor(name: str, description: str, generation: int) -> dict[str, Any]:
    if generation == 10:
        return {"Name": name, "Location": "Device", "Dimensions": [1, 16, 8, 8], "Format/Datatype": description}
    kinds = {INT8: "INT8", HALF: "FP16", FLOAT: "FP32"}
    return {
        "Name": name,
        "Location": "Device",
        "Dimensions": [1, 16, 8, 8],
        "Format": description,
        "Datatype": kinds[description],
    }
