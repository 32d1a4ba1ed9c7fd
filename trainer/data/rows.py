"""Rows of joined tables as a set of privacy units.

The query is made from a closed document: names are quoted, constants are parameters. Each table is
filtered and cut to the bound on a person's rows before it meets the next one, and so is what comes
of it, in the order of the files and without a look at any value. What a person's rows become
depends on that person's rows alone, and that nobody is left is no error: whether a filter finds
somebody is private.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from duckdb import DuckDBPyConnection
from numpy.typing import NDArray

from policies.wire.contract import Dataset
from policies.wire.tables import (
    CategoryFeature,
    Condition,
    NumberFeature,
    TableDataset,
    TableJoinConfig,
    TableRead,
    TableSchema,
    Target,
)
from trainer.data.database import database, quoted
from trainer.data.errors import DataError
from trainer.data.manifest import TableManifest, read_manifest
from trainer.data.tables import load_table, table_file

MAX_BYTES = 16 * 1024**3
_OPERATORS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


class TableUnits:
    """People, each with the rows of a join that are about them."""

    def __init__(
        self,
        inputs: NDArray[np.float32],
        classes: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> None:
        """Take rows sorted by person.

        Args:
            inputs: `[rows, width]`.
            classes: `[rows]`.
            ends: Where each person's rows end.
        """
        self._inputs, self._classes, self._ends = inputs, classes, ends

    @property
    def patients(self) -> None:
        """Keys of people stay in the join."""
        return

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Length of a row's vector."""
        return self._inputs.shape[1:]

    def __len__(self) -> int:
        return len(self._ends)

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return one person's rows [k, width] and class numbers [k]."""
        if not 0 <= index < len(self):
            raise IndexError(f"unit {index} of {len(self)}")
        start = int(self._ends[index - 1]) if index else 0
        rows = slice(start, int(self._ends[index]))
        return self._inputs[rows], self._classes[rows]


def open_tables(
    items: Sequence[Dataset],
    folders: Mapping[str, Path],
    *,
    join: TableJoinConfig,
    dataset: TableDataset,
) -> TableUnits:
    """Join the tables of a contract and return the people in the result.

    Args:
        items: The data sets of the contract that are joined.
        folders: The opened folder of each, by its id.
        join: What is read of them.
        dataset: What training takes of the result.

    Raises:
        DataError: when a table is not the one of the contract, or the result could be too large.
    """
    units = min(item.units for item in items)
    if units * join.max_rows_per_unit * dataset.shape[0] * 4 > MAX_BYTES:
        raise DataError(f"join: {units} units may come to more than {MAX_BYTES} bytes")
    by_id = {item.id: item for item in items}
    first_key = ""
    files = {name: table_file(folder) for name, folder in folders.items()}
    with database(*files.values(), what="join") as connection:
        for number, table in enumerate(join.tables):
            item, schema = _checked(by_id[table.dataset], folders[table.dataset])
            load_table(connection, files[item.id], f"t{number}", schema=schema, units=item.units)
            _read(connection, number, table, schema.unit_key, join)
            if number:
                _one_person(table, own=schema.unit_key, first=first_key)
                _meet(connection, number, table, join)
            else:
                first_key = schema.unit_key
        columns = _result(connection, join, dataset)
    return _encoded(columns, dataset)


def _checked(item: Dataset, folder: Path) -> tuple[Dataset, TableSchema]:
    manifest = read_manifest(folder)
    if item.table is None or not isinstance(manifest, TableManifest):
        raise DataError(f"{item.id} is no table")
    if manifest.table != item.table or manifest.units != item.units:
        raise DataError(f"{item.id} is not the table that the contract describes")
    return item, item.table


def _one_person(table: TableRead, *, own: str, first: str) -> None:
    if not any((pair.own, pair.first) == (own, first) for pair in table.on):
        raise DataError(f"join: {table.dataset} is not joined on the units' keys")


def _read(
    connection: DuckDBPyConnection,
    number: int,
    table: TableRead,
    unit_key: str,
    join: TableJoinConfig,
) -> None:
    """Keep the rows that the conditions hold for, of each person no more than the bound."""
    keys = {pair.own for pair in table.on}
    if number == 0:
        keys = {pair.first for other in join.tables[1:] for pair in other.on}
    chosen = ", ".join(
        [
            f"{quoted(unit_key)} AS person",
            f"rowid AS p{number}",
            *(f"{quoted(name)} AS {quoted(_alias(number, name))}" for name in table.columns),
            *(f"{quoted(name)} AS {quoted(_key(number, name))}" for name in sorted(keys)),
        ]
    )
    conditions, values = ["true"], list[object]()
    for condition in table.where:
        text, more = _condition(condition)
        conditions.append(text)
        values += more
    connection.execute(
        f"CREATE TABLE r{number} AS SELECT {chosen} FROM t{number} "  # noqa: S608 - names of a closed pattern, quoted
        f"WHERE {' AND '.join(conditions)} "
        f"QUALIFY row_number() OVER (PARTITION BY {quoted(unit_key)} ORDER BY rowid) <= ?",
        [*values, join.max_rows_per_unit],
    )
    connection.execute(f"DROP TABLE t{number}")


