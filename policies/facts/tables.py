"""What the policies see of tables: what is lent of them, and what a pipeline reads."""

from __future__ import annotations

from policies.facts.numbers import Whole
from policies.wire.base import Wire
from policies.wire.tables import (
    CategoryFeature,
    Condition,
    NumberFeature,
    TableDataset,
    TableJoinConfig,
    TableRead,
    TableSchema,
    TableTerms,
    Target,
    type_of,
)


class ColumnFacts(Wire):
    """A column of a table."""

    name: str
    type: str


class TableFacts(Wire):
    """What a table holds."""

    unit_key: str
    """The column that says whose row it is."""
    columns: tuple[ColumnFacts, ...]


class TableUseFacts(Wire):
    """What may be done with a table."""

    columns: tuple[str, ...]
    join_keys: tuple[str, ...]
    identifiers: tuple[str, ...]
    max_rows_per_unit: Whole


class FilterFacts(Wire):
    """A column by which rows are chosen."""

    column: str
    type: str
    """Type of the constants that it is compared with; empty where there is none."""


class KeyFacts(Wire):
    """A column of a table that equals one of the first table."""

    own: str
    first: str


class TableReadFacts(Wire):
    """What is read of one table."""

    dataset: str
    columns: tuple[str, ...]
    filters: tuple[FilterFacts, ...]
    """One for each constant."""
    keys: tuple[KeyFacts, ...]


class FeatureFacts(Wire):
    """A column that the training after the join takes."""

    dataset: str
    column: str
    type: str
    """What it is taken for."""


class TableStageFacts(Wire):
    """A stage that joins tables."""

    path: str
    """JSON pointer to the stage."""
    name: str
    datasets: tuple[str, ...]
    tables: tuple[TableReadFacts, ...]
    features: tuple[FeatureFacts, ...]
    max_rows_per_unit: Whole


def table_facts(schema: TableSchema | None) -> TableFacts | None:
    """Return what a data set's schema says; None if it is no table."""
    if schema is None:
        return None
    return TableFacts(
        unit_key=schema.unit_key,
        columns=tuple(ColumnFacts(name=item.name, type=item.type) for item in schema.columns),
    )


def table_use_facts(terms: TableTerms) -> TableUseFacts | None:
    """Return what terms of use grant of a table; None if they are about other data."""
    if terms.columns is None or terms.max_rows_per_unit is None:
        return None
    return TableUseFacts(
        columns=terms.columns,
        join_keys=terms.join_keys or (),
        identifiers=terms.identifiers or (),
        max_rows_per_unit=terms.max_rows_per_unit,
    )


def table_stage(path: str, config: TableJoinConfig, dataset: object) -> TableStageFacts:
    """Return the facts about a table join.

    Args:
        path: JSON pointer to the stage.
        config: The stage.
        dataset: What the training after it reads; nothing is known of it unless it is a table.
    """
    reads = dataset.reads if isinstance(dataset, TableDataset) else ()
    return TableStageFacts(
        path=path,
        name="TableJoin",
        datasets=config.datasets,
        tables=tuple(map(_read, config.tables)),
        features=tuple(
            FeatureFacts(dataset=item.table, column=item.column, type=_taken_for(item))
            for item in reads
        ),
        max_rows_per_unit=config.max_rows_per_unit,
    )


def _read(table: TableRead) -> TableReadFacts:
    return TableReadFacts(
        dataset=table.dataset,
        columns=table.columns,
        filters=tuple(item for condition in table.where for item in _filters(condition)),
        keys=tuple(KeyFacts(own=pair.own, first=pair.first) for pair in table.on),
    )


def _filters(condition: Condition) -> tuple[FilterFacts, ...]:
    types = sorted({str(type_of(value)) for value in condition.values}) or [""]
    return tuple(FilterFacts(column=condition.column, type=kind) for kind in types)


def _taken_for(item: NumberFeature | CategoryFeature | Target) -> str:
    return "number" if isinstance(item, NumberFeature) else type_of(item.levels[0])
