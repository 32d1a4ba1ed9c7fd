"""The one writer of a log: verify, put in order, make durable, then sign.

Callers verify in their own threads and wait; one thread commits whatever has gathered since its
last commit. Nothing is signed, and nobody is answered, before the entries and the new size and root
are durable in one transaction. A crash at any point therefore leaves a log that recomputes to what
was signed.
"""

from __future__ import annotations

import hashlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass

from ledger.bundle import Bundle, BundleEntry
from ledger.chain import check_chain_validity
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.entry import Entry, Registered, entry_id, entry_of, row_of
from ledger.errors import LogDamagedError, NotFoundError, SequencerError, VerificationError
from ledger.merkle import EMPTY_ROOT, Tree, leaf_hash
from ledger.receipt import SignedRoot, issue_receipt, sign_root
from ledger.statement import Statement, verify_statement
from ledger.store import Store
from ledger.trust import LogKeys, log_subject

MAX_CLOCK_SKEW = 300
"""Seconds by which a statement's time may be ahead of the log's."""

_MAX_BATCH = 1024
_GATHER_SECONDS = 0.005
_FSCK = "stop, keep the database as it is, and run `depa audit fsck`"


@dataclass(frozen=True)
class _Head:
    """A durable state of the log with both signatures on it."""

    size: int
    root: bytes
    signed: SignedRoot
    checkpoint: bytes


@dataclass(frozen=True)
class _Pending:
    statement: Statement
    done: Future[int]


