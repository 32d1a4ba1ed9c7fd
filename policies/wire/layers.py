"""Layers that a graph can be made of: a closed list, each with typed parameters.

A size is a whole number or, inside a submodule, `$name` of one of its parameters. Every layer but
those of `BATCH_COUPLED` works on each sample of a batch by itself. Layers whose name ends in `2d`
take pictures, `[channels, height, width]`; in `3d`, volumes, `[channels, depth, height, width]`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from policies.wire.base import Wire

MAX_SIZE: Final = 65_536

Parameter = Annotated[str, StringConstraints(pattern=r"\A\$[a-z][a-z0-9_]{0,31}\z")]
"""`$name`: the value that whoever uses the submodule gives."""
Size = Annotated[int, Field(ge=1, le=MAX_SIZE)] | Parameter
"""Number of channels, features or groups."""
Kernel = Annotated[int, Field(ge=1, le=31)] | Parameter
Stride = Annotated[int, Field(ge=1, le=16)] | Parameter
Padding = Annotated[int, Field(ge=0, le=31)] | Parameter
Eps = Annotated[float, Field(gt=0, le=1)]


def whole(value: int | str) -> int:
    """Return a size that is known.

    Raises:
        ValueError: if it is a parameter that nobody has given.
    """
    match value:
        case int():
            return value
        case str():
            raise ValueError(f"{value} is a parameter; only a submodule has parameters")


class NoSettings(Wire):
    """A layer without parameters."""


class ConvParams(Wire):
    """Parameters of a convolution; kernel, stride, padding and dilation are those of all sides."""

    in_channels: Size
    out_channels: Size
    kernel_size: Kernel
    stride: Stride = 1
    padding: Padding = 0
    dilation: Stride = 1
    groups: Size = 1
    bias: bool = True

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        for channels in (self.in_channels, self.out_channels):
            _divides(self.groups, channels, what="groups")
        return self


class ConvTransposeParams(ConvParams):
    """Parameters of a transposed convolution; sizes are those of all sides."""

    output_padding: Annotated[int, Field(ge=0, le=15)] | Parameter = 0
    """Added to one end of each side; less than the stride or the dilation."""

    @model_validator(mode="after")
    def _output_padding_is_small(self) -> Self:
        match self.output_padding, self.stride, self.dilation:
            case int(added), int(stride), int(gap) if added >= max(stride, gap):
                raise ValueError(f"outputPadding {added} is not less than stride or dilation")
        return self


class LinearParams(Wire):
    """Parameters of Linear."""

    in_features: Size
    out_features: Size
    bias: bool = True


class GroupNormParams(Wire):
    """Parameters of GroupNorm."""

    num_groups: Size
    num_channels: Size
    eps: Eps = 1e-5
    affine: bool = True

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        _divides(self.num_groups, self.num_channels, what="numGroups")
        return self


class LayerNormParams(Wire):
    """Parameters of LayerNorm."""

    normalized_shape: tuple[Size, ...] = Field(min_length=1, max_length=4)
    eps: Eps = 1e-5
    elementwise_affine: bool = True


class InstanceNormParams(Wire):
    """Parameters of an instance normalisation; it keeps no statistics of the data."""

    num_features: Size
    eps: Eps = 1e-5
    affine: bool = False


class BatchNormParams(Wire):
    """Parameters of a batch normalisation."""

    num_features: Size
    eps: Eps = 1e-5
    momentum: float = Field(default=0.1, gt=0, le=1)
    affine: bool = True


class PoolParams(Wire):
    """Parameters of a pool; sizes are those of all sides."""

    kernel_size: Kernel
    stride: Stride | None = None
    """The kernel's size without it."""
    padding: Padding = 0

    @model_validator(mode="after")
    def _padding_is_small(self) -> Self:
        kernel, padding = self.kernel_size, self.padding
        if isinstance(kernel, int) and isinstance(padding, int) and 2 * padding > kernel:
            raise ValueError(f"padding {padding} is more than half of kernelSize {kernel}")
        return self


class AdaptivePoolParams(Wire):
    """Parameters of an adaptive pool."""

    output_size: Annotated[int, Field(ge=1, le=256)]
    """Each side of what comes out."""


class UpsampleParams(Wire):
    """Parameters of Upsample."""

    scale_factor: Annotated[int, Field(ge=2, le=8)]
    mode: Literal["nearest", "bilinear", "trilinear"] = "nearest"
    """`bilinear` is for pictures, `trilinear` for volumes."""


class LeakyReluParams(Wire):
    """Parameters of LeakyReLU."""

    negative_slope: float = Field(default=0.01, ge=0, le=1)


class EluParams(Wire):
    """Parameters of ELU."""

    alpha: float = Field(default=1.0, gt=0, le=100)


