"""Group and instance normalisation, by the kernel's own backward pass.

That pass needs two sums for each channel of each sample, and the gradients of scale and shift are
the same sums added up over the samples. A batch of n samples with c channels is given to it as one
sample of n * c channels, of which it adds up nothing: gradients of samples cost no pass of their
own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import torch
from torch import Tensor, nn

from trainer.privacy.layers.rule import Call, Dense, Gradients

InstanceNorm: TypeAlias = nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d
INSTANCE_NORMS: Final = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_NODE: Final = "NativeGroupNormBackward0"


@dataclass(frozen=True)
class Statistics:
    """What normalised each group of each sample, `[samples * groups]`."""

    mean: Tensor
    reciprocal_deviation: Tensor


def statistics_of(module: nn.Module, output: Tensor) -> Statistics | None:
    """Return what a group normalisation keeps for its backward pass, if it expects one."""
    node: Any = output.grad_fn
    if (
        type(module) is not nn.GroupNorm
        or node is None
        or node.name() != "NativeGroupNormBackward0"
    ):
        return None
    return Statistics(node._saved_result1, node._saved_result2)  # noqa: SLF001 - autograd's own names


def through(
    module: nn.Module, call: Call, statistics: Statistics
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Return the gradient of the input, and those of scale and shift for each sample."""
    layer = cast("nn.GroupNorm", module)
    found, *rows = _backward(layer.weight, call, statistics, layer.num_groups, inputs_too=True)
    return found, _by_parameter(layer.weight, layer.bias, rows)


def _group_norm(module: nn.Module, call: Call) -> Gradients:
    layer = cast("nn.GroupNorm", module)
    return _rows(layer.weight, layer.bias, call, groups=layer.num_groups, eps=layer.eps)


def _instance_norm(module: nn.Module, call: Call) -> Gradients:
    layer = cast("InstanceNorm", module)
    return _rows(layer.weight, layer.bias, call, groups=layer.num_features, eps=layer.eps)


def _rows(weight: Tensor, bias: Tensor | None, call: Call, *, groups: int, eps: float) -> Gradients:
    inputs = call.inputs.contiguous()
    samples, channels = inputs.shape[:2]
    positions = inputs[0, 0].numel()
    _, mean, reciprocal = torch.native_group_norm(
        inputs, weight.detach(), bias, samples, channels, positions, groups, eps
    )
    _, *rows = _backward(weight, call, Statistics(mean, reciprocal), groups, inputs_too=False)
    return _by_parameter(weight, bias, rows)


def _backward(
    weight: Tensor, call: Call, statistics: Statistics, groups: int, *, inputs_too: bool
) -> list[Tensor]:
    inputs = call.inputs.contiguous()
    samples, channels = inputs.shape[:2]
    found: list[Tensor] = torch.ops.aten.native_group_norm_backward(
        call.output_gradient.contiguous(),
        inputs,
        statistics.mean.reshape(1, -1),
        statistics.reciprocal_deviation.reshape(1, -1),
        weight.detach().repeat(samples),
        1,
        samples * channels,
        inputs[0, 0].numel(),
        samples * groups,
        [inputs_too, True, True],
    )
    return found


def _by_parameter(
    weight: Tensor, bias: Tensor | None, rows: list[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    parameters = [weight] if bias is None else [weight, bias]
    return [(p, row.reshape(-1, *p.shape)) for p, row in zip(parameters, rows, strict=False)]


GROUP_NORM: Final = Dense("per channel", _group_norm)
INSTANCE_NORM: Final = Dense("per channel", _instance_norm)
