"""Layer normalisation, and the parametric rectifier."""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn

from trainer.privacy.layers.rule import Call, Dense, Gradients


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


LAYER_NORM: Final = Dense("per feature", _layer_norm)
PRELU: Final = Dense("per channel", _prelu)
