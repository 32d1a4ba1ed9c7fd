"""Convolutions, then linear layers, to tell classes of pictures apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from torch import nn

from policies.wire.models import Activation, Cnn

_ACTIVATIONS: Final[dict[Activation, type[nn.Module]]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def build_cnn(config: Cnn) -> nn.Module:
    """Return the network `[n, channels, height, width]` to logits `[n, classes]`."""
    return nn.Sequential(
        *_convolutions(config),
        nn.Flatten(),
        *linear_layers((config.flat, *config.hidden, config.classes), config.activation),
    )


def linear_layers(widths: tuple[int, ...], activation: Activation) -> Iterator[nn.Module]:
    """Yield linear layers from each width to the next, with an activation between two of them."""
    for index, (inside, outside) in enumerate(pairwise(widths)):
        if index:
            yield _ACTIVATIONS[activation]()
        yield nn.Linear(inside, outside)


def _convolutions(config: Cnn) -> Iterator[nn.Module]:
    inside = config.shape[0]
    for wanted in config.convolutions:
        yield nn.Conv2d(
            inside,
            wanted.channels,
            kernel_size=wanted.kernel,
            stride=wanted.stride,
            padding=wanted.padding,
        )
        if config.groups:
            yield nn.GroupNorm(config.groups, wanted.channels)
        yield _ACTIVATIONS[config.activation]()
        if wanted.pool:
            yield nn.MaxPool2d(wanted.pool)
        inside = wanted.channels
