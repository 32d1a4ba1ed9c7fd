"""The log's tables, in SQLite or PostgreSQL: entries, and the one row that says what the log is.

The row is changed by compare-and-swap in the transaction that adds the entries, so two writers
cannot both extend the same state. Only `ledger.sequencer` writes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Column, Engine, LargeBinary, event, func, insert, update
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlmodel import Field, Session, SQLModel, col, select

from ledger.errors import LogHeldError, SequencerError

_BUSY_MS = 10_000
_PAGE = 1000
_STATE_ID = 1
# Names the advisory lock of PostgreSQL; the number has no meaning besides being ours.
_ADVISORY_LOCK = 0x44455041


class EntryRow(SQLModel, table=True):
    """A registered statement; columns besides `encoded` are an index over what is in it."""

    __tablename__ = "ledger_entry"

    index: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    leaf_hash: bytes = Field(sa_column=Column(LargeBinary(32), unique=True, nullable=False))
    encoded: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    kind: str = Field(index=True)
    issuer: str = Field(index=True)
    subject: str = Field(index=True)
    registered_at: int


class StateRow(SQLModel, table=True):
    """Size and root of the log: exactly one row."""

    __tablename__ = "ledger_state"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    tree_size: int
    root: bytes = Field(sa_column=Column(LargeBinary(32), nullable=False))


class Store:
    """The tables of one log behind one database URL."""

    def __init__(self, url: str) -> None:
        """Open the database and make the tables if there are none.

        Args:
            url: `sqlite:///<path>` or `postgresql://...`.

        Raises:
            SequencerError: If it cannot be opened.
        """
        self._url = make_url(url)
        if self._url.drivername == "postgresql":
            # SQLAlchemy's default driver for this scheme is another one than the project's.
            self._url = self._url.set(drivername="postgresql+psycopg")
        try:
            self._engine = _open(self._url)
            SQLModel.metadata.create_all(self._engine, tables=[_table(EntryRow), _table(StateRow)])
        except SQLAlchemyError as error:
            raise SequencerError(
                f"the log's database cannot be opened ({type(error).__name__})"
            ) from error

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the log alone; the operating system or the database lets go when this process dies.

        Raises:
            LogHeldError: If another holds it.
        """
        sqlite = self._url.get_backend_name() == "sqlite"
        path = Path(f"{self._url.database}.lock")
        with _file_lock(path) if sqlite else _session_lock(self._engine):
            yield

    def state(self) -> tuple[int, bytes] | None:
        """Return size and root as last committed; None for a log that was never begun."""
        with self._read() as session:
            row = session.get(StateRow, _STATE_ID)
            return (row.tree_size, row.root) if row else None

    def indexes(self, leaf_hashes: Sequence[bytes]) -> dict[bytes, int]:
        """Return the index of each of these leaves that is in the log."""
        found: dict[bytes, int] = {}
        with self._read() as session:
            for start in range(0, len(leaf_hashes), _PAGE // 2):
                part = leaf_hashes[start : start + _PAGE // 2]
                query = select(EntryRow.leaf_hash, EntryRow.index).where(
                    col(EntryRow.leaf_hash).in_(part)
                )
                found.update(dict(session.exec(query).all()))
        return found

    def append(
        self,
        entries: Sequence[EntryRow],
        *,
        before: tuple[int, bytes] | None,
        after: tuple[int, bytes],
    ) -> None:
        """Add `entries` and move the state from `before` to `after`, durably or not at all.

        Args:
            entries: In order of their indexes.
            before: Size and root that must be the committed ones; None begins the log.
            after: Size and root with the entries.

        Raises:
            SequencerError: If the state is another, or the database failed. After a failed commit
                the caller
                MUST read `state` again, since it may have been reached.
        """
        try:
            with self._write() as connection:
                if entries:
                    connection.execute(insert(EntryRow), [entry.model_dump() for entry in entries])
                values = {"tree_size": after[0], "root": after[1]}
                if before is None:
                    connection.execute(insert(StateRow).values(id=_STATE_ID, **values))
                    return
                swap = update(StateRow).where(
                    col(StateRow.id) == _STATE_ID,
                    col(StateRow.tree_size) == before[0],
                    col(StateRow.root) == before[1],
                )
                if connection.execute(swap.values(**values)).rowcount != 1:
                    raise LogHeldError("the log was extended by another writer")
        except IntegrityError as error:
            raise LogHeldError("the log was extended by another writer") from error
        except SQLAlchemyError as error:
            raise SequencerError(f"the log's database failed ({type(error).__name__})") from error

    def entry(self, index: int) -> EntryRow | None:
        """Return the entry at `index`, if there is one."""
        with self._read() as session:
            return session.get(EntryRow, index)

    def entries(
        self,
        *,
        subject: str | None = None,
        kind: str | None = None,
        issuer: str | None = None,
        start: int = 0,
        limit: int | None = None,
    ) -> Iterator[EntryRow]:
        """Yield the matching entries from index `start` on, in order, at most `limit`."""
        wanted = {EntryRow.subject: subject, EntryRow.kind: kind, EntryRow.issuer: issuer}
        query = select(EntryRow).order_by(col(EntryRow.index))
        for column, value in wanted.items():
            if value is not None:
                query = query.where(col(column) == value)
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            with self._read() as session:
                page = session.exec(query.where(col(EntryRow.index) >= start).limit(size)).all()
            yield from page
            if len(page) < size:
                return
            start = page[-1].index + 1
            left = None if left is None else left - len(page)

    @contextmanager
    def _read(self) -> Iterator[Session]:
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                yield session
        except SQLAlchemyError as error:
            raise SequencerError(f"the log's database failed ({type(error).__name__})") from error

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with (
            self._engine.connect().execution_options(ledger_write=True) as connection,
            connection.begin(),
        ):
            yield connection


def _open(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return sqlalchemy.create_engine(url, pool_pre_ping=True)
    if not url.database or url.database == ":memory:":
        raise SequencerError("a log needs a file: a database in memory is not durable")
    engine = sqlalchemy.create_engine(url)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction control is switched off: it would begin too late, with the first
    # change.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={_BUSY_MS}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("ledger_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _session_lock(engine: Engine) -> Iterator[None]:
    """Hold PostgreSQL's advisory lock in a connection of its own.

    If that connection breaks, another may take the lock; the compare-and-swap then stops one of
    the two.
    """
    try:
        connection = engine.connect()
        got = connection.scalar(sqlalchemy.select(func.pg_try_advisory_lock(_ADVISORY_LOCK)))
        connection.commit()
    except SQLAlchemyError as error:
        raise SequencerError(f"the log's database failed ({type(error).__name__})") from error
    try:
        if not got:
            raise LogHeldError("another process holds the log")
        try:
            yield
        finally:
            # The server sees a closed connection only some time later; this it answers at once.
            with suppress(SQLAlchemyError):
                connection.execute(sqlalchemy.select(func.pg_advisory_unlock(_ADVISORY_LOCK)))
    finally:
        # Not given back to the pool: if it could not let go of the lock, closing it does.
        connection.invalidate()
        connection.close()


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LogHeldError(
                "another process holds the log", hint=f"see who has {path} open"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _table(model: type[SQLModel]) -> sqlalchemy.Table:
    table: sqlalchemy.Table = model.__table__  # type: ignore[attr-defined]  # SQLModel adds it
    return table
