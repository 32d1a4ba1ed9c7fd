"""Normalisations that see one sample at a time, and the parametric rectifier."""

from __future__ import annotations

from typing import Final, TypeAlias, cast

import torch
from torch import Tensor, nn

from trainer.privacy.layers.rule import Call, Dense, Gradients

InstanceNorm: TypeAlias = nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d
INSTANCE_NORMS: Final = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def _group_norm(module: nn.Module, call: Call) -> Gradients:
    layer = cast("nn.GroupNorm", module)
    yield from _per_channel(layer.weight, layer.bias, call, groups=layer.num_groups, eps=layer.eps)


def _instance_norm(module: nn.Module, call: Call) -> Gradients:
    layer = cast("InstanceNorm", module)
    yield from _per_channel(
        layer.weight,
        layer.bias,
        call,
        groups=call.inputs.shape[1],
        eps=layer.eps,
    )


def _per_channel(
    weight: Tensor, bias: Tensor | None, call: Call, *, groups: int, eps: float
) -> Gradients:
    """Gradients of scale and shift; the normalised input is that of the layer's own kernel."""
    inputs, gradient = call.inputs.float(), call.output_gradient.float().flatten(2)
    samples, channels = inputs.shape[:2]
    positions = gradient.shape[2]
    normal, _, _ = torch.native_group_norm(
        inputs.contiguous(), None, None, samples, channels, positions, groups, eps
    )
    yield weight, normal.flatten(2).mul_(gradient).sum(2)
    if bias is not None:
        yield bias, gradient.sum(2)


def _layer_norm(module: nn.Module, call: Call) -> Gradients:
    layer = cast("nn.LayerNorm", module)
    inputs, gradient = call.inputs.float(), call.output_gradient.float()
    axes = tuple(range(-len(layer.normalized_shape), 0))
    variance, mean = torch.var_mean(inputs, dim=axes, correction=0, keepdim=True)
    normal = (inputs - mean) * (variance + layer.eps).rsqrt()
    yield layer.weight, _over_positions(gradient * normal, layer.weight)
    if layer.bias is not None:
        yield layer.bias, _over_positions(gradient, layer.bias)


def _over_positions(values: Tensor, parameter: Tensor) -> Tensor:
    return values.reshape(values.shape[0], -1, *parameter.shape).sum(1)


def _prelu(module: nn.Module, call: Call) -> Gradients:
    layer = cast("nn.PReLU", module)
    inputs, gradient = call.inputs.float(), call.output_gradient.float()
    below = gradient * inputs.clamp(max=0)
    if layer.num_parameters == 1:
        yield layer.weight, below.flatten(1).sum(1, keepdim=True)
    else:
        yield layer.weight, below.reshape(*below.shape[:2], -1).sum(2)


GROUP_NORM: Final = Dense("per channel", _group_norm)
INSTANCE_NORM: Final = Dense("per channel", _instance_norm)
LAYER_NORM: Final = Dense("per feature", _layer_norm)
PRELU: Final = Dense("per channel", _prelu)