def _condition(condition: Condition) -> tuple[str, list[object]]:
    column = quoted(condition.column)
    match condition.op:
        case "present":
            return f"{column} IS NOT NULL", []
        case "in":
            values = list[object](condition.values)
            return f"{column} IN ({', '.join('?' * len(values))})", values
        case operator:
            return f"{column} {_OPERATORS[operator]} ?", list(condition.values)


def _meet(
    connection: DuckDBPyConnection, number: int, table: TableRead, join: TableJoinConfig
) -> None:
    """Join what there is with one more table, of each person no more rows than the bound."""
    equal = " AND ".join(
        f"l.{quoted(_key(0, pair.first))} = r.{quoted(_key(number, pair.own))}" for pair in table.on
    )
    order = ", ".join([*(f"l.p{before}" for before in range(number)), f"r.p{number}"])
    connection.execute(
        f"CREATE TABLE joined AS SELECT l.*, r.* EXCLUDE (person) FROM r0 AS l "  # noqa: S608 - names of a closed pattern, quoted
        f"JOIN r{number} AS r ON {equal} "
        f"QUALIFY row_number() OVER (PARTITION BY l.person ORDER BY {order}) <= ?",
        [join.max_rows_per_unit],
    )
    connection.execute(f"DROP TABLE r0; DROP TABLE r{number}; ALTER TABLE joined RENAME TO r0")


def _result(
    connection: DuckDBPyConnection, join: TableJoinConfig, dataset: TableDataset
) -> dict[str, NDArray[Any]]:
    numbers = {table.dataset: number for number, table in enumerate(join.tables)}
    chosen = ", ".join(
        f"{quoted(_alias(numbers[item.table], item.column))} AS c{place}"
        for place, item in enumerate(dataset.reads)
    )
    order = ", ".join(f"p{number}" for number in range(len(join.tables)))
    result = connection.execute(
        f"SELECT dense_rank() OVER (ORDER BY person) AS person, {chosen} "  # noqa: S608 - names of a closed pattern, quoted
        f"FROM r0 ORDER BY person, {order}"
    )
    found: dict[str, NDArray[Any]] = result.fetchnumpy()
    return found


def _encoded(columns: Mapping[str, NDArray[Any]], dataset: TableDataset) -> TableUnits:
    """Turn columns into vectors and class numbers; rows without a class are left out."""
    classes = _classes(columns[f"c{len(dataset.features)}"], dataset.target)
    kept = classes >= 0
    inputs = np.empty((int(kept.sum()), *dataset.shape), np.float32)
    start = 0
    for place, feature in enumerate(dataset.features):
        part = columns[f"c{place}"][kept]
        inputs[:, start : start + feature.width] = (
            _number(part, feature)
            if isinstance(feature, NumberFeature)
            else _category(part, feature)
        )
        start += feature.width
    people = np.asarray(columns["person"][kept])
    ends = np.append(np.flatnonzero(people[1:] != people[:-1]) + 1, len(people))
    return TableUnits(inputs, classes[kept], ends if len(people) else ends[:0])


def _number(column: NDArray[Any], feature: NumberFeature) -> NDArray[np.float32]:
    span = feature.high - feature.low
    missing = feature.low + span / 2 if feature.missing is None else feature.missing
    values = np.where(np.ma.getmaskarray(column), missing, np.ma.getdata(column).astype(np.float64))
    scaled: NDArray[np.float32] = (
        (np.clip(values, feature.low, feature.high) - feature.low) / span
    ).astype(np.float32)
    return scaled[:, None]


def _category(column: NDArray[Any], feature: CategoryFeature) -> NDArray[np.float32]:
    return np.stack([_equals(column, level) for level in feature.levels], axis=1).astype(np.float32)


def _classes(column: NDArray[Any], target: Target) -> NDArray[np.int64]:
    classes = np.full(len(column), -1, np.int64)
    for number, level in enumerate(target.levels):
        classes[_equals(column, level)] = number
    return classes


def _equals(column: NDArray[Any], level: object) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = np.ma.getdata(column) == level
    return same & ~np.ma.getmaskarray(column)


def _alias(number: int, name: str) -> str:
    return f"v{number}_{name}"


def _key(number: int, name: str) -> str:
    return f"k{number}_{name}"
