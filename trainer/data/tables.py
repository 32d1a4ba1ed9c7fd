"""Tables on disk: one Parquet or CSV file and its manifest, read with the types that are stated."""

from __future__ import annotations

import csv
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from duckdb import DuckDBPyConnection

from policies.wire.tables import ColumnType, TableSchema
from trainer.data.database import SQL_TYPES, database, quoted, rows_of
from trainer.data.errors import DataError
from trainer.data.manifest import MANIFEST, TableManifest, read_manifest

PARQUET: Final = "table.parquet"
CSV: Final = "table.csv"
_TYPES: Final[dict[str, ColumnType]] = {
    "VARCHAR": "text",
    "BOOLEAN": "flag",
    "FLOAT": "number",
    "DOUBLE": "number",
    **dict.fromkeys(
        ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"), "whole"
    ),
}
_MAX_HEADER: Final = 64 * 1024
# Codes such as 007 stay text, and so does what does not fit 64 bits.
_WHOLE: Final = r"0|-?[1-9][0-9]{0,17}"
_NUMBER: Final = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?"
_READ_CSV: Final = (
    "read_csv(?, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
    "nullstr = '', columns = {columns})"
)


def table_file(folder: Path) -> Path:
    """Return the file with the rows of a data set folder.

    Raises:
        DataError: when the folder holds anything but a manifest and one table.
    """
    present = {path.name for path in folder.iterdir()}
    if present not in ({MANIFEST, PARQUET}, {MANIFEST, CSV}):
        odd = ", ".join(sorted(present - {MANIFEST})[:5]) or "nothing"
        raise DataError(f"{folder.name}: expected {PARQUET} or {CSV} beside {MANIFEST}, got {odd}")
    (name,) = present - {MANIFEST}
    return folder.absolute() / name


def check_table(folder: Path) -> TableManifest:
    """Return the manifest of a data set folder whose table is what the manifest says.

    Raises:
        DataError: when it is not.
        policies.errors.DocumentError: when the manifest is not valid.
    """
    manifest = _manifest(folder)
    path = table_file(folder)
    with database(path, what=folder.name) as connection:
        load_table(connection, path, "t", schema=manifest.table, units=manifest.units)
    return manifest


def load_table(
    connection: DuckDBPyConnection, path: Path, name: str, *, schema: TableSchema, units: int
) -> None:
    """Read a file into the new table `name`, its rows in the order of the file.

    Numbers that are no number count as missing.

    Raises:
        DataError: when columns, types or the number of units are not as stated.
    """
    what = path.parent.name
    columns = {column.name: SQL_TYPES[column.type] for column in schema.columns}
    if path.name == PARQUET:
        source, values = "read_parquet(?)", [str(path)]
        described = rows_of(connection, "DESCRIBE SELECT * FROM read_parquet(?)", values)
        if {str(row[0]): row[1] for row in described} != columns:
            raise DataError(f"{what}: columns or types are not those of the schema")
    else:
        if _header(path) != list(columns):
            raise DataError(f"{what}: the first line is not the names of the schema")
        source, values = _csv(columns), [str(path)]
    chosen = ", ".join(
        f"CASE WHEN isnan({quoted(key)}) THEN NULL ELSE {quoted(key)} END AS {quoted(key)}"
        if kind == "DOUBLE"
        else quoted(key)
        for key, kind in columns.items()
    )
    connection.execute(f"CREATE TABLE {name} AS SELECT {chosen} FROM {source}", values)  # noqa: S608 - names of a closed pattern, quoted
    _check_units(connection, name, what=what, key=schema.unit_key, units=units)


