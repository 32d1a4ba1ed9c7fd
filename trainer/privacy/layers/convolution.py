"""Convolutions of one to three dimensions, and transposed ones."""

from __future__ import annotations

import math
from typing import Final, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.privacy.layers.rule import ROUNDING, Call, Dense, Ghost, Gradients

Convolution: TypeAlias = (
    nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
)
KINDS: Final = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
MAX_COLUMNS: Final = 16 * 1024 * 1024
"""Numbers that unfolding a batch may take (64 MB)."""


def is_known(module: nn.Module) -> bool:
    """Tell whether these rules compute the gradient of a convolution exactly."""
    if not isinstance(module, KINDS):
        return False
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)


def strategies(module: Convolution, call: Call) -> tuple[Dense | Ghost, ...]:
    """Return the ways to get at the gradients, the one that is good everywhere first."""
    found: list[Dense | Ghost] = [_GROUPED, _ONE_BY_ONE]
    if _is_pointwise(module):
        found = [_POINTWISE]
    elif module.transposed or module.groups > 1:
        return tuple(found)
    positions = math.prod(call.output_gradient.shape[2:])
    columns = len(call.inputs) * call.inputs.shape[1] * math.prod(module.kernel_size) * positions
    if columns <= MAX_COLUMNS:
        if not _is_pointwise(module):
            found.append(_UNFOLDED)
        # The pairs of positions take no more memory than the gradients that they save.
        exact = call.output_gradient.dtype is torch.float32
        if exact and positions**2 <= module.weight.numel():
            found.append(_GHOST)
    return tuple(found)


def _is_pointwise(module: Convolution) -> bool:
    ones = all(size == 1 for size in (*module.kernel_size, *module.stride))
    still = not any(cast("tuple[int, ...]", module.padding))
    return ones and still and module.groups == 1 and not module.transposed


def _grouped(module: nn.Module, call: Call) -> Gradients:
    """One backward convolution in which each sample is a group of channels of its own."""
    layer = cast("Convolution", module)
    gradient, inputs = call.output_gradient, call.inputs
    samples, shape = len(gradient), layer.weight.shape
    rows = _weight_gradient(
        layer,
        gradient.reshape(1, -1, *gradient.shape[2:]),
        inputs.reshape(1, -1, *inputs.shape[2:]),
        gradient.new_empty(samples * shape[0], *shape[1:]),
        groups=samples * layer.groups,
    )
    yield layer.weight, rows.reshape(samples, *shape)
    yield from _bias(layer, gradient)


def _one_by_one(module: nn.Module, call: Call) -> Gradients:
    """One backward convolution a sample, for layers of many channels."""
    layer = cast("Convolution", module)
    gradient, inputs = call.output_gradient, call.inputs
    weight = layer.weight.detach().to(gradient.dtype)
    rows = gradient.new_empty(len(gradient), *weight.shape)
    for index in range(len(gradient)):
        one = slice(index, index + 1)
        rows[index] = _weight_gradient(layer, gradient[one], inputs[one], weight)
    yield layer.weight, rows
    yield from _bias(layer, gradient)


def _weight_gradient(
    layer: Convolution,
    gradient: Tensor,
    inputs: Tensor,
    weight: Tensor,
    *,
    groups: int | None = None,
) -> Tensor:
    """Return the gradient of a weight; of `weight` itself only the shape is used."""
    _, found, _ = torch.ops.aten.convolution_backward(
        gradient,
        inputs,
        weight,
        None,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.transposed,
        layer.output_padding,
        groups or layer.groups,
        [False, True, False],
    )
    return cast("Tensor", found)


def _unfolded(module: nn.Module, call: Call) -> Gradients:
    """All windows as columns, and one matrix product a sample."""
    layer = cast("Convolution", module)
    gradient = call.output_gradient.flatten(2)
    rows = torch.bmm(gradient, _columns(layer, call.inputs).transpose(1, 2))
    yield layer.weight, rows.reshape(len(rows), *layer.weight.shape)
    yield from _bias(layer, call.output_gradient)


def _pointwise(module: nn.Module, call: Call) -> Gradients:
    layer = cast("Convolution", module)
    gradient, inputs = call.output_gradient.flatten(2), call.inputs.flatten(2)
    rows = torch.bmm(gradient, inputs.transpose(1, 2))
    yield layer.weight, rows.reshape(len(rows), *layer.weight.shape)
    yield from _bias(layer, call.output_gradient)


def _columns(layer: Convolution, inputs: Tensor) -> Tensor:
    """Return the input under the kernel at each output position, `[n, in * kernel, positions]`."""
    sides = cast("tuple[int, ...]", layer.padding)
    padded = F.pad(inputs, [side for pad in reversed(sides) for side in (pad, pad)])
    for axis, (size, stride, gap) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), start=2
    ):
        padded = padded.unfold(axis, (size - 1) * gap + 1, stride)[..., ::gap]
    space = len(sides)
    # [n, in, *positions, *kernel] to [n, in, *kernel, *positions]
    order = [0, 1, *range(2 + space, 2 + 2 * space), *range(2, 2 + space)]
    windows = padded.permute(order)
    return windows.reshape(len(inputs), inputs.shape[1] * math.prod(layer.kernel_size), -1)


def _bias(layer: Convolution, gradient: Tensor) -> Gradients:
    if layer.bias is not None:
        yield layer.bias, gradient.flatten(2).sum(2, dtype=torch.float32)


def _ghost_norms(module: nn.Module, call: Call) -> Tensor:
    layer = cast("Convolution", module)
    columns = call.inputs.flatten(2) if _is_pointwise(layer) else _columns(layer, call.inputs)
    gradient = call.output_gradient.flatten(2)
    terms = torch.bmm(columns.transpose(1, 2), columns)
    terms *= torch.bmm(gradient.transpose(1, 2), gradient)
    norms = terms.sum((1, 2)) + ROUNDING * terms.abs().sum((1, 2))
    if layer.bias is not None:
        norms = norms + gradient.sum(2).square().sum(1)
    return norms


def _ghost_sum(module: nn.Module, call: Call, weights: Tensor) -> Gradients:
    layer = cast("Convolution", module)
    gradient = call.output_gradient
    scaled = gradient * weights.reshape(-1, *[1] * (gradient.dim() - 1))
    yield layer.weight, _weight_gradient(layer, scaled, call.inputs, layer.weight.detach())
    if layer.bias is not None:
        yield layer.bias, scaled.flatten(2).sum((0, 2))


_GROUPED: Final = Dense("grouped", _grouped)
_ONE_BY_ONE: Final = Dense("one by one", _one_by_one)
_UNFOLDED: Final = Dense("unfolded", _unfolded)
_POINTWISE: Final = Dense("pointwise", _pointwise)
_GHOST: Final = Ghost("ghost", _ghost_norms, _ghost_sum)
