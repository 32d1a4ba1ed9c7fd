"""Signed statements: COSE_Sign1 over the hash of a document (RFC 9052, RFC 9943, RFC 9995).

A statement says: this issuer, at this time, stands by the document with this hash, as a document of
this kind and about this subject. What the document says, and whether the issuer may say it, is
decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ledger import cbor, cose
from ledger.chain import Validity, chain_validity, check_chain_validity
from ledger.did import resolve_did
from ledger.errors import FormatError, VerificationError
from ledger.merkle import leaf_hash

MAX_STATEMENT_BYTES = 65_535
"""Of an entry: the length prefix of a C2SP tile entry has 16 bits."""
MAX_TRANSPARENT_BYTES = 1 << 20
"""Of a statement with receipts in its unprotected header."""

KINDS = frozenset(
    {
        "contract",
        "signature",
        "executed",
        "amendment",
        "revocation",
        "policy-bundle",
        "pipeline-decision",
        "approval",
        "key-release",
        "run-report",
        "budget-booking",
        "trust-anchor",
    }
)

RECEIPTS = 394
"""Unprotected header: array of receipts (RFC 9943)."""
_HASH_ALG, _CONTENT_TYPE, _LOCATION = 258, 259, 260
_SHA256 = -16
_KNOWN_HEADERS = {
    cose.ALG,
    cose.KEY_ID,
    cose.CWT_CLAIMS,
    cose.X5CHAIN,
    _HASH_ALG,
    _CONTENT_TYPE,
    _LOCATION,
}
_CONTENT_TYPES = re.compile(r"\Aapplication/vnd\.depa\.([a-z-]+)\+json\Z")
_TEXT = re.compile(r"\A[\x21-\x7e]{1,2048}\Z")
_MAX_TIME = 1 << 40


class Signer(Protocol):
    """Who can sign statements: `ledger.identity.Identity`, or a key that stays in a vault."""

    @property
    def did(self) -> str:
        """The issuer."""
        ...

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Certificates in DER, leaf first, root last; empty for a did:jwk."""
        ...

    @property
    def public_key(self) -> cose.PublicKey:
        """The key that `did` resolves to."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the COSE signature over `data`."""
        ...


@dataclass(frozen=True)
class UnverifiedStatement:
    """A well-formed statement of which nothing is proven yet."""

    encoded: bytes
    """As the log keeps it: the unprotected header is empty."""
    kind: str
    issuer: str
    subject: str
    issued_at: int
    """Seconds since 1970 (UTC), by the issuer's clock."""
    payload_hash: bytes
    """SHA-256 of the document."""
    x5chain: tuple[bytes, ...]
    location: str | None
    """Where the document may be had; a hint only."""
    receipts: tuple[bytes, ...]
    """From the unprotected header; not covered by the signature."""
    algorithm: int
    key_id: bytes | None
    message: cose.Sign1 = field(repr=False)

    @property
    def content_type(self) -> str:
        """Media type of the document."""
        return content_type(self.kind)

    @property
    def leaf_hash(self) -> bytes:
        """Hash under which a log has this statement."""
        return leaf_hash(self.encoded)


@dataclass(frozen=True)
class Statement:
    """A statement that its issuer's key signed while the issuer's certificates were valid."""

    encoded: bytes = field(repr=False)
    """As the log keeps it: the unprotected header is empty."""
    kind: str
    content_type: str
    issuer: str
    subject: str
    issued_at: int
    """Seconds since 1970 (UTC), by the issuer's clock."""
    payload_hash: bytes
    """SHA-256 of the document."""
    x5chain: tuple[bytes, ...] = field(repr=False)
    location: str | None
    leaf_hash: bytes

    @property
    def payload_digest(self) -> str:
        """The payload hash as documents write it: `sha256:` and 64 hexadecimal digits."""
        return "sha256:" + self.payload_hash.hex()

    @property
    def key_validity(self) -> Validity:
        """When the issuer's key may sign: always, for a key without certificates."""
        return chain_validity(self.x5chain) if self.x5chain else Validity(0, _MAX_TIME)


