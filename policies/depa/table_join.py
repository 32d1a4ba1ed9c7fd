"""A table join of DEPA's as a TableJoin: columns are those that training takes, keys those lent.

DEPA hands on every column that it does not drop. Here a join hands on what the described features
take, so that a column that nobody dropped reaches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policies.depa.form import Notes, named
from policies.depa.pipeline_form import DepaTableJoinConfig
from policies.depa.query import joined_tables
from policies.wire.contract import Contract, Dataset
from policies.wire.tables import TableDataset

_AT = "/pipeline/0/config"


def table_join(
    join: DepaTableJoinConfig,
    contract: Contract,
    dataset: TableDataset | None,
    *,
    max_rows_per_unit: int,
    notes: Notes,
) -> dict[str, Any]:
    """Return the configuration of a TableJoin stage; what does not fit is noted."""
    joined = join.joined_dataset
    tables = _tables(join, contract, notes)
    order = _order(joined.joining_query, joined.joining_key, tables, notes)
    if dataset is None:
        notes.refuse(
            f"{_AT}/joined_dataset",
            "does not say what training takes of the tables, nor within which bounds",
            "give --table with features and target",
        )
    if dataset is None or not order:
        return {"tables": [], "maxRowsPerUnit": max_rows_per_unit}
    _columns(join, tables, dataset, notes)
    keys = {name: _key(tables[name], joined.joining_key, notes) for name in order}
    reads = []
    for name in order:
        item = tables[name]
        columns = sorted({read.column for read in dataset.reads if read.table == item.id})
        read: dict[str, Any] = {"dataset": item.id, "columns": columns}
        if name != order[0]:
            read["on"] = [{"own": keys[name], "first": keys[order[0]]}]
        reads.append(read)
    notes.change("changed", f"{_AT}/joined_dataset", "only the columns of the features are read")
    notes.change(
        "given", f"{_AT}/joined_dataset", f"at most {max_rows_per_unit} rows of one unit are kept"
    )
    return {"tables": reads, "maxRowsPerUnit": max_rows_per_unit}


def _tables(join: DepaTableJoinConfig, contract: Contract, notes: Notes) -> Mapping[str, Dataset]:
    """Return the contract's data set of each table, by the table's name in the query."""
    found: dict[str, Dataset] = {}
    known = {item.id: item for item in contract.datasets}
    for index, table in enumerate(join.datasets):
        at = f"{_AT}/datasets/{index}"
        folder = table.provider or table.name
        if table.mount_path.rstrip("/") != f"/mnt/remote/{folder}":
            notes.refuse(f"{at}/mount_path", f"expected /mnt/remote/{folder[:60]}")
        if "/" in table.file or table.file.startswith("."):
            notes.refuse(f"{at}/file", "is no file of the data set")
        alone = sum((other.provider or other.name) == folder for other in join.datasets) == 1
        ids = named(
            contract.datasets,
            dataset_id=table.id,
            owner=folder if alone else None,
            name=table.name,
        )
        if len(ids) != 1:
            notes.refuse(at, f"{table.name[:100]} is no data set of the contract")
        elif table.name in found:
            notes.refuse(f"{at}/name", "is not unique")
        else:
            found[table.name] = known[ids[0]]
            notes.change("dropped", f"{at}/file", "a sealed table is one file")
    return found


def _order(query: str, key: str, tables: Mapping[str, Dataset], notes: Notes) -> tuple[str, ...]:
    at = f"{_AT}/joined_dataset/joining_query"
    try:
        order, keeps = joined_tables(query, key=key)
    except ValueError as error:
        notes.refuse(at, str(error), "join all tables with = on the joining_key, and nothing else")
        return ()
    if set(order) != set(tables):
        notes.refuse(at, f"joins {', '.join(order)[:200]}, not the data sets of the stage")
        return ()
    if keeps:
        notes.change("changed", at, "a unit that is missing in one table is missing in the result")
    return order


def _key(item: Dataset, said: str, notes: Notes) -> str:
    """Return the column that says whose row it is: rows meet on it, whatever it is called."""
    key = said if item.table is None else item.table.unit_key
    if key.lower() != said.lower():
        at = f"{_AT}/joined_dataset/joining_key"
        notes.change("changed", at, f"{item.id} is joined on {key}, which says whose row it is")
    return key


def _columns(
    join: DepaTableJoinConfig,
    tables: Mapping[str, Dataset],
    dataset: TableDataset,
    notes: Notes,
) -> None:
    """Note what training takes and the configuration drops, or does not select."""
    joined = join.joined_dataset
    gone = {name.lower() for name in (*joined.drop_columns, *joined.identifiers)}
    for read in dataset.reads:
        if read.column.lower() in gone:
            notes.refuse(f"{_AT}/joined_dataset", f"drops {read.column}, which training takes")
    for index, table in enumerate(join.datasets):
        item = tables.get(table.name)
        selected = {name.lower() for name in table.select_variables}
        for read in dataset.reads:
            if item is not None and read.table == item.id and read.column.lower() not in selected:
                at = f"{_AT}/datasets/{index}/select_variables"
                notes.refuse(at, f"does not select {read.column}, which training takes")
