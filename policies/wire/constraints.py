"""The limits in a contract: what a run may cost each data set, use it for, and hand out."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from policies.wire.base import Slug, Wire
from policies.wire.choices import ModelKind
from policies.wire.tables import TableTerms

MAX_PARTIES = 64


def _decimals(places: int) -> AfterValidator:
    def check(value: float) -> float:
        exponent = Decimal(repr(value)).as_tuple().exponent
        if isinstance(exponent, int) and exponent < -places:
            raise ValueError(f"has more than {places} decimals")
        return value

    return AfterValidator(check)


Epsilon = Annotated[float, Field(gt=0, le=100), _decimals(6)]
Delta = Annotated[float, Field(gt=0, lt=1), _decimals(12)]


class Budget(Wire):
    """A privacy budget."""

    epsilon: Epsilon
    delta: Delta


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
    metrics_on_private_data: Literal["withheld"] = "withheld"
    """No loss or metric of private data leaves the clean room."""
