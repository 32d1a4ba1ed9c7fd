"""Torch layers for the ONNX operators that know pictures (two sides) from volumes (three sides)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from torch import nn

from trainer.models.errors import ModelRefused
from trainer.models.graph import Node
from trainer.models.nodes import (
    Arrays,
    Layer,
    bias_of,
    expect,
    filled,
    padding_of,
    sizes_of,
    weight_of,
)

_Makers: TypeAlias = Mapping[int, Callable[..., nn.Module]]
_CONVOLUTIONS: Final[_Makers] = {4: nn.Conv2d, 5: nn.Conv3d}
_TRANSPOSED: Final[_Makers] = {4: nn.ConvTranspose2d, 5: nn.ConvTranspose3d}
_MAX_POOLS: Final[_Makers] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE_POOLS: Final[_Makers] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_LINEAR: Final = {2: "bilinear", 3: "trilinear"}
_MOST_SCALE: Final = 8
_MOST_ADDED: Final = 15


def conv(node: Node, arrays: Arrays) -> Layer:
    """Return a convolution of pictures or of volumes.

    Raises:
        ModelRefused: if its weight or its windows are of another kind.
    """
    weight, bias = weight_of(node, arrays, ranks=(4, 5)), bias_of(node, arrays)
    groups = int(node.attributes.get("group", 1))
    layer = _CONVOLUTIONS[weight.ndim](
        weight.shape[1] * groups,
        weight.shape[0],
        bias=bias is not None,
        groups=groups,
        **_windows(node, weight.shape[2:]),
    )
    return filled(node, layer, weight, bias)


def transposed_conv(node: Node, arrays: Arrays) -> Layer:
    """Return a transposed convolution of pictures or of volumes.

    Raises:
        ModelRefused: if its weight or its windows are of another kind.
    """
    weight, bias = weight_of(node, arrays, ranks=(4, 5)), bias_of(node, arrays)
    expect(node, "output_shape", None)
    groups = int(node.attributes.get("group", 1))
    sides = weight.ndim - 2
    added = tuple(node.attributes.get("output_padding", [0] * sides))
    if len(added) != sides or not 0 <= min(added) <= max(added) <= _MOST_ADDED:
        raise ModelRefused(f"onnx: ConvTranspose with output_padding {list(added)}")
    layer = _TRANSPOSED[weight.ndim](
        weight.shape[0],
        weight.shape[1] * groups,
        bias=bias is not None,
        groups=groups,
        output_padding=added,
        **_windows(node, weight.shape[2:]),
    )
    return filled(node, layer, weight, bias)


def _windows(node: Node, kernel: tuple[int, ...]) -> dict[str, Any]:
    expect(node, "auto_pad", b"NOTSET", default=b"NOTSET")
    if tuple(node.attributes.get("kernel_shape", kernel)) != kernel:
        raise ModelRefused(f"onnx: {node.operator}'s kernel_shape is not that of its weight")
    return {
        "kernel_size": kernel,
        "stride": sizes_of(node, "strides", 1, sides=len(kernel)),
        "padding": padding_of(node, sides=len(kernel)),
        "dilation": sizes_of(node, "dilations", 1, sides=len(kernel)),
    }


def pool(node: Node, arrays: Arrays) -> Layer:
    """Return the largest number, or the mean, of each window.

    Raises:
        ModelRefused: if the windows are of another kind than a layer has.
    """
    if len(node.inputs) != 1 or node.inputs[0] in arrays:
        raise ModelRefused(f"onnx: {node.operator} of a constant is not allowed")
    return Layer(_pool(node), node.inputs, {})


def _pool(node: Node) -> nn.Module:
    expect(node, "auto_pad", b"NOTSET", default=b"NOTSET")
    expect(node, "ceil_mode", 0, default=0)
    sides = len(node.attributes.get("kernel_shape", ()))
    if sides not in _MAX_POOLS:
        raise ModelRefused(f"onnx: {node.operator} needs a kernel_shape of two or three sides")
    kernel = sizes_of(node, "kernel_shape", None, sides=sides)
    stride = sizes_of(node, "strides", 1, sides=sides)
    dilation, padding = sizes_of(node, "dilations", 1, sides=sides), padding_of(node, sides=sides)
    if node.operator == "MaxPool":
        expect(node, "storage_order", 0, default=0)
        return _MAX_POOLS[sides](kernel, stride=stride, padding=padding, dilation=dilation)
    if set(dilation) != {1}:
        raise ModelRefused("onnx: AveragePool with dilations is not supported")
    counted = bool(node.attributes.get("count_include_pad", 0))
    return _AVERAGE_POOLS[sides](kernel, stride=stride, padding=padding, count_include_pad=counted)


def resize(node: Node, arrays: Arrays) -> Layer:
    """Return what makes pictures or volumes larger by whole numbers.

    Raises:
        ModelRefused: if that is not what it does.
    """
    return Layer(_resize(node, _scales(node, arrays)), node.inputs[:1], {})


def _scales(node: Node, arrays: Arrays) -> tuple[float, ...]:
    scales = arrays.get(node.inputs[2]) if len(node.inputs) == 3 and not node.inputs[1] else None
    if scales is None or node.inputs[0] in arrays or scales.shape not in ((4,), (5,)):
        raise ModelRefused(
            "onnx: Resize needs a value, no roi, and scales that are an initialiser of 4 or 5",
            hint="export it with a scale factor instead of a size",
        )
    first, second, *others = map(float, scales.tolist())
    if (first, second) != (1, 1) or not all(
        scale.is_integer() and 1 <= scale <= _MOST_SCALE for scale in others
    ):
        raise ModelRefused(
            f"onnx: Resize by {scales.tolist()}: expected 1 for samples and channels, and whole "
            f"numbers up to {_MOST_SCALE}"
        )
    return tuple(others)


def _resize(node: Node, factors: tuple[float, ...]) -> nn.Module:
    for name in ("antialias", "exclude_outside"):
        expect(node, name, 0, default=0)
    expect(node, "axes", None)
    expect(node, "keep_aspect_ratio_policy", b"stretch", default=b"stretch")
    mode = node.attributes.get("mode", b"nearest")
    where = node.attributes.get("coordinate_transformation_mode", b"half_pixel")
    if mode == b"nearest" and (where, _rounding(node)) in _REPEATS:
        return nn.Upsample(scale_factor=factors, mode="nearest")
    if mode == b"linear" and where in _CORNERS:
        corners = _CORNERS[where]
        return nn.Upsample(scale_factor=factors, mode=_LINEAR[len(factors)], align_corners=corners)
    raise ModelRefused(
        f"onnx: Resize with mode {mode!r}, coordinate_transformation_mode {where!r} and "
        f"nearest_mode {_rounding(node)!r} is not supported"
    )


_REPEATS: Final = frozenset(
    {
        (b"asymmetric", b"floor"),
        (b"half_pixel", b"round_prefer_floor"),
        (b"half_pixel", b"round_prefer_ceil"),
        (b"pytorch_half_pixel", b"round_prefer_floor"),
        (b"pytorch_half_pixel", b"round_prefer_ceil"),
    }
)
"""Ways to take the nearest that all repeat each number, where sizes grow by whole numbers."""
_CORNERS: Final = {b"half_pixel": False, b"pytorch_half_pixel": False, b"align_corners": True}


def _rounding(node: Node) -> object:
    return node.attributes.get("nearest_mode", b"round_prefer_floor")
