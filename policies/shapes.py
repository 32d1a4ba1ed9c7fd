"""What a graph makes of one sample: shapes, and how many weights it has, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from policies.wire.graph import GraphModel, Node
from policies.wire.layers import (
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Combine,
    Concat,
    Conv,
    ConvTranspose,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    Linear,
    MaxPool,
    Simple,
    Upsample,
    whole,
)

Shape = tuple[int, ...]
"""Of one sample: channels, height and width of a picture; of a volume with its depth before."""

_MAX_ELEMENTS: Final = 1 << 22
"""Numbers that one value of a sample may have."""
_MAX_OF_VOLUME: Final = 1 << 24
"""Numbers that one value may have which is a volume."""
_MAX_TOTAL: Final = 1 << 27
"""Numbers that all values of a sample together may have."""
_UPSAMPLED: Final = {"nearest": (2, 3), "bilinear": (2,), "trilinear": (3,)}
"""Sides of what each way of making it larger takes."""
_PICTURE: Final = ("channels", "height", "width")
_VOLUME: Final = ("channels", "depth", "height", "width")


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
        most = _MAX_OF_VOLUME if len(shape) == len(_VOLUME) else _MAX_ELEMENTS
        if math.prod(shape) > most or total > _MAX_TOTAL:
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
        case Conv() | ConvTranspose() | MaxPool() | AvgPool() | AdaptiveAvgPool():
            return _resized(layer, _with_sides(first, layer.dimensions))
        case Upsample(params=up):
            channels, *sides = _with_sides(first, *_UPSAMPLED[up.mode])
            return (channels, *(side * up.scale_factor for side in sides))
        case GroupNorm() | LayerNorm() | InstanceNorm() | BatchNorm():
            return _normalised(layer, first)
    return first


def _resized(
    layer: Conv | ConvTranspose | MaxPool | AvgPool | AdaptiveAvgPool, shape: Shape
) -> Shape:
    channels, *sides = shape
    match layer:
        case Conv(params=conv):
            _expect("inChannels", conv.in_channels, channels)
            window = whole(conv.dilation) * (whole(conv.kernel_size) - 1) + 1
            stride, padding = whole(conv.stride), whole(conv.padding)
            return (whole(conv.out_channels), *_windows(sides, window, stride, padding))
        case ConvTranspose(params=conv):
            _expect("inChannels", conv.in_channels, channels)
            window = whole(conv.dilation) * (whole(conv.kernel_size) - 1) + 1
            more = window + whole(conv.output_padding) - 2 * whole(conv.padding)
            found = tuple((side - 1) * whole(conv.stride) + more for side in sides)
            if min(found) < 1:
                raise ValueError(f"padding {conv.padding} leaves nothing of {sides}")
            return (whole(conv.out_channels), *found)
        case MaxPool(params=pool) | AvgPool(params=pool):
            window = whole(pool.kernel_size)
            if layer.layer == "AvgPool3d" and min(sides) < window:
                # PyTorch takes padding there only around what holds a whole window without it.
                raise ValueError(f"a window of {window} does not fit into {sides} without padding")
            stride = window if pool.stride is None else whole(pool.stride)
            return (channels, *_windows(sides, window, stride, whole(pool.padding)))
        case AdaptiveAvgPool(params=adaptive):
            return (channels, *[adaptive.output_size] * len(sides))


def _windows(sides: Sequence[int], window: int, stride: int, padding: int) -> Shape:
    found = tuple((side + 2 * padding - window) // stride + 1 for side in sides)
    if min(found) < 1:
        raise ValueError(f"a window of {window} does not fit into {list(sides)}")
    return found


def _normalised(layer: GroupNorm | LayerNorm | InstanceNorm | BatchNorm, shape: Shape) -> Shape:
    match layer:
        case GroupNorm(params=group):
            _expect("numChannels", group.num_channels, shape[0])
            if math.prod(shape) == whole(group.num_groups):
                raise ValueError("a single number a group cannot be normalised")
        case LayerNorm(params=norm):
            wanted = tuple(map(whole, norm.normalized_shape))
            if shape[-len(wanted) :] != wanted:
                raise ValueError(f"normalizedShape is {list(wanted)}, values have {list(shape)}")
        case InstanceNorm(params=own) | BatchNorm(params=own):
            channels, *sides = _with_sides(shape, layer.dimensions)
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


def _with_sides(shape: Shape, *dimensions: int) -> Shape:
    """Return the shape if it has channels and a number of sides that is allowed."""
    if len(shape) - 1 not in dimensions:
        names = [_PICTURE if count == 2 else _VOLUME for count in dimensions]
        wanted = " or ".join(f"{', '.join(name[:-1])} and {name[-1]}" for name in names)
        raise ValueError(f"expected {wanted}, got {list(shape)}")
    return shape


def _expect(field: str, wanted: int | str, got: int) -> None:
    if whole(wanted) != got:
        raise ValueError(f"{field} is {wanted}, the value has {got}")


def _parameters(node: Node) -> int:
    match node.layer:
        case Conv(params=conv) | ConvTranspose(params=conv):
            inside, out = whole(conv.in_channels), whole(conv.out_channels)
            window = math.prod([whole(conv.kernel_size)] * node.layer.dimensions)
            return inside * out // whole(conv.groups) * window + out * conv.bias
        case Linear(params=linear):
            return whole(linear.out_features) * (whole(linear.in_features) + linear.bias)
        case GroupNorm(params=group):
            return 2 * whole(group.num_channels) * group.affine
        case LayerNorm(params=norm):
            return 2 * math.prod(map(whole, norm.normalized_shape)) * norm.elementwise_affine
        case InstanceNorm(params=own) | BatchNorm(params=own):
            return 2 * whole(own.num_features) * own.affine
    return 0