def content_type(kind: str) -> str:
    """Return the media type of documents of this kind.

    Raises:
        FormatError: If there is no such kind.
    """
    if kind not in KINDS:
        raise FormatError(f"statement kind {kind[:60]!r} is none of {', '.join(sorted(KINDS))}")
    return f"application/vnd.depa.{kind}+json"


def sign_statement(
    *,
    payload_hash: bytes,
    kind: str,
    subject: str,
    issued_at: int,
    signer: Signer,
    location: str | None = None,
) -> bytes:
    """Return the statement of `signer` about the document with this hash, as the log keeps it.

    Args:
        payload_hash: SHA-256 of the document's canonical bytes (32 bytes).
        kind: One of `KINDS`.
        subject: Such as `urn:depa:contract:<hex>`.
        issued_at: Seconds since 1970 (UTC).
        signer: Whose DID becomes the issuer.
        location: Where the document may be had.

    Raises:
        FormatError: If an argument is not what the format allows.
    """
    header: dict[int, object] = {
        cose.ALG: int(cose.algorithm_of(signer.public_key)),
        cose.CWT_CLAIMS: {cose.ISS: signer.did, cose.SUB: subject, cose.IAT: issued_at},
        _HASH_ALG: _SHA256,
        _CONTENT_TYPE: content_type(kind),
    }
    if signer.chain:
        header[cose.X5CHAIN] = list(signer.chain) if len(signer.chain) > 1 else signer.chain[0]
    else:
        header[cose.KEY_ID] = cose.thumbprint(signer.public_key)
    if location is not None:
        header[_LOCATION] = location
    protected = cbor.encode(header)
    signature = signer.sign(cose.to_be_signed(protected=protected, payload=payload_hash))
    encoded = cose.encode_sign1(cose.Sign1(protected, {}, payload_hash, signature))
    parse_statement(encoded)
    return encoded


def parse_statement(data: bytes) -> UnverifiedStatement:
    """Return the statement that `data` is, all of it, without verifying anything.

    Raises:
        FormatError: If it is untagged, not deterministic CBOR, too large, or has a header that is
            missing,
            malformed or unknown.
    """
    message = cose.parse_sign1(data, what="statement", limit=MAX_TRANSPARENT_BYTES)
    encoded = cose.encode_sign1(replace(message, unprotected={}))
    if len(encoded) > MAX_STATEMENT_BYTES:
        raise FormatError(
            f"statement: {len(encoded)} bytes, at most {MAX_STATEMENT_BYTES} are accepted"
        )
    header = cose.parse_header(message.protected, what="statement", deterministic=True)
    if unknown := set(header) - _KNOWN_HEADERS:
        raise FormatError(f"statement: unknown protected headers {sorted(map(str, unknown))}")
    if message.payload is None or len(message.payload) != 32:
        raise FormatError("statement: the payload is not a SHA-256 hash of 32 bytes")
    if header.get(_HASH_ALG) != _SHA256:
        raise FormatError(
            f"statement: header {_HASH_ALG} (hash of the payload) is not {_SHA256} (SHA-256)"
        )
    issuer, subject, issued_at = _claims(header.get(cose.CWT_CLAIMS))
    algorithm, key_id = header.get(cose.ALG), header.get(cose.KEY_ID)
    if isinstance(algorithm, bool) or not isinstance(algorithm, int):
        raise FormatError("statement: no algorithm (header 1)")
    if key_id is not None and not isinstance(key_id, bytes):
        raise FormatError("statement: the key id (header 4) is not bytes")
    x5chain = _x5chain(header)
    if key_id is None and not x5chain:
        raise FormatError("statement: neither certificates (header 33) nor a key id (header 4)")
    location = header.get(_LOCATION)
    return UnverifiedStatement(
        encoded=encoded,
        kind=_kind(header.get(_CONTENT_TYPE)),
        issuer=issuer,
        subject=subject,
        issued_at=issued_at,
        payload_hash=message.payload,
        x5chain=x5chain,
        location=None if location is None else _text(location, what="location (header 260)"),
        receipts=_receipts(message.unprotected),
        algorithm=algorithm,
        key_id=key_id,
        message=message,
    )


