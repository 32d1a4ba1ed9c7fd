"""Sessions and migrations."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlmodel import select

import contract_service
from contract_service.budget.tables import LockRow
from contract_service.contracts.tables import ContractPartyRow
from contract_service.database import Database
from contract_service.parties.tables import PartyRow
from contract_service.schema import METADATA, TABLES
from tests.unit.ledger.makers import NOW as SIGNING
from tests.unit.ledger.makers import YEAR, party, signed


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path / 'service.db'}")
    made.migrate()
    return made


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
    database.close()


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.migrate()
    with database.read() as session:
        assert len(session.exec(select(LockRow)).all()) == 1
    database.close()


def test_the_migrations_can_be_taken_back(database: Database) -> None:
    with database.engine.connect() as connection:
        command.downgrade(_config(connection), "base")
    with database.engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}
    database.close()


def test_signatures_of_before_get_the_validity_of_their_keys(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.db'}")
    encoded, leaf = signed(party("Hospital-A"), kind="signature"), "sha256:" + "1" * 64
    with database.engine.begin() as connection:
        command.upgrade(_config(connection), "0001")
        connection.execute(
            text(
                "INSERT INTO contract VALUES "
                "('d', 'id', 'title', 'did:web:tdc', 0, 1, 0, NULL, NULL)"
            )
        )
        for position, at in enumerate((leaf, None)):
            connection.execute(
                text(
                    "INSERT INTO contract_party "
                    "VALUES ('d', :position, 'tdp', 'did:web:a', 'name', :leaf, NULL)"
                ),
                {"position": position, "leaf": at},
            )
        connection.execute(
            text(
                "INSERT INTO statement VALUES "
                "(1, :leaf, 'signature', 's', 'i', 'p', 0, :encoded, NULL, NULL, NULL)"
            ),
            {"leaf": leaf, "encoded": encoded},
        )
        command.upgrade(_config(connection), "head")
    with database.read() as session:
        rows = [session.get_one(ContractPartyRow, ("d", position)) for position in (0, 1)]
    assert [(row.key_valid_from, row.key_valid_until) for row in rows] == [
        (SIGNING - YEAR, SIGNING + YEAR),
        (None, None),
    ]
    database.close()


def _config(connection: Connection) -> Config:
    config = Config()
    folder = Path(contract_service.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    return config


def test_every_table_of_the_service_is_migrated() -> None:
    assert {str(table.__tablename__) for table in TABLES} == set(METADATA.tables)


def _party(did: str) -> PartyRow:
    return PartyRow(did=did, name="A", first_seen_at=1, last_seen_at=1)


def test_an_exception_takes_a_write_back(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(_party("did:x509:a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as session:
        assert session.exec(select(PartyRow)).all() == []
    database.close()


def test_writers_wait_for_each_other(database: Database) -> None:
    inside, order = threading.Event(), []

    def second() -> None:
        inside.wait()
        with database.write() as session:
            session.get(PartyRow, "did:x509:a")
            order.append("second")
            session.add(_party("did:x509:b"))

    thread = threading.Thread(target=second)
    thread.start()
    with database.write() as session:
        session.add(_party("did:x509:a"))
        session.flush()
        # Only now: a session has no lock before its first statement.
        inside.set()
        thread.join(timeout=0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    database.close()


def test_a_committed_write_survives_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'service.db'}"
    first = Database(url)
    first.migrate()
    with first.write() as session:
        session.add(_party("did:x509:a"))
    second = Database(url)
    with second.read() as session:
        assert session.get(PartyRow, "did:x509:a") is not None
    first.close()
    second.close()
