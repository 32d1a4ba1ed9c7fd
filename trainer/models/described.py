"""A graph that a pipeline describes, as a torch network.

Weights are called `_layers.<layer>.<weight>`, and those of a submodule
`_layers.<part>._layers.<layer>.<weight>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn

from policies.wire.graph import GraphModel, Node
from policies.wire.layers import (
    WITH_WEIGHTS,
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Combine,
    Concat,
    Conv,
    ConvTranspose,
    Elu,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyRelu,
    Linear,
    MaxPool,
    Simple,
    Upsample,
    whole,
)
from trainer.models.errors import ModelRefused

Function: TypeAlias = Callable[..., Tensor]


class _Group(nn.Module):
    """The layers of a graph or of a submodule that have weights, by name."""

    def __init__(self) -> None:
        super().__init__()
        self._layers = nn.ModuleDict()

    def place(self, path: tuple[str, ...], layer: nn.Module) -> None:
        """Put a layer below the parts that its path names."""
        name, *below = path
        if not below:
            self._layers[name] = layer
            return
        if name not in self._layers:
            self._layers[name] = _Group()
        part = self._layers[name]
        if not isinstance(part, _Group):
            raise TypeError(f"{name} is a layer and a part")
        part.place(tuple(below), layer)


class DescribedNetwork(_Group):
    """Runs the layers of a described graph one after the other."""

    def __init__(self, graph: GraphModel) -> None:
        """Build the network; its weights are torch's own random ones.

        Raises:
            ModelRefused: if torch refuses a layer.
        """
        super().__init__()
        self.gives_probabilities = graph.gives_probabilities
        self._input, self._output = graph.inputs[0], graph.output
        try:
            self._steps = tuple(
                (self._function(node), node.inputs, node.output) for node in graph.nodes()
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelRefused(f"graph: {str(error)[:200]}") from None

    def _function(self, node: Node) -> Function:
        if isinstance(node.layer, WITH_WEIGHTS):
            layer = _with_weights(node.layer)
            self.place(node.path, layer)
            return layer
        return _plain(node.layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the graph's output for a batch of samples."""
        values = {self._input: x}
        for function, inputs, output in self._steps:
            values[output] = function(*(values[name] for name in inputs))
        return values[self._output]


def _with_weights(
    layer: Conv | ConvTranspose | Linear | GroupNorm | LayerNorm | InstanceNorm | BatchNorm,
) -> nn.Module:
    match layer:
        case Conv() | ConvTranspose():
            return _convolution(layer)
        case Linear(params=linear):
            return nn.Linear(
                whole(linear.in_features), whole(linear.out_features), bias=linear.bias
            )
        case GroupNorm(params=group):
            return nn.GroupNorm(
                whole(group.num_groups),
                whole(group.num_channels),
                eps=group.eps,
                affine=group.affine,
            )
        case LayerNorm(params=norm):
            sides = list(map(whole, norm.normalized_shape))
            return nn.LayerNorm(sides, eps=norm.eps, elementwise_affine=norm.elementwise_affine)
        case InstanceNorm(params=own):
            instance = _TORCH[layer.layer]
            return instance(whole(own.num_features), eps=own.eps, affine=own.affine)
        case BatchNorm(params=batch):
            return _TORCH[layer.layer](
                whole(batch.num_features),
                eps=batch.eps,
                momentum=batch.momentum,
                affine=batch.affine,
            )


def _convolution(layer: Conv | ConvTranspose) -> nn.Module:
    params = layer.params
    sizes = {
        "kernel_size": params.kernel_size,
        "stride": params.stride,
        "padding": params.padding,
        "dilation": params.dilation,
        "groups": params.groups,
    }
    if isinstance(layer, ConvTranspose):
        sizes["output_padding"] = layer.params.output_padding
    given = {name: whole(size) for name, size in sizes.items()}
    channels = whole(params.in_channels), whole(params.out_channels)
    return _TORCH[layer.layer](*channels, bias=params.bias, **given)


def _plain(layer: Layer) -> Function:  # noqa: PLR0911 - one case a layer
    match layer:
        case MaxPool(params=pool) | AvgPool(params=pool):
            window, stride = whole(pool.kernel_size), pool.stride or pool.kernel_size
            pooled = _TORCH[layer.layer]
            return pooled(window, stride=whole(stride), padding=whole(pool.padding))
        case AdaptiveAvgPool(params=adaptive):
            return _TORCH[layer.layer](adaptive.output_size)
        case Upsample(params=up):
            corners = None if up.mode == "nearest" else False
            return nn.Upsample(
                scale_factor=float(up.scale_factor), mode=up.mode, align_corners=corners
            )
        case LeakyRelu(params=leaky):
            return nn.LeakyReLU(leaky.negative_slope)
        case Elu(params=elu):
            return nn.ELU(elu.alpha)
        case Concat(params=concat):
            axis = concat.dim
            return lambda *values: torch.cat(values, dim=axis)
        case Combine(layer="Add"):
            return lambda *values: reduce(torch.add, values)
        case Combine():
            return lambda *values: reduce(torch.mul, values)
        case Simple(layer=name):
            return _SIMPLE[name]()
    raise TypeError(f"{layer.layer} has weights")


_TORCH: Final[Mapping[str, Callable[..., nn.Module]]] = {
    "AdaptiveAvgPool2d": nn.AdaptiveAvgPool2d,
    "AdaptiveAvgPool3d": nn.AdaptiveAvgPool3d,
    "AvgPool2d": nn.AvgPool2d,
    "AvgPool3d": nn.AvgPool3d,
    "BatchNorm2d": nn.BatchNorm2d,
    "BatchNorm3d": nn.BatchNorm3d,
    "Conv2d": nn.Conv2d,
    "Conv3d": nn.Conv3d,
    "ConvTranspose2d": nn.ConvTranspose2d,
    "ConvTranspose3d": nn.ConvTranspose3d,
    "InstanceNorm2d": nn.InstanceNorm2d,
    "InstanceNorm3d": nn.InstanceNorm3d,
    "MaxPool2d": nn.MaxPool2d,
    "MaxPool3d": nn.MaxPool3d,
}
_SIMPLE: dict[str, type[nn.Module]] = {
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "Flatten": nn.Flatten,
    "Identity": nn.Identity,
}
