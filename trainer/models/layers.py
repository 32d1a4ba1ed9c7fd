"""One torch layer for each ONNX operator of the list.

Every layer works on each sample of the batch by itself. Weights become parameters of standard torch
layers, for which per-sample gradients exist; constants become buffers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.models.errors import ModelRefused
from trainer.models.graph import Node


@dataclass(frozen=True)
class Layer:
    """A torch layer and where its parameters come from."""

    module: nn.Module
    inputs: tuple[str, ...]
    """Names of the values that it takes, without initialisers."""
    sources: Mapping[str, str]
    """Initialiser of each parameter, by the parameter's name in the module."""
    transposed: bool = False
    """Whether the weight's initialiser is the transposed parameter."""


class Plus(nn.Module):
    """The sum of two values of one shape."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the sum."""
        return left + right


class Times(nn.Module):
    """The product of two values of one shape."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the product."""
        return left * right


class Constant(nn.Module):
    """Adds or multiplies a constant that is not trained."""

    value: Tensor

    def __init__(self, value: Tensor, *, multiply: bool) -> None:
        super().__init__()
        self.register_buffer("value", value, persistent=False)
        self._multiply = multiply

    def forward(self, x: Tensor) -> Tensor:
        """Return the input with the constant applied to every sample."""
        return x * self.value if self._multiply else x + self.value


class Reshape(nn.Module):
    """Gives every sample a new shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Return `[n, *shape]`."""
        return x.reshape(x.shape[0], *self._shape)


class Concat(nn.Module):
    """Joins values along the channels."""

    def forward(self, *values: Tensor) -> Tensor:
        """Return the values one after the other along axis 1."""
        return torch.cat(values, dim=1)


class GlobalAverage(nn.Module):
    """The mean of every channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `[n, channels, 1, 1]`."""
        return x.mean(dim=(2, 3), keepdim=True)


def build_layer(node: Node, arrays: Mapping[str, NDArray[Any]]) -> Layer:  # noqa: PLR0911
    """Return the layer of a node, with the initialisers' values in it.

    Raises:
        ModelRefused: if an attribute has a value that is not supported.
    """
    values = tuple(name for name in node.inputs if name not in arrays)
    match node.operator:
        case "Conv":
            return _conv(node, arrays)
        case "Gemm":
            return _gemm(node, arrays)
        case "GroupNormalization":
            return _group_norm(node, arrays)
        case "Add" | "Mul":
            return _combine(node, arrays)
        case "MaxPool" | "AveragePool":
            return Layer(_pool(node), values, {})
        case "Reshape":
            return Layer(_reshape(node, arrays), values, {})
        case "Flatten":
            _only(node, "axis", 1, default=1)
            return Layer(nn.Flatten(), values, {})
        case "Concat":
            _only(node, "axis", 1)
            if len(values) != len(node.inputs):
                raise ModelRefused("onnx: Concat of a constant is not allowed")
            return Layer(Concat(), values, {})
        case _:
            simple = {
                "Relu": nn.ReLU,
                "Sigmoid": nn.Sigmoid,
                "Tanh": nn.Tanh,
                "Identity": nn.Identity,
                "GlobalAveragePool": GlobalAverage,
            }
            if len(values) != len(node.inputs):
                raise ModelRefused(f"onnx: {node.operator} of a constant is not allowed")
            return Layer(simple[node.operator](), values, {})


def _conv(node: Node, arrays: Mapping[str, NDArray[Any]]) -> Layer:
    weight, bias = _weight(node, arrays, rank=4), _bias(node, arrays)
    _only(node, "auto_pad", b"NOTSET", default=b"NOTSET")
    groups = int(node.attributes.get("group", 1))
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        kernel_size=(weight.shape[2], weight.shape[3]),
        stride=_pair(node, "strides", 1),
        padding=_padding(node),
        dilation=_pair(node, "dilations", 1),
        groups=groups,
        bias=bias is not None,
    )
    return _filled(node, layer, weight, bias)


def _gemm(node: Node, arrays: Mapping[str, NDArray[Any]]) -> Layer:
    weight, bias = _weight(node, arrays, rank=2), _bias(node, arrays)
    for name, value in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        _only(node, name, value, default=value)
    transposed = not node.attributes.get("transB", 0)
    matrix = np.ascontiguousarray(weight.T) if transposed else weight
    if bias is not None and bias.shape != matrix.shape[:1]:
        raise ModelRefused(f"onnx: Gemm's bias has shape {bias.shape}")
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=bias is not None)
    return _filled(node, layer, matrix, bias, transposed=transposed)


def _group_norm(node: Node, arrays: Mapping[str, NDArray[Any]]) -> Layer:
    weight, bias = _weight(node, arrays, rank=1), _bias(node, arrays)
    if bias is None or bias.shape != weight.shape:
        raise ModelRefused("onnx: GroupNormalization needs scale and bias of one shape")
    groups = int(node.attributes.get("num_groups", 0))
    if not 0 < groups <= len(weight) or len(weight) % groups:
        raise ModelRefused(f"onnx: GroupNormalization of {len(weight)} scales in {groups} groups")
    layer = nn.GroupNorm(groups, len(weight), eps=float(node.attributes.get("epsilon", 1e-5)))
    return _filled(node, layer, weight, bias)


