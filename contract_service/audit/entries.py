"""The log as others read it: entries, keys and search; and registration (SCRAPI)."""

from __future__ import annotations

import base64
from itertools import islice
from typing import Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from clients.api.answers import Registered, StatementInfo, StatementList
from contract_service.auth import Caller
from contract_service.context import Context
from contract_service.contracts.service import Contracts
from contract_service.problems import BadRequestError, MissingError
from ledger.entry import EPOCH, Entry
from ledger.identity import thumbprint
from ledger.statement import parse_statement
from ledger.trust import TrustedLog, log_subject
from policies.attestation.runtime import encode_base64url
from policies.wire.contract import contract_urn

MAX_FOUND: Final = 1000


def entry_index(entry_id: str) -> int:
    """Return the index in an entry id such as 1.42.

    Raises:
        MissingError: if it is none of this log.
    """
    epoch, dot, index = entry_id.partition(".")
    if epoch != str(EPOCH) or not dot or not index.isascii() or not index.isdigit():
        raise MissingError("entry", entry_id)
    if len(index) > 18 or str(int(index)) != index:
        raise MissingError("entry", entry_id)
    return int(index)


def register(contracts: Contracts, body: bytes) -> tuple[Registered, bytes]:
    """Register a party's signature statement; return where it is, and its receipt.

    Only consents are taken in here: every other statement needs its document.

    Raises:
        LedgerError: if the statement does not verify.
        BadRequestError: if it is of another kind.
    """
    kind = parse_statement(body).kind
    if kind != "signature":
        raise BadRequestError(
            "rejected", f"statements about a {kind} are not registered here, signatures are"
        )
    registered = contracts.sign(body).registered
    return registered, base64.b64decode(registered.receipt)


def find(
    context: Context,
    contracts: Contracts,
    caller: Caller,
    *,
    subject: str | None,
    kind: str | None,
    issuer: str | None,
    start: int,
) -> StatementList:
    """Return statements about the caller's contracts and the log; all of them to an auditor."""
    size = context.log.size
    found = context.log.entries(subject=subject, kind=kind, issuer=issuer, start=start)
    if caller.did not in context.settings.auditors:
        with context.database.read() as session:
            mine = {contract_urn(digest) for digest in contracts.visible_to(session, caller)}
        mine.add(log_subject(context.log.origin))
        found = (entry for entry in found if entry.subject in mine)
    return StatementList(statements=tuple(islice(map(_info, found), MAX_FOUND)), tree_size=size)


def key_set(context: Context) -> bytes:
    """Return the receipt keys as a COSE Key Set (RFC 9052 section 7)."""
    trusted = TrustedLog.from_document(
        context.log.trust_document, root_fingerprint=context.fingerprint, at=context.now
    )
    keys = trusted.keys.receipt_keys.values()
    return cbor2.dumps([_cose_key(key) for key in keys], canonical=True)


def one_key(context: Context, kid: str) -> bytes:
    """Return one receipt key by its thumbprint, in hexadecimal or base64url.

    Raises:
        MissingError: if there is no such key.
    """
    for key in cbor2.loads(key_set(context)):
        if kid in {key[2].hex(), encode_base64url(key[2])}:
            return cbor2.dumps(key, canonical=True)
    raise MissingError("key", kid)


def _cose_key(key: ec.EllipticCurvePublicKey) -> dict[int, object]:
    point = key.public_numbers()
    # RFC 9053, 7.1.1: 1 kty EC2, 2 kid, 3 alg ES256, -1 curve P-256, -2 x, -3 y.
    return {
        1: 2,
        2: thumbprint(key),
        3: -7,
        -1: 1,
        -2: point.x.to_bytes(32, "big"),
        -3: point.y.to_bytes(32, "big"),
    }


def _info(entry: Entry) -> StatementInfo:
    return StatementInfo(
        entry_id=entry.entry_id,
        leaf_hash="sha256:" + entry.leaf_hash.hex(),
        kind=entry.kind,
        subject=entry.subject,
        issuer=entry.issuer,
        payload=entry.payload_digest,
        issued_at=entry.issued_at,
    )
