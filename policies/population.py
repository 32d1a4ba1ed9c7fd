"""How many privacy units a run draws from, by the numbers that the contract states publicly."""

from __future__ import annotations

from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.tables import TableJoinConfig


def most_units(pipeline: Pipeline, contract: Contract) -> int:
    """Return the most units that a pipeline can read; 0 if the contract has none of its data.

    Data sets that are put together have all their units. Tables are joined on their units' keys, so
    that a unit of the result is in each of them. How many are is private and counts nowhere.
    """
    units = [item.units for item in contract.datasets if item.id in pipeline.datasets]
    if isinstance(pipeline.join, TableJoinConfig):
        return min(units, default=0)
    return sum(units)
