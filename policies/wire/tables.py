"""Tables: what a provider lends of one, and how a pipeline puts several together.

A query is data, not text. It names columns, compares them with constants and joins on equal keys;
there is no function, no nested query and no order in it, so that a document cannot ask for more
than its fields say. Every table is joined on the key of its privacy unit: a row of the result is
then about one person, and who is missing in one table is missing in the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from policies.errors import Problem
from policies.wire.base import Slug, Wire

MAX_COLUMNS = 512
MAX_ROWS_PER_UNIT = 64
_MAX_TABLES = 8
_MAX_WHOLE = 2**53 - 1

Column = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,62}\z")]
Columns = Annotated[tuple[Column, ...], Field(max_length=MAX_COLUMNS)]
ColumnType = Literal["text", "whole", "number", "flag"]
Text = Annotated[str, StringConstraints(pattern=r"\A[^\x00-\x1f\x7f]{0,64}\z")]
WholeNumber = Annotated[int, Field(ge=-_MAX_WHOLE, le=_MAX_WHOLE)]
Number = Annotated[float, Field(ge=-1e15, le=1e15)]
Level = bool | WholeNumber | Text
"""One of the values of a column that has few."""
Scalar = bool | WholeNumber | Number | Text
Bound: TypeAlias = Annotated[int, Field(ge=1, le=MAX_ROWS_PER_UNIT)]
"""The most rows of one privacy unit."""


def type_of(value: bool | float | str) -> ColumnType:
    """Return the type of the columns that a constant can be compared with."""
    match value:
        case bool():
            return "flag"
        case int():
            return "whole"
        case float():
            return "number"
        case str():
            return "text"


class TableColumn(Wire):
    """A column of a table."""

    name: Column
    type: ColumnType


class TableSchema(Wire):
    """What a table holds, which its provider states publicly."""

    columns: tuple[TableColumn, ...] = Field(min_length=1, max_length=MAX_COLUMNS)
    unit_key: Column
    """The column that says whose row it is; all rows with one value are one privacy unit."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _each_once("column", [column.name.lower() for column in self.columns])
        if self.type(self.unit_key) not in ("text", "whole"):
            raise ValueError(f"unitKey {self.unit_key!r} is no column of type text or whole")
        return self

    def type(self, column: str) -> ColumnType | None:
        """Return the type of a column; None if there is none of this name."""
        return next((item.type for item in self.columns if item.name == column), None)


class TableTerms(Wire):
    """What may be done with the columns of a table; nothing of it for data of another format."""

    columns: Columns | None = None
    """Columns that may reach training, or choose rows."""
    join_keys: Columns | None = None
    """Columns by which rows may meet those of other tables."""
    identifiers: Columns | None = None
    """Columns that must neither reach training nor choose rows, beside the key of the unit."""
    max_rows_per_unit: Bound | None = None

    @model_validator(mode="after")
    def _of_a_table(self) -> Self:
        if (self.columns is None) != (self.max_rows_per_unit is None):
            raise ValueError("columns and maxRowsPerUnit are given together, for a table")
        if self.columns is None and (self.join_keys, self.identifiers) != (None, None):
            raise ValueError("joinKeys and identifiers are given with columns, for a table")
        return self

    def problems(self, schema: TableSchema | None) -> Iterator[Problem]:
        """Yield what does not fit the data set that the terms are about."""
        if (schema is None) != (self.columns is None):
            some = "the columns of a table" if schema else "no columns: it is no table"
            yield Problem("/columns", f"is wrong: the terms of this data set grant {some}")
        if schema is None:
            return
        hidden = {schema.unit_key, *(self.identifiers or ())}
        for field, names in (
            ("columns", self.columns),
            ("joinKeys", self.join_keys),
            ("identifiers", self.identifiers),
        ):
            for index, name in enumerate(names or ()):
                if schema.type(name) is None:
                    yield Problem(f"/{field}/{index}", f"{name} is no column of the table")
        for index, name in enumerate(self.columns or ()):
            if name in hidden:
                yield Problem(f"/columns/{index}", f"{name} says whose row it is")


class Comparison(Wire):
    """Keep the rows in which a column compares so with a constant; never those without a value."""

    column: Column
    op: Literal["eq", "ne", "lt", "le", "gt", "ge"]
    value: Scalar

    @property
    def values(self) -> tuple[Scalar, ...]:
        """What the column is compared with."""
        return (self.value,)


class Membership(Wire):
    """Keep the rows in which a column has one of several values."""

    column: Column
    op: Literal["in"]
    values: tuple[Scalar, ...] = Field(min_length=1, max_length=64)


