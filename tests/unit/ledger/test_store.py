from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy

from ledger.errors import LogHeldError, SequencerError
from ledger.merkle import leaf_hash
from ledger.store import EntryRow, Store

_BEFORE, _AFTER = (1, b"a" * 32), (2, b"b" * 32)


def _row(index: int, *, kind: str = "contract", subject: str = "s", issuer: str = "i") -> EntryRow:
    encoded = b"entry %d" % index
    return EntryRow(
        index=index,
        leaf_hash=leaf_hash(encoded),
        encoded=encoded,
        kind=kind,
        issuer=issuer,
        subject=subject,
        registered_at=index,
    )


@pytest.fixture
def begun(store: Store) -> Store:
    store.append([_row(0)], before=None, after=_BEFORE)
    return store


def test_log_that_was_never_begun_has_no_state(store: Store) -> None:
    assert store.state() is None
    assert store.entry(0) is None


def test_entries_and_state_are_kept(begun: Store, url: str) -> None:
    begun.append([_row(1)], before=_BEFORE, after=_AFTER)
    begun.close()
    again = Store(url)
    assert again.state() == _AFTER
    assert [row.encoded for row in again.entries()] == [b"entry 0", b"entry 1"]
    again.close()


@pytest.mark.parametrize(
    "before", [(2, b"a" * 32), (1, b"x" * 32), None], ids=["size", "root", "new"]
)
def test_state_moves_only_from_what_it_is(begun: Store, before: tuple[int, bytes] | None) -> None:
    with pytest.raises(LogHeldError, match="another writer"):
        begun.append([_row(1)], before=before, after=_AFTER)
    assert begun.state() == _BEFORE
    assert begun.entry(1) is None


def test_leaf_is_kept_once(begun: Store) -> None:
    same = _row(1)
    same.leaf_hash = leaf_hash(b"entry 0")
    with pytest.raises(LogHeldError):
        begun.append([same], before=_BEFORE, after=_AFTER)
    assert begun.state() == _BEFORE


def test_leaves_are_found_by_their_hash(begun: Store) -> None:
    rows = [_row(index) for index in range(1, 1500)]
    begun.append(rows, before=_BEFORE, after=_AFTER)
    wanted = [leaf_hash(b"entry %d" % index) for index in range(2000)]
    assert begun.indexes(wanted) == {wanted[index]: index for index in range(1500)}
    assert begun.indexes([]) == {}


def test_entries_are_found_by_what_they_are(begun: Store) -> None:
    begun.append(
        [
            _row(1, kind="signature", issuer="a"),
            _row(2, kind="signature", issuer="b"),
            _row(3, kind="signature", issuer="a", subject="other"),
        ],
        before=_BEFORE,
        after=_AFTER,
    )

    def found(**wanted: str) -> list[int]:
        return [row.index for row in begun.entries(**wanted)]  # type: ignore[arg-type]

    assert found(kind="signature") == [1, 2, 3]
    assert found(issuer="a") == [1, 3]
    assert found(issuer="a", subject="s") == [1]
    assert found(kind="nothing") == []


def test_entries_come_in_pages(begun: Store) -> None:
    begun.append([_row(index) for index in range(1, 2500)], before=_BEFORE, after=_AFTER)
    assert [row.index for row in begun.entries()] == list(range(2500))
    assert [row.index for row in begun.entries(start=990, limit=1020)] == list(range(990, 2010))
    assert list(begun.entries(limit=0)) == []


def test_log_is_held_by_one(store: Store, url: str) -> None:
    other = Store(url)
    with store.hold(), pytest.raises(LogHeldError, match="another process"), other.hold():
        pytest.fail("held twice")
    with other.hold():
        pass
    other.close()


def test_a_log_that_was_let_go_can_be_held_at_once(begun: Store, url: str) -> None:
    other = Store(url)
    for _ in range(100):
        for one, following in ((begun, other), (other, begun)):
            with one.hold():
                # Who has a connection at hand need not wait for one.
                following.state()
    other.close()


def test_sqlite_is_durable(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'log.db'}")
    with store._engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sqlalchemy.text("PRAGMA synchronous")) == 2
    store.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(SequencerError, match="durable"):
        Store(url)


def test_database_that_cannot_be_opened_is_an_error_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(SequencerError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path / 'missing' / 'log.db'}")
    damaged = tmp_path / "log.db"
    damaged.write_bytes(b"no database" * 1000)
    with pytest.raises(SequencerError, match="cannot be opened"):
        Store(f"sqlite:///{damaged}")