def write_table(
    source: Path, out: Path, *, unit_key: str, text: Collection[str] = ()
) -> TableManifest:
    """Write the data set folder `out` from a CSV or Parquet file, all of it or nothing.

    Args:
        source: File whose name ends in `.csv` (with a header, commas, UTF-8) or `.parquet`.
        out: Folder to create; it MUST not exist.
        unit_key: The column that says whose row it is.
        text: Columns of a CSV file to keep as text, whatever they look like.

    Raises:
        DataError: when `out` exists or the file cannot be used, naming the column.
        policies.errors.DocumentError: when a name or number is out of range.
    """
    if out.exists():
        raise DataError(f"{out} exists", hint="choose another folder or remove it first")
    if source.suffix not in {".csv", ".parquet"} or not source.is_file():
        raise DataError(f"{source}: expected a .csv or .parquet file")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.absolute().with_name(f".{out.name}.{secrets.token_hex(8)}")
    scratch.mkdir()
    try:
        path = scratch / PARQUET
        with database(source.absolute(), path, what=source.name) as connection:
            types = _source(connection, source.absolute(), text=text)
            if unit_key not in types:
                raise DataError(f"{source.name}: there is no column {unit_key!r}")
            units = _count(connection, "t", source.name, unit_key)
            manifest = TableManifest.from_json(
                {"version": 1, "layout": "table", "units": units, "table": _schema(types, unit_key)}
            )
            chosen = ", ".join(
                f"CAST({quoted(key)} AS {SQL_TYPES[kind]}) AS {quoted(key)}"
                for key, kind in types.items()
            )
            connection.execute(
                f"COPY (SELECT {chosen} FROM t) TO {_literal(str(path))} (FORMAT parquet)"  # noqa: S608 - quoted
            )
        (scratch / MANIFEST).write_bytes(manifest.canonical())
        check_table(scratch)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def _schema(types: dict[str, ColumnType], unit_key: str) -> dict[str, object]:
    columns = [{"name": name, "type": kind} for name, kind in types.items()]
    return {"columns": columns, "unitKey": unit_key}


def _source(
    connection: DuckDBPyConnection, path: Path, *, text: Collection[str]
) -> dict[str, ColumnType]:
    """Read a provider's file into the table `t` and return the types of its columns."""
    if path.suffix == ".csv":
        names = _header(path)
        texts = _csv(dict.fromkeys(names, SQL_TYPES["text"]))
        connection.execute(f"CREATE TABLE t AS SELECT * FROM {texts}", [str(path)])  # noqa: S608 - quoted
        return {
            name: "text" if name in text else _type_of_texts(connection, name) for name in names
        }
    connection.execute("CREATE TABLE t AS SELECT * FROM read_parquet(?)", [str(path)])
    types: dict[str, ColumnType] = {}
    for name, kind, *_ in rows_of(connection, "DESCRIBE t"):
        if kind not in _TYPES:
            hint = "write it as text, a whole number, a number or a flag"
            raise DataError(f"{path.name}: column {name!r} is {kind}", hint=hint)
        types[str(name)] = _TYPES[str(kind)]
    return types


def _type_of_texts(connection: DuckDBPyConnection, name: str) -> ColumnType:
    column = quoted(name)
    ((flag, whole, number),) = rows_of(
        connection,
        f"SELECT bool_and({column} IN ('true', 'false')), "  # noqa: S608 - quoted
        f"bool_and(regexp_full_match({column}, ?)), "
        f"bool_and(regexp_full_match({column}, ?)) FROM t WHERE {column} IS NOT NULL",
        [_WHOLE, _NUMBER],
    )
    return "flag" if flag else "whole" if whole else "number" if number else "text"


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        line = file.readline(_MAX_HEADER)
    names = next(csv.reader([line]), [])
    if not names or len({name.lower() for name in names}) < len(names) or not all(names):
        raise DataError(f"{path.name}: the first line names a column twice, or not at all")
    return names


def _csv(columns: dict[str, str]) -> str:
    listed = ", ".join(f"{_literal(name)}: {_literal(kind)}" for name, kind in columns.items())
    return _READ_CSV.format(columns="{" + listed + "}")


def _check_units(
    connection: DuckDBPyConnection, name: str, *, what: str, key: str, units: int
) -> None:
    if _count(connection, name, what, key) != units:
        raise DataError(f"{what} holds another number of units than the {units} that are stated")


def _count(connection: DuckDBPyConnection, name: str, what: str, key: str) -> int:
    column = quoted(key)
    ((units, absent),) = rows_of(
        connection,
        f"SELECT count(DISTINCT {column}), count(*) - count({column}) FROM {name}",  # noqa: S608 - quoted
    )
    if absent:
        raise DataError(f"{what}: rows without {key}: nobody could be protected by them")
    return int(str(units))


def _manifest(folder: Path) -> TableManifest:
    manifest = read_manifest(folder)
    if not isinstance(manifest, TableManifest):
        raise DataError(f"{folder.name}: expected table, got {manifest.layout}")
    return manifest


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
