"""Whole numbers for the policies: microseconds, millionths of epsilon, trillionths of delta.

What is asked for is rounded up and what is granted is rounded down, so rounding never allows
anything.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Annotated

from pydantic import Field

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = 1_000_000
"""Millionths in one; also microseconds in a second."""
BILLION = 1_000_000_000
TRILLION = 1_000_000_000_000

# RFC 8785 refuses integers that a double cannot hold exactly.
LARGEST = 2**53 - 1
Whole = Annotated[int, Field(ge=0, le=LARGEST)]


def microseconds(instant: datetime) -> int:
    """Return Unix microseconds of an aware `instant`."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def granted(value: float, *, scale: int) -> int:
    """Return a limit in units of `1 / scale`, rounded down."""
    return int((Decimal(repr(value)) * scale).to_integral_value(ROUND_FLOOR))


def asked(value: float, *, scale: int) -> int:
    """Return a demand in units of `1 / scale`, rounded up."""
    return int((Decimal(repr(value)) * scale).to_integral_value(ROUND_CEILING))
