"""The networks that a pipeline can ask for by a few numbers; what it can describe is in `graph`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from policies.wire.base import Wire
from policies.wire.graph import GraphModel

_GROUPS: Final = 4
_MAX_FLAT: Final = 1 << 20
"""Numbers that may reach a linear layer."""

Activation = Literal["relu", "tanh"]
Width = Annotated[int, Field(ge=1, le=4096)]


class _UNet(Wire):
    """What U-Nets of two and of three dimensions have in common."""

    kind: Literal["unet2d", "unet3d"]
    in_channels: int = Field(ge=1, le=16)
    out_channels: int = Field(ge=1, le=16)
    levels: int = Field(default=3, ge=2, le=5)
    """Resolutions, the input's included."""
    channels: int = Field(default=8, ge=4, le=64)
    """Channels of the first level; each further level has twice as many."""
    groups: int = Field(default=_GROUPS, ge=1, le=64)
    """Groups of channels that are normalised together; only of group normalisation."""
    norm: Literal["group", "instance"] | None = None
    """What is normalised of one sample: groups of channels (the default), or each channel."""
    blocks: Literal["plain", "residual"] | None = None
    """Two convolutions a block (the default), or two convolutions added to what went in."""
    supervision: Literal["finest", "deep"] | None = None
    """Which levels the loss sees: the finest (the default), or the mean over all of them."""

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        if self.norm == "instance":
            if self.groups != _GROUPS:
                raise ValueError("groups is for norm group; leave it out with norm instance")
        elif self.channels % self.groups:
            raise ValueError(
                f"channels ({self.channels}) is not a multiple of groups ({self.groups})"
            )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the input's resolution first."""
        return tuple(self.channels * 2**level for level in range(self.levels))

    @property
    def outputs(self) -> int:
        """How many outputs there are in training; one is left when the network is used."""
        return self.levels if self.supervision == "deep" else 1


class UNet2d(_UNet):
    """A two-dimensional U-Net for slices; it returns logits."""

    kind: Literal["unet2d"]


class UNet3d(_UNet):
    """A three-dimensional U-Net for volumes; it returns logits."""

    kind: Literal["unet3d"]


class Convolution(Wire):
    """A convolution, its activation, and a maximum over windows if one is asked for."""

    channels: int = Field(ge=1, le=1024)
    kernel: int = Field(default=3, ge=1, le=11)
    stride: int = Field(default=1, ge=1, le=8)
    padding: int = Field(default=0, ge=0, le=5)
    pool: int | None = Field(default=None, ge=2, le=8)
    """Side of the windows of which only the largest number goes on."""

    def side(self, before: int) -> int:
        """Return what is left of a side; it may be none."""
        after = (before + 2 * self.padding - self.kernel) // self.stride + 1
        return after // (self.pool or 1)


class Cnn(Wire):
    """Convolutions, then linear layers; it returns a logit for each class."""

    kind: Literal["cnn"]
    shape: tuple[
        Annotated[int, Field(ge=1, le=64)],
        Annotated[int, Field(ge=1, le=1024)],
        Annotated[int, Field(ge=1, le=1024)],
    ]
    """Channels, height and width of a sample."""
    convolutions: tuple[Convolution, ...] = Field(min_length=1, max_length=16)
    hidden: tuple[Width, ...] = Field(default=(), max_length=8)
    """Widths of the linear layers before the last one."""
    classes: int = Field(ge=2, le=10_000)
    activation: Activation = "relu"
    groups: int | None = Field(default=None, ge=1, le=64)
    """Groups of channels that are normalised after each convolution; none are without it."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for index, convolution in enumerate(self.convolutions):
            if convolution.channels % (self.groups or 1):
                raise ValueError(
                    f"channels ({convolution.channels}) of convolution {index} is not a multiple "
                    f"of groups ({self.groups})"
                )
        for index, (_, *sides) in enumerate(self.shapes()):
            if min(sides) < 1:
                raise ValueError(f"nothing is left of the picture after convolution {index}")
        if self.flat > _MAX_FLAT:
            raise ValueError(
                f"{self.flat} numbers reach the first linear layer, at most {_MAX_FLAT} may: "
                "add a pool or a stride"
            )
        return self

    def shapes(self) -> Iterator[tuple[int, int, int]]:
        """Yield the shape of a sample after each convolution."""
        _, height, width = self.shape
        for convolution in self.convolutions:
            height, width = convolution.side(height), convolution.side(width)
            yield convolution.channels, height, width

    @property
    def flat(self) -> int:
        """How many numbers reach the first linear layer."""
        *_, last = self.shapes()
        return math.prod(last)


class Mlp(Wire):
    """Linear layers with an activation between them; it returns a logit for each class."""

    kind: Literal["mlp"]
    inputs: int = Field(ge=1, le=_MAX_FLAT)
    """Numbers of a sample, which is laid out flat."""
    hidden: tuple[Width, ...] = Field(default=(), max_length=8)
    """Widths of the layers before the last one; without any it is a logistic regression."""
    classes: int = Field(ge=2, le=10_000)
    activation: Activation = "relu"


class OnnxModel(Wire):
    """A network that comes as an ONNX graph, made of a closed list of layers."""

    kind: Literal["onnx"]


Model = Annotated[UNet2d | UNet3d | Cnn | Mlp | OnnxModel | GraphModel, Field(discriminator="kind")]