class Presence(Wire):
    """Keep the rows in which a column has a value."""

    column: Column
    op: Literal["present"]

    @property
    def values(self) -> tuple[Scalar, ...]:
        """What the column is compared with: nothing."""
        return ()


Condition = Annotated[Comparison | Membership | Presence, Field(discriminator="op")]


class KeyPair(Wire):
    """A column of a table that equals one of the first table."""

    own: Column
    first: Column


class TableRead(Wire):
    """What is read of one table."""

    dataset: Slug
    columns: Columns
    """Columns that are handed on."""
    where: tuple[Condition, ...] = Field(default=(), max_length=16)
    """Conditions on each row; all of them hold in what is read."""
    on: tuple[KeyPair, ...] = Field(default=(), max_length=4)
    """Keys by which the rows meet those of the first table; the units' keys are among them."""

    @model_validator(mode="after")
    def _columns_once(self) -> Self:
        _each_once("column", self.columns)
        return self


class TableJoinConfig(Wire):
    """Which tables are put together, and how much of one unit may come out."""

    tables: tuple[TableRead, ...] = Field(min_length=1, max_length=_MAX_TABLES)
    max_rows_per_unit: Bound
    """Rows that a unit has at most, in each table and in the result; further ones are left out."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _each_once("data set", self.datasets)
        first, *others = self.tables
        if first.on:
            raise ValueError("the first table has nothing before it to be joined on")
        for table in others:
            if not table.on:
                raise ValueError(f"table {table.dataset} is joined on nothing")
        return self

    @property
    def datasets(self) -> tuple[str, ...]:
        """Ids of the tables."""
        return tuple(table.dataset for table in self.tables)

    @property
    def handed_on(self) -> frozenset[tuple[str, str]]:
        """The columns of the result, each with its table."""
        return frozenset((table.dataset, name) for table in self.tables for name in table.columns)


class TableJoin(Wire):
    """Stage: read granted columns of one or more tables, joined on the key of the privacy unit."""

    name: Literal["TableJoin"]
    config: TableJoinConfig


class NumberFeature(Wire):
    """A column as one input from 0 to 1, by bounds that are stated and not taken from the data."""

    kind: Literal["number"]
    table: Slug
    column: Column
    low: Number
    """What becomes 0, as does everything below."""
    high: Number
    """What becomes 1, as does everything above."""
    missing: Number | None = None
    """What stands for a value that is missing; the middle of both unless given."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low is not below high")
        if self.missing is not None and not self.low <= self.missing <= self.high:
            raise ValueError("missing is not between low and high")
        return self

    @property
    def width(self) -> int:
        """How many inputs it becomes."""
        return 1


class CategoryFeature(Wire):
    """A column as one input a level, 1 for the row's own; all 0 for any other value and none."""

    kind: Literal["category"]
    table: Slug
    column: Column
    levels: tuple[Level, ...] = Field(min_length=1, max_length=256)

    @model_validator(mode="after")
    def _levels_alike(self) -> Self:
        _alike(self.levels)
        return self

    @property
    def width(self) -> int:
        """How many inputs it becomes."""
        return len(self.levels)


Feature = Annotated[NumberFeature | CategoryFeature, Field(discriminator="kind")]


class Target(Wire):
    """The column that is predicted; a row with none of the levels is left out."""

    table: Slug
    column: Column
    levels: tuple[Level, ...] = Field(min_length=2, max_length=1000)
    """The classes, in the order of their numbers."""

    @model_validator(mode="after")
    def _levels_alike(self) -> Self:
        _alike(self.levels)
        return self


class TableDataset(Wire):
    """Rows of a table join as vectors with a class number each, grouped by privacy unit."""

    kind: Literal["table"]
    features: tuple[Feature, ...] = Field(min_length=1, max_length=MAX_COLUMNS)
    target: Target

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        _each_once("column", [f"{item.table}.{item.column}" for item in self.reads])
        return self

    @property
    def reads(self) -> tuple[NumberFeature | CategoryFeature | Target, ...]:
        """Everything that takes a column, the target last."""
        return (*self.features, self.target)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return (sum(feature.width for feature in self.features),)

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.target.levels)


def unread(join: TableJoinConfig, dataset: TableDataset) -> Iterator[str]:
    """Yield the columns that a data set takes and the join before it does not hand on."""
    for item in dataset.reads:
        if (item.table, item.column) not in join.handed_on:
            yield f"{item.table}.{item.column}"


def _each_once(what: str, names: list[str] | tuple[str, ...]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name} is named twice")


def _alike(levels: tuple[Level, ...]) -> None:
    if len({type_of(level) for level in levels}) > 1:
        raise ValueError("levels are of several types")
    if len(set(levels)) < len(levels):
        raise ValueError("a level is named twice")
