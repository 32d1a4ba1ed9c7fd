from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from ledger.checkpoint import verify_checkpoint
from ledger.entry import row_of
from ledger.errors import (
    FormatError,
    IdentityError,
    LogDamagedError,
    LogHeldError,
    NotFoundError,
    SequencerError,
    VerificationError,
)
from ledger.fsck import check_store
from ledger.identity import Identity
from ledger.merkle import verify_consistency
from ledger.receipt import parse_receipt, verify_receipt
from ledger.sequencer import MAX_CLOCK_SKEW, Sequencer
from ledger.statement import attach_receipts, parse_statement, verify_statement
from ledger.store import Store
from ledger.trust import LogKeys, TrustedLog, log_subject
from tests.unit.ledger import crashing
from tests.unit.ledger.makers import NOW, ORIGIN, SUBJECT, enclave, log_keys, party, signed


def _open(store: Store, keys: LogKeys, *, now: int = NOW) -> Sequencer:
    return Sequencer(store, keys=keys, clock=lambda: now)


def _sql(url: str, *statements: str) -> None:
    """Change the store behind the log's back; `:zero` and `:junk` stand for bytes."""
    values = {"zero": bytes(32), "junk": b"junk"}
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(sqlalchemy.text(statement), used)
    engine.dispose()


def test_registered_statement_has_a_receipt_that_verifies(
    sequencer: Sequencer, hospital: Identity, trusted: TrustedLog
) -> None:
    data = signed(hospital)
    done = sequencer.register(data)
    assert (done.index, done.entry_id) == (1, "1.1")
    assert done.leaf_hash == hashlib.sha256(b"\x00" + data).digest()
    claims = verify_receipt(done.receipt, leaf_hash=done.leaf_hash, keys=trusted.keys)
    assert (claims.leaf_index, claims.tree_size, claims.issued_at) == (1, 2, NOW)


def test_first_entry_says_by_which_keys_the_log_is_trusted(
    sequencer: Sequencer, keys: LogKeys
) -> None:
    first = sequencer.entry(0)
    assert (first.kind, first.issuer) == ("trust-anchor", keys.identity.did)
    assert first.subject == log_subject(ORIGIN)
    assert first.payload_digest == "sha256:" + hashlib.sha256(keys.document).hexdigest()


def test_first_entry_has_a_receipt_as_soon_as_there_is_a_second(
    sequencer: Sequencer, hospital: Identity, trusted: TrustedLog
) -> None:
    with pytest.raises(NotFoundError, match="only one"):
        sequencer.receipt(0)
    sequencer.register(signed(hospital))
    first = sequencer.entry(0)
    verify_receipt(sequencer.receipt(0), leaf_hash=first.leaf_hash, keys=trusted.keys)


def test_same_statement_again_is_the_same_entry(sequencer: Sequencer, hospital: Identity) -> None:
    data = signed(hospital)
    first, again = sequencer.register(data), sequencer.register(data)
    dressed = sequencer.register(attach_receipts(data, receipts=[first.receipt]))
    assert first == again == dressed
    assert sequencer.size == 2


def test_same_statement_from_many_threads_is_one_entry(
    sequencer: Sequencer, hospital: Identity
) -> None:
    data = signed(hospital)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(sequencer.register, [data] * 64))
    assert {each.index for each in done} == {1}
    assert sequencer.size == 2


def test_many_threads_get_an_entry_each(
    sequencer: Sequencer, store: Store, hospital: Identity, trusted: TrustedLog
) -> None:
    statements = [signed(hospital, document=b"%d" % number) for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(sequencer.register, statements))
    assert {each.index for each in done} == set(range(1, 201))
    for data, each in zip(statements, done, strict=True):
        claims = verify_receipt(each.receipt, leaf_hash=each.leaf_hash, keys=trusted.keys)
        assert claims.leaf_index == each.index
        assert sequencer.entry(each.index).encoded == data
    assert check_store(store).problems == ()


def test_unprotected_header_does_not_enter_the_log(
    sequencer: Sequencer, hospital: Identity
) -> None:
    data = signed(hospital)
    done = sequencer.register(attach_receipts(data, receipts=[b"anything"]))
    assert sequencer.entry(done.index).encoded == data


