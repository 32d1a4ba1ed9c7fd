from __future__ import annotations

import pytest
import sqlalchemy

from ledger.errors import SequencerError
from ledger.fsck import MAX_PROBLEMS, check_store
from ledger.identity import Identity
from ledger.merkle import leaf_hash
from ledger.sequencer import Sequencer
from ledger.statement import attach_receipts
from ledger.store import EntryRow, Store
from ledger.trust import LogKeys
from tests.unit.ledger.makers import NOW, signed


@pytest.fixture
def filled(store: Store, keys: LogKeys, hospital: Identity) -> Store:
    with Sequencer(store, keys=keys, clock=lambda: NOW) as sequencer:
        for number in range(4):
            sequencer.register(signed(hospital, document=b"%d" % number))
    return store


def _sql(store: Store, statement: str) -> None:
    with store._engine.begin() as connection:
        used = {"junk": b"junk"} if ":junk" in statement else {}
        connection.execute(sqlalchemy.text(statement), used)


def test_sound_log_has_no_problems(filled: Store) -> None:
    report = check_store(filled)
    assert (report.size, report.root) == filled.state()
    assert report.problems == ()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE ledger_entry SET kind = 'approval' WHERE \"index\" = 2", "1.2: column kind"),
        ("UPDATE ledger_entry SET issuer = 'did:x' WHERE \"index\" = 2", "1.2: column issuer"),
        ("UPDATE ledger_entry SET subject = 'urn:x' WHERE \"index\" = 2", "1.2: column subject"),
        ('UPDATE ledger_entry SET leaf_hash = :junk WHERE "index" = 2', "1.2: leaf hash"),
        ('UPDATE ledger_entry SET encoded = :junk WHERE "index" = 2', "1.2: statement"),
        ('DELETE FROM ledger_entry WHERE "index" = 2', "1.3: expected index 2"),
        ('DELETE FROM ledger_entry WHERE "index" = 4', "state: expected size 4"),
        ("UPDATE ledger_state SET root = :junk", "state: expected size 5"),
        ("DELETE FROM ledger_state", "never begun"),
    ],
)
def test_damage_is_named(filled: Store, damage: str, problem: str) -> None:
    _sql(filled, damage)
    assert any(problem in each for each in check_store(filled).problems)


def test_entry_with_an_unprotected_header_is_named(filled: Store, hospital: Identity) -> None:
    state = filled.state()
    assert state is not None
    encoded = attach_receipts(signed(hospital, kind="revocation"), receipts=[b"x"])
    row = EntryRow(
        index=5,
        leaf_hash=leaf_hash(encoded),
        encoded=encoded,
        kind="revocation",
        issuer=hospital.did,
        subject="urn:x",
        registered_at=NOW,
    )
    filled.append([row], before=state, after=(6, state[1]))
    assert any("unprotected" in each for each in check_store(filled).problems)


def test_problems_are_bounded(filled: Store) -> None:
    state = filled.state()
    assert state is not None
    rows = [
        EntryRow(
            index=index,
            leaf_hash=leaf_hash(b"%d" % index),
            encoded=b"%d" % index,
            kind="x",
            issuer="x",
            subject="x",
            registered_at=NOW,
        )
        for index in range(5, 300)
    ]
    filled.append(rows, before=state, after=(300, state[1]))
    assert len(check_store(filled).problems) == MAX_PROBLEMS


def test_store_that_cannot_be_read_is_an_error(filled: Store) -> None:
    _sql(filled, "DROP TABLE ledger_entry")
    with pytest.raises(SequencerError):
        check_store(filled)
