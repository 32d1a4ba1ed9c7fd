"""Sessions on SQLite or PostgreSQL.

A write session on SQLite takes the write lock when it begins, so that what it read cannot change
before it commits. On PostgreSQL the same is had by locking the rows that a decision rests on
(`SELECT ... FOR UPDATE`), which SQLite ignores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel

_BUSY_SECONDS = 30
_WRITE = "depa_write"


class Database:
    """One database and its two kinds of sessions."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, **_arguments(url))
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._writer = self._engine.execution_options(**{_WRITE: True})

    @property
    def engine(self) -> Engine:
        """Return the engine, for migrations and checks of the schema."""
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that sees one snapshot and is never committed."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that is committed at the end and rolled back by an exception."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def migrate(self) -> None:
        """Bring the schema to the newest version."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def ping(self) -> None:
        """Raise unless the database answers."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def insert_once(session: Session, row: SQLModel) -> bool:
    """Insert a row unless one with its key exists, whoever inserts it at the same time.

    Returns:
        Whether it was inserted.
    """
    kind = session.get_bind().dialect.name
    table = SQLModel.metadata.tables[str(row.__tablename__)]
    insert = postgresql.insert if kind == "postgresql" else sqlite.insert
    statement = insert(table).values(**row.model_dump()).on_conflict_do_nothing()
    result = session.connection().execute(statement.returning(*table.primary_key))
    return result.first() is not None


def _arguments(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": _BUSY_SECONDS, "check_same_thread": False}}
    return {"pool_pre_ping": True, "pool_size": 10}


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: it would begin them without the lock.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
