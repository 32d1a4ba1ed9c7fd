"""What a node of an ONNX graph says of its layer: weights, sizes, and what it must not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.models.errors import ModelRefused
from trainer.models.graph import Node

Arrays = Mapping[str, NDArray[Any]]
"""Initialisers by name."""


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


def filled(
    node: Node,
    layer: nn.Module,
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    *,
    transposed: bool = False,
) -> Layer:
    """Return a layer with a node's weights in it.

    Raises:
        ModelRefused: if their shapes are not those of the layer.
    """
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


def weight_of(node: Node, arrays: Arrays, *, ranks: tuple[int, ...]) -> NDArray[Any]:
    """Return a node's weight, which is its second input.

    Raises:
        ModelRefused: if it is no initialiser of numbers of one of the ranks.
    """
    if len(node.inputs) < 2 or node.inputs[0] in arrays:
        raise ModelRefused(f"onnx: {node.operator} needs a value and a weight")
    weight = arrays.get(node.inputs[1])
    if weight is None or weight.ndim not in ranks or weight.dtype != np.float32 or not weight.size:
        wanted = " or ".join(map(str, ranks))
        raise ModelRefused(f"onnx: {node.operator}'s weight is no initialiser of rank {wanted}")
    return weight


def bias_of(node: Node, arrays: Arrays) -> NDArray[Any] | None:
    """Return a node's bias, which is its third input; None if there is none.

    Raises:
        ModelRefused: if it is no initialiser of rank 1.
    """
    if len(node.inputs) < 3:
        return None
    bias = arrays.get(node.inputs[2])
    if bias is None or bias.ndim != 1 or bias.dtype != np.float32:
        raise ModelRefused(f"onnx: {node.operator}'s bias is no initialiser of rank 1")
    return bias


def expect(node: Node, name: str, value: object, *, default: object = None) -> None:
    """Raise unless an attribute has the one value that is supported.

    Raises:
        ModelRefused: with the value that it has.
    """
    got = node.attributes.get(name, default)
    if got != value:
        raise ModelRefused(f"onnx: {node.operator} with {name} {got!r}, expected {value!r}")


def sizes_of(node: Node, name: str, default: int | None, *, sides: int) -> tuple[int, ...]:
    """Return an attribute with a number a side.

    Raises:
        ModelRefused: if it has others, or none and there is no default.
    """
    value = node.attributes.get(name, None if default is None else [default] * sides)
    if value is None or len(value) != sides or not all(1 <= side <= 1024 for side in value):
        raise ModelRefused(f"onnx: {node.operator} needs {sides} numbers from 1 to 1024 as {name}")
    return tuple(map(int, value))


def padding_of(node: Node, *, sides: int) -> tuple[int, ...]:
    """Return how many zeros are added to both ends of each side.

    Raises:
        ModelRefused: if the ends are not alike, or it is too many.
    """
    pads = list(node.attributes.get("pads", [0] * (2 * sides)))
    even = len(pads) == 2 * sides and pads[:sides] == pads[sides:]
    if not even or not 0 <= min(pads) <= max(pads) <= 1024:
        raise ModelRefused(f"onnx: {node.operator} with pads {pads}: both sides must be alike")
    return tuple(map(int, pads[:sides]))