class ConcatParams(Wire):
    """Parameters of Concat."""

    dim: Annotated[int, Field(ge=1, le=4)] = 1
    """Axis along which values are joined; axis 0 is that of the samples and cannot be named."""


class _Spatial(Wire):
    """A layer for pictures or for volumes."""

    layer: str = Field(alias="class")

    @property
    def dimensions(self) -> int:
        """How many sides a sample has for it, besides its channels."""
        return int(self.layer[-2])


class Conv(_Spatial):
    """Convolution of pictures or of volumes."""

    layer: Literal["Conv2d", "Conv3d"] = Field(alias="class")
    params: ConvParams


class ConvTranspose(_Spatial):
    """Transposed convolution of pictures or of volumes, which makes them larger."""

    layer: Literal["ConvTranspose2d", "ConvTranspose3d"] = Field(alias="class")
    params: ConvTransposeParams


class Linear(Wire):
    """A matrix and a bias on the last axis."""

    layer: Literal["Linear"] = Field(alias="class")
    params: LinearParams


class GroupNorm(Wire):
    """Normalises groups of channels of one sample."""

    layer: Literal["GroupNorm"] = Field(alias="class")
    params: GroupNormParams


class LayerNorm(Wire):
    """Normalises the last axes of one sample."""

    layer: Literal["LayerNorm"] = Field(alias="class")
    params: LayerNormParams


class InstanceNorm(_Spatial):
    """Normalises each channel of one sample."""

    layer: Literal["InstanceNorm2d", "InstanceNorm3d"] = Field(alias="class")
    params: InstanceNormParams


class BatchNorm(_Spatial):
    """Normalises over the samples of a batch, so that no private run may have it."""

    layer: Literal["BatchNorm2d", "BatchNorm3d"] = Field(alias="class")
    params: BatchNormParams


class MaxPool(_Spatial):
    """The largest number of each window."""

    layer: Literal["MaxPool2d", "MaxPool3d"] = Field(alias="class")
    params: PoolParams


class AvgPool(_Spatial):
    """The mean of each window."""

    layer: Literal["AvgPool2d", "AvgPool3d"] = Field(alias="class")
    params: PoolParams


class AdaptiveAvgPool(_Spatial):
    """Means of windows, as many as asked for."""

    layer: Literal["AdaptiveAvgPool2d", "AdaptiveAvgPool3d"] = Field(alias="class")
    params: AdaptivePoolParams


class Upsample(Wire):
    """Makes a picture or a volume larger."""

    layer: Literal["Upsample"] = Field(alias="class")
    params: UpsampleParams


class LeakyRelu(Wire):
    """A rectifier with a slope below zero."""

    layer: Literal["LeakyReLU"] = Field(alias="class")
    params: LeakyReluParams = LeakyReluParams()


class Elu(Wire):
    """A rectifier with an exponential below zero."""

    layer: Literal["ELU"] = Field(alias="class")
    params: EluParams = EluParams()


class Simple(Wire):
    """A function of each number, or the sample as one row (Flatten), or itself (Identity)."""

    layer: Literal["ReLU", "GELU", "Sigmoid", "Tanh", "Flatten", "Identity"] = Field(alias="class")
    params: NoSettings = NoSettings()


class Concat(Wire):
    """Joins several values of a sample."""

    layer: Literal["Concat"] = Field(alias="class")
    params: ConcatParams = ConcatParams()


class Combine(Wire):
    """The sum or the product of several values of one shape."""

    layer: Literal["Add", "Mul"] = Field(alias="class")
    params: NoSettings = NoSettings()


Plain = Annotated[
    MaxPool | AvgPool | AdaptiveAvgPool | Upsample | LeakyRelu | Elu | Simple | Concat | Combine,
    Field(discriminator="layer"),
]
"""A layer without weights, which may stand in a step by itself."""
Layer = Annotated[
    Conv
    | ConvTranspose
    | Linear
    | GroupNorm
    | LayerNorm
    | InstanceNorm
    | BatchNorm
    | MaxPool
    | AvgPool
    | AdaptiveAvgPool
    | Upsample
    | LeakyRelu
    | Elu
    | Simple
    | Concat
    | Combine,
    Field(discriminator="layer"),
]
WITH_WEIGHTS: Final = (
    Conv, ConvTranspose, Linear, GroupNorm, LayerNorm, InstanceNorm, BatchNorm
)  # fmt: skip
"""Layers that may be used only once: shared weights have no per-sample gradient here."""
BATCH_COUPLED: Final = (BatchNorm,)
SEVERAL_INPUTS: Final = (Concat, Combine)


def _divides(groups: int | str, channels: int | str, *, what: str) -> None:
    if isinstance(groups, int) and isinstance(channels, int) and channels % groups:
        raise ValueError(f"{channels} channels are not a multiple of {what} ({groups})")