def verify_statement(data: bytes, *, at: int | None = None) -> Statement:
    """Return what `data` states, proven to be said by its issuer.

    (1) The issuer's DID resolves to a key with the certificates in the statement. (2) The key id,
    if any, is that key's thumbprint, and the algorithm is the one for its curve. (3) The signature
    is by that key. (4) The certificates were valid. Receipts in the unprotected header are not
    looked at.

    The caller MUST decide whether this issuer is one that it wants to hear.

    Args:
        data: A statement, with or without receipts.
        at: Time at which the certificates must be valid, seconds since 1970; default: the
            statement's own.

    Raises:
        FormatError: If `data` is no statement.
        VerificationError: If a check fails.
    """
    unverified = parse_statement(data)
    # (1)
    key = resolve_did(unverified.issuer, x5chain=unverified.x5chain)
    # (2)
    if unverified.key_id not in (None, wanted := cose.thumbprint(key)):
        got = unverified.key_id.hex()[:128]
        raise VerificationError("statement: key id", expected=wanted.hex(), got=got)
    # (3)
    cose.verify_signature(
        cose.to_be_signed(protected=unverified.message.protected, payload=unverified.payload_hash),
        signature=unverified.message.signature,
        algorithm=unverified.algorithm,
        key=key,
        what="statement",
    )
    # (4)
    if unverified.x5chain:
        check_chain_validity(unverified.x5chain, at=unverified.issued_at if at is None else at)
    return Statement(
        encoded=unverified.encoded,
        kind=unverified.kind,
        content_type=unverified.content_type,
        issuer=unverified.issuer,
        subject=unverified.subject,
        issued_at=unverified.issued_at,
        payload_hash=unverified.payload_hash,
        x5chain=unverified.x5chain,
        location=unverified.location,
        leaf_hash=unverified.leaf_hash,
    )


def attach_receipts(data: bytes, *, receipts: Sequence[bytes]) -> bytes:
    """Return the transparent statement: `data` with exactly these receipts.

    Raises:
        FormatError: If `data` is no statement, or the result is larger than
            `MAX_TRANSPARENT_BYTES`.
    """
    message = parse_statement(data).message
    encoded = cose.encode_sign1(replace(message, unprotected={RECEIPTS: list(receipts)}))
    parse_statement(encoded)
    return encoded


def _claims(value: object) -> tuple[str, str, int]:
    if not isinstance(value, dict) or set(value) != {cose.ISS, cose.SUB, cose.IAT}:
        raise FormatError(
            "statement: header 15 does not have exactly the claims iss (1), sub (2), iat (6)"
        )
    issued_at = value[cose.IAT]
    if (
        isinstance(issued_at, bool)
        or not isinstance(issued_at, int)
        or not 0 <= issued_at < _MAX_TIME
    ):
        raise FormatError("statement: iat is not a time in whole seconds since 1970")
    return _text(value[cose.ISS], what="iss"), _text(value[cose.SUB], what="sub"), issued_at


def _text(value: object, *, what: str) -> str:
    if not isinstance(value, str) or not _TEXT.match(value):
        raise FormatError(f"statement: {what} is not 1 to 2048 visible ASCII characters")
    return value


def _kind(value: object) -> str:
    match = _CONTENT_TYPES.match(value) if isinstance(value, str) else None
    if match is None or match[1] not in KINDS:
        raise FormatError(
            f"statement: content type (header {_CONTENT_TYPE}) {str(value)[:100]!r} is not known"
        )
    return match[1]


def _x5chain(header: Mapping[object, object]) -> tuple[bytes, ...]:
    if cose.X5CHAIN not in header:
        return ()
    match header[cose.X5CHAIN]:
        case bytes(single):
            return (single,)
        case [_, _, *_] as several:
            chain = tuple(each for each in several if isinstance(each, bytes))
            if len(chain) == len(several):
                return chain
    raise FormatError("statement: x5chain (header 33) is neither bytes nor an array of two or more")


def _receipts(unprotected: Mapping[int | str, object]) -> tuple[bytes, ...]:
    match unprotected.get(RECEIPTS, []):
        case list(items) if all(isinstance(item, bytes) for item in items):
            return tuple(items)
        case _:
            raise FormatError(f"statement: receipts (header {RECEIPTS}) are not an array of bytes")