def test_what_is_not_signed_by_its_issuer_does_not_enter_the_log(
    sequencer: Sequencer, hospital: Identity
) -> None:
    data = signed(hospital)
    with pytest.raises(VerificationError, match="signature"):
        sequencer.register(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(FormatError):
        sequencer.register(data + b"\0")
    assert sequencer.size == 1


def test_certificates_must_be_valid_when_the_statement_is_registered(
    sequencer: Sequencer,
) -> None:
    expired, early = party(not_after=NOW - 1), party(not_before=NOW + 10)
    with pytest.raises(IdentityError, match="validity"):
        sequencer.register(signed(expired, issued_at=NOW - 10))
    with pytest.raises(IdentityError, match="validity"):
        sequencer.register(signed(expired))
    with pytest.raises(IdentityError, match="validity"):
        sequencer.register(signed(early, issued_at=NOW + 20))
    assert sequencer.size == 1


def test_statement_from_the_future_is_refused(sequencer: Sequencer, hospital: Identity) -> None:
    sequencer.register(signed(hospital, issued_at=NOW + MAX_CLOCK_SKEW))
    with pytest.raises(VerificationError, match="iat"):
        sequencer.register(signed(hospital, issued_at=NOW + MAX_CLOCK_SKEW + 1))


def test_statement_of_a_bare_key_is_registered(sequencer: Sequencer) -> None:
    assert sequencer.register(signed(enclave(), kind="run-report")).index == 1


def test_entries_are_found_by_subject_kind_and_issuer(
    sequencer: Sequencer, hospital: Identity
) -> None:
    bank = party("Bank")
    sequencer.register(signed(hospital))
    sequencer.register(signed(bank))
    sequencer.register(signed(bank, subject="urn:other", kind="revocation"))

    def found(**wanted: str) -> list[int]:
        return [each.index for each in sequencer.entries(**wanted)]  # type: ignore[arg-type]

    assert found(subject=SUBJECT) == [1, 2]
    assert found(issuer=bank.did) == [2, 3]
    assert found(kind="revocation") == [3]
    assert [each.index for each in sequencer.entries(start=1, limit=2)] == [1, 2]


@pytest.mark.parametrize("index", [-1, 1, 10**9])
def test_entry_that_does_not_exist_is_not_found(sequencer: Sequencer, index: int) -> None:
    with pytest.raises(NotFoundError):
        sequencer.entry(index)
    with pytest.raises(NotFoundError):
        sequencer.receipt(index)


def test_checkpoints_of_a_growing_log_are_consistent(
    sequencer: Sequencer, hospital: Identity, trusted: TrustedLog
) -> None:
    seen = []
    for number in range(6):
        note = sequencer.checkpoint()
        seen.append(verify_checkpoint(note, origin=ORIGIN, keys=trusted.checkpoint_keys))
        sequencer.register(signed(hospital, document=b"%d" % number))
    for first in seen:
        for second in (each for each in seen if each.tree_size >= first.tree_size):
            verify_consistency(
                first=first.tree_size,
                second=second.tree_size,
                first_root=first.root,
                second_root=second.root,
                path=sequencer.consistency(first.tree_size, second=second.tree_size),
            )
    for first_size, second_size in ((0, 3), (3, 2), (1, 100)):
        with pytest.raises(NotFoundError):
            sequencer.consistency(first_size, second=second_size)


def test_log_goes_on_where_it_was_closed(
    store: Store, keys: LogKeys, hospital: Identity, trusted: TrustedLog
) -> None:
    with _open(store, keys) as sequencer:
        done = sequencer.register(signed(hospital))
        note = sequencer.checkpoint()
    with _open(store, keys, now=NOW + 60) as sequencer:
        assert sequencer.checkpoint() == note
        assert sequencer.register(signed(hospital)).index == done.index
        receipt = sequencer.receipt(done.index)
        verify_receipt(receipt, leaf_hash=done.leaf_hash, keys=trusted.keys)
        assert sequencer.register(signed(hospital, kind="revocation")).index == 2


def test_closed_log_takes_nothing(store: Store, keys: LogKeys, hospital: Identity) -> None:
    sequencer = _open(store, keys)
    sequencer.close()
    sequencer.close()
    with pytest.raises(SequencerError, match="closed"):
        sequencer.register(signed(hospital))


def test_second_sequencer_is_refused(
    sequencer: Sequencer, store: Store, keys: LogKeys, url: str
) -> None:
    with pytest.raises(LogHeldError):
        _open(store, keys)
    other = Store(url)
    with pytest.raises(LogHeldError):
        _open(other, keys)
    other.close()
    sequencer.close()
    _open(store, keys).close()


@pytest.mark.parametrize(
    "damage",
    [
        'UPDATE ledger_entry SET encoded = :junk WHERE "index" = 2',
        'UPDATE ledger_entry SET leaf_hash = :zero WHERE "index" = 2',
        'DELETE FROM ledger_entry WHERE "index" = 2',
        'DELETE FROM ledger_entry WHERE "index" = 3',
        "DELETE FROM ledger_entry",
        "DELETE FROM ledger_state",
        "UPDATE ledger_state SET root = :zero",
        "UPDATE ledger_state SET tree_size = 3",
        "UPDATE ledger_state SET tree_size = 5",
        'UPDATE ledger_entry SET "index" = 9 WHERE "index" = 3',
    ],
)
def test_log_whose_store_was_changed_is_not_opened(
    store: Store, keys: LogKeys, hospital: Identity, url: str, damage: str
) -> None:
    with _open(store, keys) as sequencer:
        for number in range(3):
            sequencer.register(signed(hospital, document=b"%d" % number))
    _sql(url, damage)
    with pytest.raises(LogDamagedError) as caught:
        _open(store, keys)
    assert "fsck" in caught.value.hint
    # The lock was let go, so that the log can be looked at.
    with store.hold():
        assert check_store(store).problems != ()


def test_swapped_entries_are_noticed(
    store: Store, keys: LogKeys, hospital: Identity, url: str
) -> None:
    with _open(store, keys) as sequencer:
        for number in range(3):
            sequencer.register(signed(hospital, document=b"%d" % number))
    _sql(
        url,
        'UPDATE ledger_entry SET "index" = 9 WHERE "index" = 1',
        'UPDATE ledger_entry SET "index" = 1 WHERE "index" = 2',
        'UPDATE ledger_entry SET "index" = 2 WHERE "index" = 9',
    )
    with pytest.raises(LogDamagedError, match="stored state"):
        _open(store, keys)


def test_log_of_other_keys_is_not_opened(store: Store, keys: LogKeys) -> None:
    _open(store, keys).close()
    for other, _ in (log_keys(), log_keys(origin="other.example")):
        with pytest.raises(LogDamagedError, match="first entry"):
            _open(store, other)


@contextmanager
def _failing(url: str) -> Iterator[None]:
    """Put something in the way of entry 2, so that no commit succeeds."""
    _sql(
        url,
        'INSERT INTO ledger_entry ("index", leaf_hash, encoded, kind, issuer, subject, '
        "registered_at) VALUES (2, :zero, :junk, 'x', 'x', 'x', 0)",
    )
    yield
    _sql(url, 'DELETE FROM ledger_entry WHERE "index" = 2')


def test_commit_that_failed_acknowledges_nothing_and_can_be_repeated(
    sequencer: Sequencer, store: Store, hospital: Identity, trusted: TrustedLog, url: str
) -> None:
    sequencer.register(signed(hospital, document=b"before"))
    with _failing(url):
        with pytest.raises(SequencerError, match="not registered"):
            sequencer.register(signed(hospital, document=b"failing"))
        assert sequencer.size == 2
    done = sequencer.register(signed(hospital, document=b"failing"))
    assert done.index == 2
    verify_receipt(done.receipt, leaf_hash=done.leaf_hash, keys=trusted.keys)
    assert check_store(store).problems == ()


def test_log_that_another_writer_extended_stops(
    sequencer: Sequencer, hospital: Identity, url: str
) -> None:
    sequencer.register(signed(hospital, document=b"before"))
    note = sequencer.checkpoint()
    _sql(url, "UPDATE ledger_state SET tree_size = 9")
    with pytest.raises(SequencerError, match="not registered"):
        sequencer.register(signed(hospital, document=b"other"))
    with pytest.raises(SequencerError, match="stopped"):
        sequencer.register(signed(hospital, document=b"third"))
    assert sequencer.checkpoint() == note


def test_log_whose_database_went_away_stops(
    sequencer: Sequencer, hospital: Identity, url: str
) -> None:
    _sql(url, "DROP TABLE ledger_entry", "DROP TABLE ledger_state")
    with pytest.raises(SequencerError, match="not registered"):
        sequencer.register(signed(hospital))
    with pytest.raises(SequencerError, match="stopped"):
        sequencer.register(signed(hospital))


@pytest.mark.parametrize("acknowledged", [1, 10, 60])
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    tmp_path: Path, url: str, keys: LogKeys, trusted: TrustedLog, acknowledged: int
) -> None:
    crashing.write_keys(tmp_path, keys=keys)
    lines: list[str] = []
    for _ in range(2):
        command = [sys.executable, "-m", "tests.unit.ledger.crashing", str(tmp_path), url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines += [process.stdout.readline() for _ in range(acknowledged)]
            process.kill()
            # What was written before the kill was acknowledged as well; the last line may be cut.
            lines += process.stdout.read().splitlines(keepends=True)
    store = Store(url)
    with _open(store, keys) as sequencer:
        complete = [line.split() for line in lines if line.endswith("\n")]
        assert len(complete) >= 2 * acknowledged
        for index, leaf in complete:
            assert sequencer.entry(int(index)).leaf_hash.hex() == leaf
            receipt = sequencer.receipt(int(index))
            verify_receipt(receipt, leaf_hash=bytes.fromhex(leaf), keys=trusted.keys)
    assert check_store(store).problems == ()
    store.close()


def test_receipt_names_the_size_at_which_it_was_issued(
    sequencer: Sequencer, hospital: Identity
) -> None:
    first = sequencer.register(signed(hospital, document=b"1"))
    sequencer.register(signed(hospital, document=b"2"))
    sizes = [parse_receipt(each).proof for each in (first.receipt, sequencer.receipt(1))]
    assert [getattr(each, "tree_size", None) for each in sizes] == [2, 3]


def test_entry_is_not_shown_before_it_is_signed(
    sequencer: Sequencer, store: Store, hospital: Identity
) -> None:
    state = store.state()
    assert state is not None
    row = row_of(verify_statement(signed(hospital)), index=1, registered_at=NOW)
    store.append([row], before=state, after=(2, bytes(32)))
    assert [each.index for each in sequencer.entries()] == [0]
    with pytest.raises(NotFoundError):
        sequencer.entry(1)


def test_log_says_what_it_is(sequencer: Sequencer, keys: LogKeys) -> None:
    assert sequencer.origin == ORIGIN
    assert sequencer.trust_document == keys.document
    assert parse_statement(sequencer.entry(0).encoded).issuer == keys.identity.did
