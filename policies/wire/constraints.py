"""The limits in a contract: what a run may cost each data set, use it for, and hand out.

A limit that is absent is the widest that the clean room offers.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from policies.wire.base import Slug, Wire
from policies.wire.budget import Budget, decimals
from policies.wire.choices import LossName, Metric, ModelKind, Once, OutputFormat
from policies.wire.private_metrics import PrivateMetricsGrant
from policies.wire.tables import TableTerms

MAX_PARTIES = 64
MAX_SAMPLES_PER_UNIT = 64


class Privacy(Wire):
    """What training on one data set may cost its data subjects."""

    dataset: Slug
    run: Budget
    """The most that one run may spend."""
    total: Budget
    """The most that all runs of this contract's consumer together may spend."""
    overall: Budget
    """The most that all consumers together may spend."""
    unit: Literal["patient", "record"]
    adjacency: Literal["add-remove", "replace-one"]
    max_grad_norm: float = Field(gt=0, le=1000)
    """The largest clipping norm."""
    max_steps: int = Field(gt=0, le=10**7)
    max_epochs: int | None = Field(default=None, gt=0, le=10**6)
    """How often a unit may take part on average; without it `maxSteps` alone limits that."""
    max_sampling_rate: Annotated[float, Field(gt=0, le=1), decimals(6)] | None = None
    """The largest share of the units that one step may draw on average; without it all of them."""
    max_samples_per_unit: int | None = Field(default=None, gt=0, le=MAX_SAMPLES_PER_UNIT)
    """How many samples of a unit one step may average; without it as many as are offered."""
    min_noise_multiplier: Annotated[float, Field(gt=0, le=1000), decimals(4)] | None = None
    """The least noise of a step, as a multiple of the clipping norm; without it what ε asks."""
    private_metrics: PrivateMetricsGrant | None = None
    """Metrics of this data that may leave with noise; without it none may."""


class DataUse(TableTerms):
    """What may be done with one data set."""

    dataset: Slug
    join: bool
    """Whether it may be joined with the other data sets of the contract."""
    private_only: bool = True
    """Whether every stage that reads it must be differentially private."""


class Constraints(Wire):
    """The limits that the policy enforces."""

    privacy: tuple[Privacy, ...] = Field(min_length=1, max_length=MAX_PARTIES)
    data_use: tuple[DataUse, ...] = Field(min_length=1, max_length=MAX_PARTIES)
    models: tuple[ModelKind, ...] = Field(min_length=1, max_length=8)
    max_parameters: int = Field(gt=0, le=10**10)
    losses: Annotated[tuple[LossName, ...], Field(min_length=1, max_length=32), Once] | None = None
    """Losses that may be trained with, components included; without it all that are offered."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=32), Once] | None = None
    """Metrics that the consumer may compute of its own data; without it all that are offered."""
    outputs: Annotated[tuple[OutputFormat, ...], Field(min_length=1, max_length=8), Once] | None = (
        None
    )
    """Formats that the model may leave in; without it all that are offered."""
    metrics_on_private_data: Literal["withheld", "noised"] = "withheld"
    """Whether metrics of private data leave the clean room: none, or those that `privateMetrics` of
    a data set grants, with noise. A loss of private data never does."""
