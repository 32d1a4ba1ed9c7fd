"""What an offline bundle proves: signed statements at their places in one log.

Who had to sign what, and whether decisions follow from their inputs, is judged by the caller from
the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ledger.bundle import Bundle, BundleEntry
from ledger.checkpoint import Checkpoint, verify_checkpoint
from ledger.errors import VerificationError
from ledger.merkle import verify_consistency
from ledger.receipt import ReceiptClaims, verify_receipt
from ledger.statement import Statement, verify_statement
from ledger.trust import TrustedLog, log_subject


@dataclass(frozen=True)
class VerifiedEntry:
    """A statement that is proven to be in the log at `index`."""

    index: int
    statement: Statement
    receipt: ReceiptClaims
    document: bytes | None = field(repr=False)
    """What the statement is about, if the bundle has it; its hash is the statement's payload."""


@dataclass(frozen=True)
class VerifiedLog:
    """Everything that a bundle proves."""

    log: TrustedLog
    checkpoint: Checkpoint
    entries: tuple[VerifiedEntry, ...]
    """In the order of the log, each index once."""
    documents: Mapping[str, bytes] = field(repr=False)
    """By digest; those that no statement is about are here as well."""
    inputs: Mapping[str, bytes] = field(repr=False)
    """As in the bundle: the log proves nothing about them."""

    def of_kind(self, kind: str, *, issuer: str | None = None) -> Iterator[VerifiedEntry]:
        """Yield the entries of that kind (and issuer), in the order of the log."""
        for entry in self.entries:
            if entry.statement.kind == kind and issuer in (None, entry.statement.issuer):
                yield entry


def verify_bundle(bundle: Bundle, *, root_fingerprint: str, at: int) -> VerifiedLog:
    """Return what `bundle` proves to somebody who knows the fingerprint of the log's root.

    (1) The log's keys are certified by that root. (2) The checkpoint is signed by the log. (3)
    Every statement is signed by its issuer, whose certificates were valid at the statement's own
    time. (4) Every receipt puts its statement at the stated index, and no two at one. (5) Every
    root of a receipt is the checkpoint's, or a consistency proof leads from it to the checkpoint's.
    (6) The first entry, if it is there, is the service's.

    The hash of every document was compared with its digest when the bundle was parsed.

    Args:
        bundle: From `Bundle.parse`.
        root_fingerprint: SHA-256 of the root certificate, 64 lowercase hexadecimal digits.
        at: Time at which the log's certificates must be valid, seconds since 1970.

    Raises:
        FormatError: If a part is malformed.
        VerificationError: If a check fails.
    """
    # (1), (2)
    log = TrustedLog.from_document(bundle.trust, root_fingerprint=root_fingerprint, at=at)
    checkpoint = verify_checkpoint(bundle.checkpoint, origin=log.origin, keys=log.checkpoint_keys)
    # (3), (4)
    entries: dict[int, VerifiedEntry] = {}
    for each in bundle.entries:
        if each.index in entries:
            raise VerificationError("bundle: index", expected="each once", got=each.index)
        entries[each.index] = _verify_entry(each, log=log, documents=bundle.documents)
    # (5)
    _check_roots(bundle, entries=entries, checkpoint=checkpoint)
    # (6)
    if 0 in entries:
        _check_genesis(entries[0].statement, log=log)
    ordered = tuple(entries[index] for index in sorted(entries))
    return VerifiedLog(log, checkpoint, ordered, bundle.documents, bundle.inputs)


def _verify_entry(
    each: BundleEntry, *, log: TrustedLog, documents: Mapping[str, bytes]
) -> VerifiedEntry:
    statement = verify_statement(each.statement)
    claims = verify_receipt(each.receipt, leaf_hash=statement.leaf_hash, keys=log.keys)
    if claims.leaf_index != each.index:
        raise VerificationError("receipt: index", expected=each.index, got=claims.leaf_index)
    return VerifiedEntry(each.index, statement, claims, documents.get(statement.payload_digest))


def _check_roots(
    bundle: Bundle, *, entries: Mapping[int, VerifiedEntry], checkpoint: Checkpoint
) -> None:
    proofs = {proof.first: proof for proof in bundle.consistency}
    for size, root in sorted(
        {(each.receipt.tree_size, each.receipt.root) for each in entries.values()}
    ):
        if size > checkpoint.tree_size:
            raise VerificationError(
                "receipt: size", expected=f"at most {checkpoint.tree_size}", got=size
            )
        if size == checkpoint.tree_size:
            path: tuple[bytes, ...] = ()
        elif size in proofs and proofs[size].second == checkpoint.tree_size:
            path = proofs[size].path
        else:
            raise VerificationError(
                "consistency", expected=f"a proof from {size} to {checkpoint.tree_size}", got="none"
            )
        verify_consistency(
            first=size,
            second=checkpoint.tree_size,
            first_root=root,
            second_root=checkpoint.root,
            path=path,
        )


def _check_genesis(statement: Statement, *, log: TrustedLog) -> None:
    wanted = ("trust-anchor", log.service, log_subject(log.origin))
    got = (statement.kind, statement.issuer, statement.subject)
    if got != wanted:
        raise VerificationError("first entry", expected=wanted, got=got)
