"""A database in memory that sees the files it is told of and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb

from policies.wire.tables import ColumnType
from trainer.data.errors import DataError

SQL_TYPES: Final[dict[ColumnType, str]] = {
    "text": "VARCHAR",
    "whole": "BIGINT",
    "number": "DOUBLE",
    "flag": "BOOLEAN",
}
_MEMORY: Final = "4GB"
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "threads": 2,
    # Nothing of a table is ever written to disk.
    "max_temp_directory_size": "0B",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_unsigned_extensions": False,
}


@contextmanager
def database(*files: Path, what: str, memory: str = _MEMORY) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an empty database that may read and write `files`, and no network and no extension.

    Args:
        files: Absolute paths.
        what: What is worked on, for the error.
        memory: How much memory it may take.

    Raises:
        DataError: when a statement fails, without the database's words: values may stand in them.
    """
    connection = duckdb.connect(":memory:", config={**_CONFIG, "memory_limit": memory})
    try:
        connection.execute("SET allowed_paths = ?", [[str(path) for path in files]])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection
    except duckdb.Error as error:
        raise DataError(f"{what} could not be worked on: {type(error).__name__}") from None
    finally:
        connection.close()


def quoted(name: str) -> str:
    """Return a name of a column as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def rows_of(
    connection: duckdb.DuckDBPyConnection, statement: str, values: Sequence[object] = ()
) -> list[tuple[object, ...]]:
    """Return the rows of a query."""
    found: list[tuple[object, ...]] = connection.execute(statement, list(values)).fetchall()
    return found
