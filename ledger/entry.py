"""What a log has and acknowledges: entries and registrations."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.statement import Statement, parse_statement
from ledger.store import EntryRow

EPOCH = 1
"""First part of entry ids; a log that is begun anew counts on."""


def entry_id(index: int) -> str:
    """Return the id of the entry at `index`, such as 1.42."""
    return f"{EPOCH}.{index}"


@dataclass(frozen=True)
class Registered:
    """What the log acknowledges."""

    index: int
    leaf_hash: bytes
    receipt: bytes = field(repr=False)
    """For the size that the log had when it was issued."""

    @property
    def entry_id(self) -> str:
        """Such as 1.42."""
        return entry_id(self.index)


@dataclass(frozen=True)
class Entry:
    """A statement in the log."""

    index: int
    leaf_hash: bytes
    encoded: bytes = field(repr=False)
    kind: str
    issuer: str
    subject: str
    payload_hash: bytes
    issued_at: int
    registered_at: int
    """Seconds since 1970 by the log's clock; not covered by the receipt."""

    @property
    def entry_id(self) -> str:
        """Such as 1.42."""
        return entry_id(self.index)

    @property
    def payload_digest(self) -> str:
        """The payload hash as documents write it."""
        return "sha256:" + self.payload_hash.hex()


def entry_of(row: EntryRow) -> Entry:
    """Return the entry that a row of the store is.

    Raises:
        FormatError: If the stored bytes are no statement.
    """
    statement = parse_statement(row.encoded)
    return Entry(
        index=row.index,
        leaf_hash=row.leaf_hash,
        encoded=row.encoded,
        kind=row.kind,
        issuer=row.issuer,
        subject=row.subject,
        payload_hash=statement.payload_hash,
        issued_at=statement.issued_at,
        registered_at=row.registered_at,
    )


def row_of(statement: Statement, *, index: int, registered_at: int) -> EntryRow:
    """Return the row under which the store keeps `statement`."""
    return EntryRow(
        index=index,
        leaf_hash=statement.leaf_hash,
        encoded=statement.encoded,
        kind=statement.kind,
        issuer=statement.issuer,
        subject=statement.subject,
        registered_at=registered_at,
    )
