from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def sequencer(store: Store, keys: LogKeys) -> Iterator[Sequencer]:
    with Sequencer(store, keys=keys, clock=lambda: makers.NOW) as sequencer:
        yield sequencer
