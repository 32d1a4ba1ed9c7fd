"""One file that an auditor verifies without a network: statements, receipts, documents, keys.

This module only reads and writes the file; `ledger.verify` proves what is in it. Canonical JSON
(RFC 8785), so that one content is one file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger import document
from ledger.checkpoint import MAX_CHECKPOINT_BYTES
from ledger.errors import FormatError
from ledger.merkle import HASH_BYTES
from ledger.receipt import MAX_PATH, MAX_RECEIPT_BYTES
from ledger.statement import MAX_STATEMENT_BYTES
from ledger.trust import MAX_DOCUMENT_BYTES as MAX_TRUST_BYTES

MAX_BUNDLE_BYTES = 64 << 20
MAX_PART_BYTES = 8 << 20
"""Of one document or input."""
MAX_PARTS = 10_000
"""Entries, documents, inputs or proofs, each."""

_VERSION = "1.0"
_KEYS = ("version", "trust", "checkpoint", "entries", "consistency", "documents", "inputs")
_DIGEST = re.compile(r"\Asha256:[0-9a-f]{64}\Z")
_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}\Z")


@dataclass(frozen=True)
class BundleEntry:
    """A statement, its claimed place in the log, and the receipt for it."""

    index: int
    statement: bytes = field(repr=False)
    receipt: bytes = field(repr=False)


@dataclass(frozen=True)
class ConsistencyProof:
    """A path from an earlier size, to which some receipt refers, to the checkpoint's."""

    first: int
    second: int
    path: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class Bundle:
    """The parts of a bundle, none of them verified but that documents have their digests."""

    trust: bytes = field(repr=False)
    """The log's trust document."""
    checkpoint: bytes = field(repr=False)
    entries: tuple[BundleEntry, ...]
    consistency: tuple[ConsistencyProof, ...] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By digest (`sha256:...`)."""
    inputs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By name: what decisions were made from; opaque here."""

    @classmethod
    def of(
        cls,
        *,
        trust: bytes,
        checkpoint: bytes,
        entries: Sequence[BundleEntry],
        documents: Iterable[bytes] = (),
        inputs: Mapping[str, bytes] | None = None,
        consistency: Sequence[ConsistencyProof] = (),
    ) -> Bundle:
        """Return the bundle of these parts, documents filed under their digests."""
        by_digest = {_digest(data): data for data in documents}
        return cls(
            trust, checkpoint, tuple(entries), tuple(consistency), by_digest, dict(inputs or {})
        )

    def encode(self) -> bytes:
        """Return the file.

        Raises:
            FormatError: If it is not one that `parse` would take.
        """
        data = document.encode(
            {
                "version": _VERSION,
                "trust": document.to_base64(self.trust),
                "checkpoint": document.to_base64(self.checkpoint),
                "entries": [
                    {
                        "index": each.index,
                        "statement": document.to_base64(each.statement),
                        "receipt": document.to_base64(each.receipt),
                    }
                    for each in self.entries
                ],
                "consistency": [
                    {
                        "first": each.first,
                        "second": each.second,
                        "path": [document.to_base64(item) for item in each.path],
                    }
                    for each in self.consistency
                ],
                "documents": {
                    key: document.to_base64(data) for key, data in self.documents.items()
                },
                "inputs": {key: document.to_base64(data) for key, data in self.inputs.items()},
            }
        )
        Bundle.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Return the bundle that `data` is, all of it.

        Raises:
            FormatError: If it is anything else, too large, or a document has another digest than
                stated.
        """
        value = document.parse(data, what="bundle", limit=MAX_BUNDLE_BYTES)
        document.require_keys(value, what="bundle", keys=_KEYS)
        if value["version"] != _VERSION:
            raise FormatError(f"bundle: version {value['version']!r} is not {_VERSION!r}")
        documents = _parts(value["documents"], what="documents", names=_DIGEST)
        for digest, content in documents.items():
            if _digest(content) != digest:
                raise FormatError(f"bundle: documents: expected {digest}, got {_digest(content)}")
        return cls(
            trust=document.from_base64(value["trust"], what="bundle: trust", limit=MAX_TRUST_BYTES),
            checkpoint=document.from_base64(
                value["checkpoint"], what="bundle: checkpoint", limit=MAX_CHECKPOINT_BYTES
            ),
            entries=tuple(map(_entry, _list(value["entries"], what="entries", limit=MAX_PARTS))),
            consistency=tuple(
                map(_proof, _list(value["consistency"], what="consistency", limit=MAX_PARTS))
            ),
            documents=documents,
            inputs=_parts(value["inputs"], what="inputs", names=_NAME),
        )


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _list(value: object, *, what: str, limit: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise FormatError(f"bundle: {what} is not a list of at most {limit}")
    return value


def _object(value: object, *, what: str, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"bundle: {what} is not an object")
    document.require_keys(value, what=f"bundle: {what}", keys=keys)
    return value


def _size(value: object, *, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise FormatError(f"bundle: {what} is not a whole number from 0")
    return value


def _parts(value: object, *, what: str, names: re.Pattern[str]) -> dict[str, bytes]:
    if not isinstance(value, dict) or len(value) > MAX_PARTS:
        raise FormatError(f"bundle: {what} is not an object with at most {MAX_PARTS} parts")
    for name in value:
        if not names.match(name):
            raise FormatError(f"bundle: {what}: {name[:100]!r} cannot be a name")
    return {
        name: document.from_base64(content, what=f"bundle: {what}: {name}", limit=MAX_PART_BYTES)
        for name, content in value.items()
    }


def _entry(value: object) -> BundleEntry:
    entry = _object(value, what="entry", keys=("index", "statement", "receipt"))
    index = _size(entry["index"], what="entry: index")
    return BundleEntry(
        index,
        document.from_base64(
            entry["statement"], what=f"entry {index}: statement", limit=MAX_STATEMENT_BYTES
        ),
        document.from_base64(
            entry["receipt"], what=f"entry {index}: receipt", limit=MAX_RECEIPT_BYTES
        ),
    )


def _proof(value: object) -> ConsistencyProof:
    proof = _object(value, what="consistency", keys=("first", "second", "path"))
    path = _list(proof["path"], what="consistency: path", limit=MAX_PATH)
    return ConsistencyProof(
        _size(proof["first"], what="consistency: first"),
        _size(proof["second"], what="consistency: second"),
        tuple(
            document.from_base64(item, what="consistency: path", limit=HASH_BYTES) for item in path
        ),
    )