def _combine(node: Node, arrays: Mapping[str, NDArray[Any]]) -> Layer:
    values = tuple(name for name in node.inputs if name not in arrays)
    multiply = node.operator == "Mul"
    if len(values) == 2:
        return Layer(Times() if multiply else Plus(), values, {})
    constants = [name for name in node.inputs if name in arrays]
    if len(constants) != 1 or len(values) != 1:
        raise ModelRefused(f"onnx: {node.operator} of constants alone is not allowed")
    constant = arrays[constants[0]]
    if constant.dtype != np.float32:
        raise ModelRefused(f"onnx: constant {constants[0]} is {constant.dtype}, expected float32")
    return Layer(Constant(torch.from_numpy(constant.copy()), multiply=multiply), values, {})


def _pool(node: Node) -> nn.Module:
    _only(node, "auto_pad", b"NOTSET", default=b"NOTSET")
    _only(node, "ceil_mode", 0, default=0)
    kernel, stride = _pair(node, "kernel_shape", None), _pair(node, "strides", 1)
    padding = _padding(node)
    if node.operator == "MaxPool":
        _only(node, "storage_order", 0, default=0)
        dilation = _pair(node, "dilations", 1)
        return nn.MaxPool2d(kernel, stride=stride, padding=padding, dilation=dilation)
    if _pair(node, "dilations", 1) != (1, 1):
        raise ModelRefused("onnx: AveragePool with dilations is not supported")
    counted = bool(node.attributes.get("count_include_pad", 0))
    return nn.AvgPool2d(kernel, stride=stride, padding=padding, count_include_pad=counted)


def _reshape(node: Node, arrays: Mapping[str, NDArray[Any]]) -> nn.Module:
    if len(node.inputs) != 2 or node.inputs[1] not in arrays or node.inputs[0] in arrays:
        raise ModelRefused("onnx: Reshape needs a constant shape")
    _only(node, "allowzero", 0, default=0)
    first, *rest = arrays[node.inputs[1]].reshape(-1).tolist()
    keeps_batch = first == 0 or (first == -1 and -1 not in rest)
    if not keeps_batch or not rest or any(side < -1 or side == 0 for side in rest):
        raise ModelRefused(
            f"onnx: Reshape to {[first, *rest]} may mix samples", hint="begin the shape with 0"
        )
    return Reshape(tuple(int(side) for side in rest))


def _filled(
    node: Node,
    layer: nn.Module,
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    *,
    transposed: bool = False,
) -> Layer:
    state = {"weight": torch.from_numpy(weight.copy())}
    sources = {"weight": node.inputs[1]}
    if bias is not None:
        state["bias"] = torch.from_numpy(bias.copy())
        sources["bias"] = node.inputs[2]
    try:
        layer.load_state_dict(state)
    except RuntimeError:
        raise ModelRefused(f"onnx: {node.operator}'s weights have odd shapes") from None
    return Layer(layer, node.inputs[:1], sources, transposed)


def _weight(node: Node, arrays: Mapping[str, NDArray[Any]], *, rank: int) -> NDArray[Any]:
    if len(node.inputs) < 2 or node.inputs[0] in arrays:
        raise ModelRefused(f"onnx: {node.operator} needs a value and a weight")
    weight = arrays.get(node.inputs[1])
    if weight is None or weight.ndim != rank or weight.dtype != np.float32 or not weight.size:
        raise ModelRefused(f"onnx: {node.operator}'s weight is no initialiser of rank {rank}")
    return weight


def _bias(node: Node, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    if len(node.inputs) < 3:
        return None
    bias = arrays.get(node.inputs[2])
    if bias is None or bias.ndim != 1 or bias.dtype != np.float32:
        raise ModelRefused(f"onnx: {node.operator}'s bias is no initialiser of rank 1")
    return bias


def _only(node: Node, name: str, value: object, *, default: object = None) -> None:
    got = node.attributes.get(name, default)
    if got != value:
        raise ModelRefused(f"onnx: {node.operator} with {name} {got!r}, expected {value!r}")


def _pair(node: Node, name: str, default: int | None) -> tuple[int, int]:
    value = node.attributes.get(name, None if default is None else [default, default])
    if value is None or len(value) != 2 or not all(1 <= side <= 1024 for side in value):
        raise ModelRefused(f"onnx: {node.operator} needs two numbers from 1 to 1024 as {name}")
    return int(value[0]), int(value[1])


def _padding(node: Node) -> tuple[int, int]:
    pads = node.attributes.get("pads", [0, 0, 0, 0])
    even = len(pads) == 4 and list(pads[:2]) == list(pads[2:])
    if not even or not 0 <= min(pads) <= max(pads) <= 1024:
        raise ModelRefused(
            f"onnx: {node.operator} with pads {list(pads)}: both sides must be alike"
        )
    return int(pads[0]), int(pads[1])