class Sequencer:
    """A running log. Safe for use by several threads; only one may exist for a store."""

    def __init__(self, store: Store, *, keys: LogKeys, clock: Callable[[], int]) -> None:
        """Take hold of the log, recompute it, begin it if it is empty, and sign its state.

        Args:
            store: Where the log is kept; closed by the caller, after `close`.
            keys: What the log signs with.
            clock: Returns seconds since 1970 (UTC).

        Raises:
            LogHeldError: If another sequencer holds the log. LogDamagedError: If what is stored
                does not recompute to the stored root, or is another log.
        """
        self._store, self._keys, self._clock = store, keys, clock
        self._lock = threading.Lock()  # guards _tree and _head
        self._tree = Tree()
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._closing = threading.Lock()  # guards _failed and _closed against the enqueuing threads
        self._failed: Exception | None = None
        self._closed = False
        self._held = ExitStack()
        self._held.enter_context(store.hold())
        try:
            self._head = self._sign(*self._load())
        except BaseException:
            self._held.close()
            raise
        self._thread = threading.Thread(target=self._run, name="ledger-sequencer", daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        """Name of the log."""
        return self._keys.origin

    @property
    def trust_document(self) -> bytes:
        """The certificates by which others trust this log."""
        return self._keys.document

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._head.size

    def register(self, encoded: bytes) -> Registered:
        """Put a statement into the log and return its receipt when that is durable.

        The same statement again gives the same entry. The unprotected header is not kept.

        Raises:
            FormatError: If `encoded` is no statement. VerificationError: If it is not signed by its
                issuer, its certificates are not valid now or were
                not at its own time, or its own time is ahead of the log's.
            SequencerError: If the log is closed or its store failed; the statement may be
                registered again.
        """
        now = self._clock()
        statement = verify_statement(encoded)
        if statement.x5chain:
            check_chain_validity(statement.x5chain, at=now)
        if statement.issued_at > now + MAX_CLOCK_SKEW:
            raise VerificationError(
                "statement: iat",
                expected=f"at most {now + MAX_CLOCK_SKEW}",
                got=statement.issued_at,
            )
        pending = _Pending(statement, Future())
        with self._closing:
            self._check_open()
            self._queue.put(pending)
        index = pending.done.result()
        return Registered(index, statement.leaf_hash, self.receipt(index))

    def receipt(self, index: int) -> bytes:
        """Return the receipt of entry `index` for the present size.

        Raises:
            NotFoundError: If there is no such entry, or it is still the only one.
        """
        with self._lock:
            return self._receipt(index, head=self._head)

    def entry(self, index: int) -> Entry:
        """Return the entry at `index`.

        Raises:
            NotFoundError: If there is none.
        """
        row = self._store.entry(index) if 0 <= index < self.size else None
        if row is None:
            raise NotFoundError(f"no entry {entry_id(index)} in this log")
        return entry_of(row)

    def entries(
        self,
        *,
        subject: str | None = None,
        kind: str | None = None,
        issuer: str | None = None,
        start: int = 0,
        limit: int | None = None,
    ) -> Iterator[Entry]:
        """Yield the entries that match all that is given, in order, from index `start` on."""
        # What is durable but not signed yet has no receipt, and is not shown.
        size = self.size
        found = self._store.entries(
            subject=subject, kind=kind, issuer=issuer, start=start, limit=limit
        )
        return map(entry_of, itertools.takewhile(lambda row: row.index < size, found))

    def checkpoint(self) -> bytes:
        """Return the signed note over the present size and root."""
        return self._head.checkpoint

    def consistency(self, first: int, *, second: int | None = None) -> tuple[bytes, ...]:
        """Return the proof that the log of size `second` (default: now) begins with `first`.

        Raises:
            NotFoundError: Unless 0 < first <= second <= the present size.
        """
        with self._lock:
            end = self._head.size if second is None else second
            if not 0 < first <= end <= self._head.size:
                raise NotFoundError(
                    f"no consistency proof from {first} to {end} in a log of {self._head.size}"
                )
            return self._tree.consistency(first, second=end)

    def bundle(
        self,
        indexes: Sequence[int],
        *,
        documents: Sequence[bytes] = (),
        inputs: Mapping[str, bytes] | None = None,
    ) -> Bundle:
        """Return an offline bundle of these entries, all with receipts for one checkpoint.

        Raises:
            NotFoundError: If there is no such entry.
            FormatError: If the bundle would be too large.
        """
        found = [self.entry(index) for index in sorted(set(indexes))]
        with self._lock:
            head = self._head
            receipts = [self._receipt(entry.index, head=head) for entry in found]
        return Bundle.of(
            trust=self._keys.document,
            checkpoint=head.checkpoint,
            entries=[
                BundleEntry(entry.index, entry.encoded, receipt)
                for entry, receipt in zip(found, receipts, strict=True)
            ],
            documents=documents,
            inputs=inputs or {},
        )

    def close(self) -> None:
        """Finish what is waiting, stop, and let go of the log. Further calls do nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()
        self._held.close()

    def __enter__(self) -> Sequencer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- start
    # --------------------------------------------------------------------------------------------

    def _load(self) -> tuple[int, bytes]:
        """Recompute the log from its entries and compare it with what was committed."""
        state = self._store.state()
        for row in self._store.entries():
            if row.index != len(self._tree) or leaf_hash(row.encoded) != row.leaf_hash:
                raise LogDamagedError(
                    f"entry {entry_id(row.index)} is not what was registered", hint=_FSCK
                )
            self._tree.append(row.leaf_hash)
        got = (len(self._tree), self._tree.root())
        if state is None:
            if got != (0, EMPTY_ROOT):
                raise LogDamagedError("there are entries but no state", hint=_FSCK)
            return self._begin()
        if got != state:
            raise LogDamagedError(
                f"stored state: expected size {state[0]} root {state[1].hex()}, "
                f"got size {got[0]} root {got[1].hex()} from the entries",
                hint=_FSCK,
            )
        self._check_genesis()
        return got

    def _begin(self) -> tuple[int, bytes]:
        """Write the first entry: the service's statement about the keys that certify the log."""
        now = self._clock()
        encoded = self._keys.identity.issue(
            payload_hash=hashlib.sha256(self._keys.document).digest(),
            kind="trust-anchor",
            subject=log_subject(self._keys.origin),
            issued_at=now,
        )
        statement = verify_statement(encoded)
        self._tree.append(statement.leaf_hash)
        after = (1, self._tree.root())
        self._store.append(
            [row_of(statement, index=0, registered_at=now)], before=None, after=after
        )
        return after

    def _check_genesis(self) -> None:
        row = self._store.entry(0)
        if row is None:
            raise LogDamagedError("the log is empty", hint=_FSCK)
        first = entry_of(row)
        wanted = ("trust-anchor", self._keys.identity.did, log_subject(self._keys.origin))
        if (first.kind, first.issuer, first.subject) != wanted:
            raise LogDamagedError(
                f"first entry: expected {wanted}, got {(first.kind, first.issuer, first.subject)}",
                hint="the keys are of another log than the database",
            )

    # -- the writer's thread
    # ------------------------------------------------------------------------------

    def _run(self) -> None:
        closing = False
        while not closing:
            first = self._queue.get()
            if first is None:
                return
            batch, closing = self._gather(first)
            try:
                self._commit(batch)
            except Exception as error:  # noqa: BLE001  # those who wait must be told
                self._fail(batch, error)

    def _gather(self, first: _Pending) -> tuple[list[_Pending], bool]:
        """Take what is waiting, but never wait for more: an idle log answers at once."""
        batch, until = [first], time.monotonic() + _GATHER_SECONDS
        while len(batch) < _MAX_BATCH and time.monotonic() < until:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return batch, True
            batch.append(item)
        return batch, False

    def _commit(self, batch: Sequence[_Pending]) -> None:
        statements = {each.statement.leaf_hash: each.statement for each in batch}
        indexes = self._store.indexes(list(statements))
        fresh = [statement for leaf, statement in statements.items() if leaf not in indexes]
        if fresh:
            indexes |= self._extend(fresh)
        for each in batch:
            each.done.set_result(indexes[each.statement.leaf_hash])

    def _extend(self, statements: Sequence[Statement]) -> dict[bytes, int]:
        """Make the statements durable, then sign; return their indexes."""
        now, before = self._clock(), (self._head.size, self._head.root)
        with self._lock:
            indexes = {each.leaf_hash: self._tree.append(each.leaf_hash) for each in statements}
            after = (len(self._tree), self._tree.root())
        rows = [
            row_of(each, index=indexes[each.leaf_hash], registered_at=now) for each in statements
        ]
        try:
            self._store.append(rows, before=before, after=after)
        except SequencerError:
            # A commit may have failed before it was made or after: only the store knows.
            state = self._store.state()
            if state != after:
                with self._lock:
                    self._tree.truncate(before[0])
                if state != before:
                    raise LogDamagedError(
                        "the log was changed by another writer", hint=_FSCK
                    ) from None
                raise
        head = self._sign(*after)
        with self._lock:
            self._head = head
        return indexes

    def _fail(self, batch: Sequence[_Pending], error: Exception) -> None:
        """Tell those who wait. Unless the store is as it was, take no more."""
        if not self._intact():
            with self._closing:
                self._failed = self._failed or error
        for each in batch:
            if not each.done.done():
                failure = SequencerError(
                    "the statement was not registered", hint="register it again"
                )
                failure.__cause__ = error
                each.done.set_exception(failure)

    def _intact(self) -> bool:
        head = self._head
        try:
            return self._store.state() == (head.size, head.root) and len(self._tree) == head.size
        except SequencerError:
            return False

    def _check_open(self) -> None:
        if self._failed is not None:
            raise SequencerError(
                "the log has stopped after a failure", hint="restart it"
            ) from self._failed
        if self._closed:
            raise SequencerError("the log is closed")

    def _sign(self, size: int, root: bytes) -> _Head:
        """Sign a state. It MUST be durable: a signature cannot be taken back."""
        signed = sign_root(
            root,
            tree_size=size,
            origin=self._keys.origin,
            key=self._keys.receipt_key,
            issued_at=self._clock(),
        )
        note = sign_checkpoint(
            Checkpoint(self._keys.origin, size, root), key=self._keys.checkpoint_key
        )
        return _Head(size, root, signed, note)

    def _receipt(self, index: int, *, head: _Head) -> bytes:
        if not 0 <= index < head.size:
            raise NotFoundError(f"no entry {entry_id(index)} in this log")
        if head.size == 1:
            raise NotFoundError("the first entry has no receipt while it is the only one")
        return issue_receipt(
            head.signed, leaf_index=index, path=self._tree.inclusion(index, size=head.size)
        )
