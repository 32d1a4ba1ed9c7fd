from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.engine import make_url

from ledger.identity import Identity
from ledger.sequencer import Sequencer
from ledger.store import Store
from ledger.trust import LogKeys, TrustedLog
from tests.unit.ledger import makers


@pytest.fixture(scope="session")
def hospital() -> Identity:
    return makers.party("Hospital A")


@pytest.fixture(scope="session")
def log() -> tuple[LogKeys, TrustedLog]:
    return makers.log_keys()


@pytest.fixture(scope="session")
def keys(log: tuple[LogKeys, TrustedLog]) -> LogKeys:
    return log[0]


@pytest.fixture(scope="session")
def trusted(log: tuple[LogKeys, TrustedLog]) -> TrustedLog:
    return log[1]


# With DEPA_TEST_POSTGRES, such as postgresql://user@host/postgres, the same tests run there too.
_POSTGRES = os.environ.get("DEPA_TEST_POSTGRES")


@pytest.fixture(params=["sqlite", "postgresql"] if _POSTGRES else ["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'log.db'}"
        return
    server = make_url(str(_POSTGRES)).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"depa_{secrets.token_hex(8)}"
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        yield server.set(database=name).render_as_string(hide_password=False)
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def sequencer(store: Store, keys: LogKeys) -> Iterator[Sequencer]:
    with Sequencer(store, keys=keys, clock=lambda: makers.NOW) as sequencer:
        yield sequencer
