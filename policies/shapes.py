"""What a graph makes of one sample: shapes, and how many weights it has, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from policies.wire.graph import GraphModel, Node
from policies.wire.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Combine,
    Concat,
    Conv2d,
    GroupNorm,
    InstanceNorm2d,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    Simple,
    Upsample,
    whole,
)

Shape = tuple[int, ...]
"""Of one sample: channels, height and width of a picture."""

_MAX_ELEMENTS: Final = 1 << 22
"""Numbers that one value of a sample may have."""
_MAX_TOTAL: Final = 1 << 27
"""Numbers that all values of a sample together may have."""


def output_shape(graph: GraphModel, sample: Shape) -> Shape:
    """Return the shape of the graph's output for a sample of a shape.

    Raises:
        ValueError: naming the first layer that does not fit, or if the graph is too large.
    """
    shapes = {graph.inputs[0]: sample}
    total = 0
    for node in graph.nodes():
        try:
            shape = _after(node.layer, [shapes[name] for name in node.inputs])
        except ValueError as error:
            raise ValueError(f"layer {_called(node)}: {error}") from None
        total += math.prod(shape)
        if math.prod(shape) > _MAX_ELEMENTS or total > _MAX_TOTAL:
            raise ValueError(f"layer {_called(node)}: a sample becomes too large, {list(shape)}")
        shapes[node.output] = shape
    return shapes[graph.output]


def graph_parameters(graph: GraphModel) -> int:
    """Return the number of trainable parameters of a graph."""
    return sum(_parameters(node) for node in graph.nodes())


def _called(node: Node) -> str:
    return f"{node.name} ({node.layer.layer})"


def _after(layer: Layer, inputs: Sequence[Shape]) -> Shape:  # noqa: PLR0911 - one case a kind
    first = inputs[0]
    match layer:
        case Concat(params=concat):
            return _concatenated(inputs, axis=concat.dim - 1)
        case Combine():
            if len(set(inputs)) > 1:
                raise ValueError(f"values have shapes {[list(one) for one in inputs]}")
            return first
        case Simple(layer="Flatten"):
            return (math.prod(first),)
        case Linear(params=linear):
            _expect("inFeatures", linear.in_features, first[-1])
            return (*first[:-1], whole(linear.out_features))
        case Conv2d() | MaxPool2d() | AvgPool2d() | AdaptiveAvgPool2d() | Upsample():
            return _picture(layer, first)
        case GroupNorm() | LayerNorm() | InstanceNorm2d() | BatchNorm2d():
            return _normalised(layer, first)
    return first


def _picture(
    layer: Conv2d | MaxPool2d | AvgPool2d | AdaptiveAvgPool2d | Upsample, shape: Shape
) -> Shape:
    channels, *sides = _three(shape)
    match layer:
        case Conv2d(params=conv):
            _expect("inChannels", conv.in_channels, channels)
            window = whole(conv.dilation) * (whole(conv.kernel_size) - 1) + 1
            stride, padding = whole(conv.stride), whole(conv.padding)
            return (whole(conv.out_channels), *_windows(sides, window, stride, padding))
        case MaxPool2d(params=pool) | AvgPool2d(params=pool):
            window = whole(pool.kernel_size)
            stride = window if pool.stride is None else whole(pool.stride)
            return (channels, *_windows(sides, window, stride, whole(pool.padding)))
        case AdaptiveAvgPool2d(params=adaptive):
            return (channels, adaptive.output_size, adaptive.output_size)
        case Upsample(params=up):
            return (channels, *(side * up.scale_factor for side in sides))


def _windows(sides: Sequence[int], window: int, stride: int, padding: int) -> Shape:
    found = tuple((side + 2 * padding - window) // stride + 1 for side in sides)
    if min(found) < 1:
        raise ValueError(f"a window of {window} does not fit into {list(sides)}")
    return found


def _normalised(layer: GroupNorm | LayerNorm | InstanceNorm2d | BatchNorm2d, shape: Shape) -> Shape:
    match layer:
        case GroupNorm(params=group):
            _expect("numChannels", group.num_channels, shape[0])
        case LayerNorm(params=norm):
            wanted = tuple(map(whole, norm.normalized_shape))
            if shape[-len(wanted) :] != wanted:
                raise ValueError(f"normalizedShape is {list(wanted)}, values have {list(shape)}")
        case InstanceNorm2d(params=own) | BatchNorm2d(params=own):
            channels, *sides = _three(shape)
            _expect("numFeatures", own.num_features, channels)
            if math.prod(sides) == 1:
                raise ValueError("a single number a channel cannot be normalised")
    return shape


def _concatenated(inputs: Sequence[Shape], *, axis: int) -> Shape:
    first = inputs[0]
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in inputs}
    if len(others) > 1 or any(len(shape) <= axis for shape in inputs):
        raise ValueError(f"values have shapes {[list(one) for one in inputs]}")
    return (*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])


def _three(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ValueError(f"expected channels, height and width, got {list(shape)}")
    return shape


def _expect(field: str, wanted: int | str, got: int) -> None:
    if whole(wanted) != got:
        raise ValueError(f"{field} is {wanted}, the value has {got}")


def _parameters(node: Node) -> int:
    match node.layer:
        case Conv2d(params=conv):
            out = whole(conv.out_channels)
            inside = whole(conv.in_channels) // whole(conv.groups)
            return out * (inside * whole(conv.kernel_size) ** 2 + conv.bias)
        case Linear(params=linear):
            return whole(linear.out_features) * (whole(linear.in_features) + linear.bias)
        case GroupNorm(params=group):
            return 2 * whole(group.num_channels) * group.affine
        case LayerNorm(params=norm):
            return 2 * math.prod(map(whole, norm.normalized_shape)) * norm.elementwise_affine
        case InstanceNorm2d(params=own) | BatchNorm2d(params=own):
            return 2 * whole(own.num_features) * own.affine
    return 0
