"""Reads an ONNX graph and refuses everything that is not on a short list.

One float input and one output, both with the samples along the first axis; standard operators only,
each acting on one sample at a time; no external files, no functions, no nested graphs, no shared
weights. What the operators become stands in `trainer.models.layers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs
from numpy.typing import NDArray
from onnx import checker, helper, numpy_helper

from trainer.models.errors import ModelRefused

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_NODES: Final = 512
OPSETS: Final = range(11, 26)
OPERATORS: Final = frozenset(
    {
        "Add",
        "AveragePool",
        "Concat",
        "Conv",
        "ConvTranspose",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "GroupNormalization",
        "Identity",
        "InstanceNormalization",
        "LeakyRelu",
        "MaxPool",
        "Mul",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Tanh",
    }
)
FROZEN_KEY: Final = "depa.frozen"
"""Metadata entry: names of the initialisers that are not trained, joined by commas."""
_BY_SHAPE: Final = ("Reshape", "Resize")
"""Operators whose initialisers are shapes and scales, which may be shared: none is trained."""
_ARRAY_TYPES: Final = (np.float32, np.int64)


@dataclass(frozen=True)
class Node:
    """One operator."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A checked graph; the nodes are in an order in which they can run."""

    input: str
    input_shape: tuple[int, ...]
    """Shape of one sample."""
    output: str
    nodes: tuple[Node, ...]
    arrays: Mapping[str, NDArray[Any]]
    """Initialisers by name."""
    frozen: frozenset[str]
    """Initialisers that are not trained."""
    opset: int


def read_graph(data: bytes) -> Graph:
    """Read and check an ONNX file.

    Raises:
        ModelRefused: naming the first thing that is not allowed.
    """
    model = parse_onnx(data)
    graph = model.graph
    opset = _opset(model)
    arrays = {item.name: _array(item) for item in graph.initializer}
    if len(arrays) != len(graph.initializer):
        raise ModelRefused("onnx: two initialisers have one name")
    inputs = [item for item in graph.input if item.name not in arrays]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelRefused(
            f"onnx: expected one input and one output, got {len(inputs)} and {len(graph.output)}"
        )
    if graph.sparse_initializer or model.functions:
        raise ModelRefused("onnx: sparse initialisers and functions are not allowed")
    if not 0 < len(graph.node) <= MAX_NODES:
        raise ModelRefused(f"onnx: expected 1 to {MAX_NODES} nodes, got {len(graph.node)}")
    frozen = _frozen(model, arrays)
    nodes = tuple(map(_node, graph.node))
    _each_used_once(nodes, arrays)
    return Graph(
        input=inputs[0].name,
        input_shape=_sample_shape(inputs[0]),
        output=graph.output[0].name,
        nodes=nodes,
        arrays=arrays,
        frozen=frozen,
        opset=opset,
    )


def parse_onnx(data: bytes) -> onnx.ModelProto:
    """Parse the bytes of an ONNX file and run the standard's own checks.

    Raises:
        ModelRefused: if it is too large, damaged, or refers to other files.
    """
    if len(data) > MAX_BYTES:
        raise ModelRefused(f"onnx: {len(data)} bytes, at most {MAX_BYTES} are allowed")
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ModelRefused(f"onnx: not an ONNX file: {error}") from None
    for item in _tensors(model):
        if item.data_location != onnx.TensorProto.DEFAULT or item.external_data:
            raise ModelRefused(f"onnx: {item.name} lies in another file")
    _opset(model)
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ModelRefused(f"onnx: {str(error).splitlines()[0][:300]}") from None
    return model


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors


def _opset(model: onnx.ModelProto) -> int:
    versions = {item.domain: item.version for item in model.opset_import}
    if set(versions) - {"", "ai.onnx"}:
        raise ModelRefused(f"onnx: operator sets {sorted(versions)}, only the standard is allowed")
    version = versions.get("", versions.get("ai.onnx", 0))
    if version not in OPSETS:
        raise ModelRefused(
            f"onnx: opset {version}, expected {OPSETS.start} to {OPSETS.stop - 1}",
            hint="export the model again with one of these opsets",
        )
    return int(version)


def _array(item: onnx.TensorProto) -> NDArray[Any]:
    try:
        array = numpy_helper.to_array(item)
    except (ValueError, TypeError) as error:
        raise ModelRefused(f"onnx: initialiser {item.name}: {error}") from None
    if array.dtype.type not in _ARRAY_TYPES:
        raise ModelRefused(f"onnx: initialiser {item.name} is {array.dtype}, expected float32")
    if not np.isfinite(array).all():
        raise ModelRefused(f"onnx: initialiser {item.name} holds a number that is not finite")
    return array


def _frozen(model: onnx.ModelProto, arrays: Mapping[str, NDArray[Any]]) -> frozenset[str]:
    entries = {item.key: item.value for item in model.metadata_props}
    names = frozenset(filter(None, entries.get(FROZEN_KEY, "").split(",")))
    unknown = sorted(names - set(arrays))
    if unknown:
        raise ModelRefused(f"onnx: {FROZEN_KEY} names {unknown[:3]}, which are no initialisers")
    return names


def _node(node: onnx.NodeProto) -> Node:
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        raise ModelRefused(
            f"onnx: operator {node.domain}{node.op_type} is not on the list",
            hint=f"allowed are {', '.join(sorted(OPERATORS))}",
        )
    # Whoever resizes leaves out the region, which is for another way of resizing.
    left_out = [place for place, name in enumerate(node.input) if not name]
    if len(node.output) != 1 or left_out != ([1] if node.op_type == "Resize" else []):
        raise ModelRefused(f"onnx: {node.op_type} leaves out an input or has several outputs")
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return Node(node.op_type, tuple(node.input), node.output[0], attributes)


def _each_used_once(nodes: tuple[Node, ...], arrays: Mapping[str, NDArray[Any]]) -> None:
    uses = Counter(name for node in nodes for name in node.inputs if name in arrays)
    trained = {name for node in nodes if node.operator not in _BY_SHAPE for name in node.inputs}
    shared = sorted(name for name, count in uses.items() if count > 1 and name in trained)
    if shared:
        raise ModelRefused(f"onnx: {shared[:3]} are used twice; shared weights are not allowed")


def _sample_shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    kind = value.type.tensor_type
    sides = [item.dim_value for item in kind.shape.dim]
    if kind.elem_type != onnx.TensorProto.FLOAT or len(sides) < 2 or not all(sides[1:]):
        raise ModelRefused(
            f"onnx: input {value.name}: expected float32 with fixed sides after the first"
        )
    return tuple(sides[1:])
