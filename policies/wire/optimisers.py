"""Optimisers, learning rate schedules and weight averaging that a pipeline can select."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from policies.wire.base import Wire

LearningRate = Annotated[float, Field(gt=0, le=100)]
WeightDecay = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class AdamParams(Wire):
    """Parameters of Adam and AdamW."""

    lr: LearningRate
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0, le=1)
    weight_decay: WeightDecay = 0.0


class SgdParams(Wire):
    """Parameters of stochastic gradient descent."""

    lr: LearningRate
    momentum: Beta = 0.0
    nesterov: bool = False
    weight_decay: WeightDecay = 0.0


class Adam(Wire):
    """Adam."""

    name: Literal["Adam"]
    params: AdamParams


class AdamW(Wire):
    """Adam with decoupled weight decay."""

    name: Literal["AdamW"]
    params: AdamParams


class Sgd(Wire):
    """Stochastic gradient descent."""

    name: Literal["SGD"]
    params: SgdParams


Optimizer = Annotated[Adam | AdamW | Sgd, Field(discriminator="name")]


class CyclicLrParams(Wire):
    """The rate goes up and down between two bounds."""

    base_lr: LearningRate
    max_lr: LearningRate
    step_size_up: int = Field(ge=1, le=1_000_000)
    step_size_down: int | None = Field(default=None, ge=1, le=1_000_000)
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float = Field(default=1.0, gt=0, le=1)


class OneCycleLrParams(Wire):
    """The rate goes up once and then down to almost nothing over the planned steps."""

    max_lr: LearningRate
    pct_start: float = Field(default=0.3, gt=0, lt=1)
    div_factor: float = Field(default=25.0, ge=1, le=1e6)
    final_div_factor: float = Field(default=1e4, ge=1, le=1e9)


class CosineParams(Wire):
    """The rate falls along half a cosine over the planned steps."""

    eta_min: float = Field(default=0.0, ge=0, le=100)


class StepLrParams(Wire):
    """The rate is multiplied by gamma every so many steps."""

    step_size: int = Field(ge=1, le=1_000_000)
    gamma: float = Field(default=0.1, gt=0, le=1)


class WarmupCosineParams(Wire):
    """The rate rises linearly, then falls along half a cosine over the planned steps."""

    warmup_steps: int = Field(ge=1, le=1_000_000)
    min_factor: float = Field(default=0.0, ge=0, le=1)
    """Share of the rate that is left at the end."""


class CyclicLr(Wire):
    """Triangular cycles."""

    name: Literal["CyclicLR"]
    params: CyclicLrParams


class OneCycleLr(Wire):
    """One cycle."""

    name: Literal["OneCycleLR"]
    params: OneCycleLrParams


class CosineAnnealingLr(Wire):
    """Half a cosine."""

    name: Literal["CosineAnnealingLR"]
    params: CosineParams = CosineParams()


class StepLr(Wire):
    """Steps down."""

    name: Literal["StepLR"]
    params: StepLrParams


class WarmupCosine(Wire):
    """Warm-up, then half a cosine."""

    name: Literal["WarmupCosine"]
    params: WarmupCosineParams


Scheduler = Annotated[
    CyclicLr | OneCycleLr | CosineAnnealingLr | StepLr | WarmupCosine, Field(discriminator="name")
]


class Ema(Wire):
    """Exponential moving average of the weights; early steps are weighted as a plain mean."""

    kind: Literal["EMA"]
    decay: float = Field(gt=0, lt=1)


class Polyak(Wire):
    """Plain mean of the weights over the last part of the steps."""

    kind: Literal["Polyak"]
    last_fraction: float = Field(gt=0, le=1)


Averaging = Annotated[Ema | Polyak, Field(discriminator="kind")]
