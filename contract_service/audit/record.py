"""The service's memory of what it owes the ledger.

1. The transaction that changes state also stores the exact bytes of the statements about it.
2. After the commit they are registered, oldest first; the ledger takes the same bytes only once.
3. After a crash, step 2 is simply done again.

So there is no state without its statement, and no statement about what did not happen.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

import structlog
from sqlmodel import Session, col, select

from clients.api.answers import Registered, StatementInfo
from contract_service.audit.tables import AttachmentRow, DocumentRow, StatementRow
from contract_service.database import Database, insert_once
from contract_service.problems import UnavailableError
from ledger.entry import Registered as Registration
from ledger.errors import FormatError, VerificationError
from ledger.identity import Identity
from ledger.sequencer import Sequencer
from ledger.statement import Statement, verify_statement
from policies.wire.base import Document, sha256

_LOG: Final = structlog.get_logger("depa.record")
_BATCH: Final = 256


class Record:
    """Signs, stores and registers statements."""

    def __init__(self, *, database: Database, log: Sequencer, identity: Identity) -> None:
        self._database = database
        self._log = log
        self._identity = identity

    @property
    def issuer(self) -> str:
        """DID under which the service signs."""
        return self._identity.did

    def state(
        self, session: Session, document: Document, *, subject: str, contract: str, now: int
    ) -> str:
        """Sign a statement about a document, in the caller's transaction.

        Args:
            session: A write session; the statement is owed from its commit on.
            document: What the statement is about; kept for the bundle of its contract.
            subject: Subject of the statement.
            contract: Digest of the contract to whose bundle the document belongs.
            now: Unix seconds.

        Returns:
            The statement's leaf hash.
        """
        content = document.canonical()
        self.attach(session, content, kind=document.kind, contract=contract)
        return self.issue(session, content, kind=document.kind, subject=subject, now=now)

    def issue(self, session: Session, content: bytes, *, kind: str, subject: str, now: int) -> str:
        """Sign a statement about any content, in the caller's transaction; return its leaf hash."""
        encoded = self._identity.issue(
            payload_hash=hashlib.sha256(content).digest(),
            kind=kind,
            subject=subject,
            issued_at=now,
        )
        return self.owe(session, verify_statement(encoded))

    def owe(self, session: Session, statement: Statement) -> str:
        """Store a verified statement to be registered after the commit; return its leaf hash."""
        leaf = leaf_of(statement)
        known = session.exec(select(StatementRow).where(StatementRow.leaf_hash == leaf)).first()
        if known is None:
            session.add(
                StatementRow(
                    leaf_hash=leaf,
                    kind=statement.kind,
                    subject=statement.subject,
                    issuer=statement.issuer,
                    payload=statement.payload_digest,
                    issued_at=statement.issued_at,
                    encoded=statement.encoded,
                )
            )
            session.flush()
        return leaf

    def attach(self, session: Session, content: bytes, *, kind: str, contract: str) -> str:
        """Keep content for the bundle of a contract; return its digest."""
        digest = sha256(content)
        insert_once(session, DocumentRow(digest=digest, kind=kind, content=content))
        insert_once(session, AttachmentRow(contract=contract, digest=digest))
        return digest

    def has(self, session: Session, *, kind: str, payload: str) -> bool:
        """Tell whether a statement of this kind about this document exists."""
        query = select(StatementRow.position).where(
            StatementRow.kind == kind, StatementRow.payload == payload
        )
        return session.exec(query).first() is not None

    def leaf_about(self, session: Session, *, kind: str, payload: str) -> str:
        """Return the leaf hash of the first statement of this kind about this document.

        Raises:
            UnavailableError: If there is none.
        """
        query = select(StatementRow.leaf_hash).where(
            StatementRow.kind == kind, StatementRow.payload == payload
        )
        leaf = session.exec(query.order_by(col(StatementRow.position))).first()
        if leaf is None:
            raise UnavailableError("not-registered", f"there is no statement about {payload}")
        return leaf

    def settle(self) -> int:
        """Register everything that is owed, oldest first; return how much it was.

        Raises:
            SequencerError: If the log cannot take it now; it stays owed.
        """
        done = 0
        while owed := self._owed():
            for row in owed:
                try:
                    entry = self._log.register(row.encoded)
                except (FormatError, VerificationError) as error:
                    # It verified when it was stored; what it waits for must not hold up the others.
                    self._refuse(row, str(error))
                else:
                    self._mark(row, entry)
                    done += 1
        return done

    def registered(self, leaves: Sequence[str]) -> tuple[Registered, ...]:
        """Return where statements are in the log, in the order of `leaves`.

        Raises:
            UnavailableError: If one of them is not registered yet.
        """
        with self._database.read() as session:
            rows = {
                row.leaf_hash: row
                for row in session.exec(
                    select(StatementRow).where(col(StatementRow.leaf_hash).in_(leaves))
                )
            }
        answers = []
        for leaf in leaves:
            row = rows.get(leaf)
            if row is None or row.entry_id is None or row.receipt is None:
                raise UnavailableError("not-registered", f"statement {leaf} has no receipt yet")
            receipt = base64.b64encode(row.receipt).decode()
            answers.append(Registered(entry_id=row.entry_id, leaf_hash=leaf, receipt=receipt))
        return tuple(answers)

    def _owed(self) -> Sequence[StatementRow]:
        with self._database.read() as session:
            return session.exec(
                select(StatementRow)
                .where(col(StatementRow.entry_id).is_(None), col(StatementRow.refused).is_(None))
                .order_by(col(StatementRow.position))
                .limit(_BATCH)
            ).all()

    def _mark(self, row: StatementRow, entry: Registration) -> None:
        with self._database.write() as session:
            stored = session.get_one(StatementRow, row.position)
            stored.entry_id, stored.receipt = entry.entry_id, entry.receipt
            session.add(stored)
        _LOG.info("registered", kind=row.kind, entry_id=entry.entry_id, leaf_hash=row.leaf_hash)

    def _refuse(self, row: StatementRow, reason: str) -> None:
        with self._database.write() as session:
            stored = session.get_one(StatementRow, row.position)
            stored.refused = reason[:500]
            session.add(stored)
        _LOG.error("not registered", kind=row.kind, leaf_hash=row.leaf_hash, reason=reason)


def leaf_of(statement: Statement) -> str:
    """Return a statement's leaf hash as a digest string."""
    return "sha256:" + statement.leaf_hash.hex()


def info_of(row: StatementRow) -> StatementInfo:
    """Return one line about a registered statement."""
    return StatementInfo(
        entry_id=row.entry_id or "",
        leaf_hash=row.leaf_hash,
        kind=row.kind,
        subject=row.subject,
        issuer=row.issuer,
        payload=row.payload,
        issued_at=row.issued_at,
    )
