"""One torch layer for each ONNX operator of the list.

Every layer works on each sample of the batch by itself. Weights become parameters of standard torch
layers, for which per-sample gradients exist; constants become buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from trainer.models.errors import ModelRefused
from trainer.models.graph import Node
from trainer.models.nodes import Arrays, Layer, bias_of, expect, filled, weight_of
from trainer.models.spatial import conv, pool, resize, transposed_conv


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
        """Return `[n, channels, 1, 1]`, or one side more."""
        return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def build_layer(node: Node, arrays: Arrays) -> Layer:
    """Return the layer of a node, with the initialisers' values in it.

    Raises:
        ModelRefused: if an attribute has a value that is not supported.
    """
    if node.operator in _SIMPLE:
        return Layer(_SIMPLE[node.operator](), _values(node, arrays), {})
    return _BUILDERS[node.operator](node, arrays)


def _values(node: Node, arrays: Arrays) -> tuple[str, ...]:
    """Return the inputs of a node that has no initialiser among them."""
    if any(name in arrays for name in node.inputs):
        raise ModelRefused(f"onnx: {node.operator} of a constant is not allowed")
    return node.inputs


def _flatten(node: Node, arrays: Arrays) -> Layer:
    expect(node, "axis", 1, default=1)
    return Layer(nn.Flatten(), _values(node, arrays), {})


def _concat(node: Node, arrays: Arrays) -> Layer:
    expect(node, "axis", 1)
    return Layer(Concat(), _values(node, arrays), {})


def _leaky_relu(node: Node, arrays: Arrays) -> Layer:
    slope = float(node.attributes.get("alpha", 0.01))
    return Layer(nn.LeakyReLU(slope), _values(node, arrays), {})


def _gemm(node: Node, arrays: Arrays) -> Layer:
    weight, bias = weight_of(node, arrays, ranks=(2,)), bias_of(node, arrays)
    for name, value in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        expect(node, name, value, default=value)
    transposed = not node.attributes.get("transB", 0)
    matrix = np.ascontiguousarray(weight.T) if transposed else weight
    if bias is not None and bias.shape != matrix.shape[:1]:
        raise ModelRefused(f"onnx: Gemm's bias has shape {bias.shape}")
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=bias is not None)
    return filled(node, layer, matrix, bias, transposed=transposed)


def _group_norm(node: Node, arrays: Arrays) -> Layer:
    weight, bias = weight_of(node, arrays, ranks=(1,)), bias_of(node, arrays)
    if bias is None or bias.shape != weight.shape:
        raise ModelRefused("onnx: GroupNormalization needs scale and bias of one shape")
    groups = int(node.attributes.get("num_groups", 0))
    if not 0 < groups <= len(weight) or len(weight) % groups:
        raise ModelRefused(f"onnx: GroupNormalization of {len(weight)} scales in {groups} groups")
    layer = nn.GroupNorm(groups, len(weight), eps=float(node.attributes.get("epsilon", 1e-5)))
    return filled(node, layer, weight, bias)


def _instance_norm(node: Node, arrays: Arrays) -> Layer:
    weight, bias = weight_of(node, arrays, ranks=(1,)), bias_of(node, arrays)
    if bias is None or bias.shape != weight.shape:
        raise ModelRefused("onnx: InstanceNormalization needs scale and bias of one shape")
    # To normalise each channel by itself is to have as many groups as channels.
    eps = float(node.attributes.get("epsilon", 1e-5))
    return filled(node, nn.GroupNorm(len(weight), len(weight), eps=eps), weight, bias)


def _combine(node: Node, arrays: Arrays) -> Layer:
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


def _reshape(node: Node, arrays: Arrays) -> Layer:
    if len(node.inputs) != 2 or node.inputs[1] not in arrays or node.inputs[0] in arrays:
        raise ModelRefused("onnx: Reshape needs a constant shape")
    expect(node, "allowzero", 0, default=0)
    first, *rest = arrays[node.inputs[1]].reshape(-1).tolist()
    keeps_batch = first == 0 or (first == -1 and -1 not in rest)
    if not keeps_batch or not rest or any(side < -1 or side == 0 for side in rest):
        raise ModelRefused(
            f"onnx: Reshape to {[first, *rest]} may mix samples", hint="begin the shape with 0"
        )
    return Layer(Reshape(tuple(int(side) for side in rest)), node.inputs[:1], {})


_SIMPLE: Final[Mapping[str, type[nn.Module]]] = {
    "GlobalAveragePool": GlobalAverage,
    "Identity": nn.Identity,
    "Relu": nn.ReLU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
}
_BUILDERS: Final[Mapping[str, Callable[[Node, Arrays], Layer]]] = {
    "Add": _combine,
    "AveragePool": pool,
    "Concat": _concat,
    "Conv": conv,
    "ConvTranspose": transposed_conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LeakyRelu": _leaky_relu,
    "MaxPool": pool,
    "Mul": _combine,
    "Reshape": _reshape,
    "Resize": resize,
}
