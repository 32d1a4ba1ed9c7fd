"""Amounts of privacy, with no more decimals than the whole numbers that policies compare."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

from policies.wire.base import Wire


def decimals(places: int) -> AfterValidator:
    """Return a check that refuses a number with more decimals."""

    def check(value: float) -> float:
        exponent = Decimal(repr(value)).as_tuple().exponent
        if isinstance(exponent, int) and exponent < -places:
            raise ValueError(f"has more than {places} decimals")
        return value

    return AfterValidator(check)


Epsilon = Annotated[float, Field(gt=0, le=100), decimals(6)]
Delta = Annotated[float, Field(gt=0, lt=1), decimals(12)]


class Budget(Wire):
    """A privacy budget."""

    epsilon: Epsilon
    delta: Delta
