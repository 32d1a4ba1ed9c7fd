"""Receipts: a log's signature that a statement is at a place in it (RFC 9942, vds = 1).

The signature covers the root of the tree, so one signature serves every receipt of a size. The
log's origin stands in the signed header (CWT issuer), which binds the receipt to one log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from cryptography.hazmat.primitives.asymmetric import ec

from ledger import cbor, cose
from ledger.errors import FormatError, VerificationError
from ledger.merkle import HASH_BYTES, verify_inclusion

MAX_RECEIPT_BYTES = 8 * 1024
MAX_PATH = 64

_VDS, _VDP = 395, 396
_RFC9162_SHA256 = 1
_INCLUSION, _CONSISTENCY = -1, -2


@dataclass(frozen=True)
class TrustedKeys:
    """What a verifier trusts about one log: its origin and its receipt keys, by thumbprint."""

    origin: str
    receipt_keys: Mapping[bytes, ec.EllipticCurvePublicKey] = field(repr=False)

    @classmethod
    def of(cls, origin: str, *keys: ec.EllipticCurvePublicKey) -> TrustedKeys:
        """Return the trust in these keys of the log `origin`."""
        return cls(origin, {cose.thumbprint(key): key for key in keys})


@dataclass(frozen=True)
class SignedRoot:
    """A root with the signature that all receipts for its size share."""

    tree_size: int
    root: bytes
    protected: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True)
class Inclusion:
    """A leaf's place and path, as a receipt claims them."""

    tree_size: int
    leaf_index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Consistency:
    """Two sizes and the path between them, as a receipt claims them."""

    first: int
    second: int
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class UnverifiedReceipt:
    """A well-formed receipt of which nothing is proven yet."""

    proof: Inclusion | Consistency
    algorithm: int
    key_id: bytes
    issuer: str
    issued_at: int | None
    message: cose.Sign1 = field(repr=False)


@dataclass(frozen=True)
class ReceiptClaims:
    """What a verified receipt proves."""

    origin: str
    leaf_index: int
    tree_size: int
    root: bytes
    issued_at: int | None
    """When the log signed the root, by its clock; the statement was in the log by then."""


def sign_root(
    root: bytes, *, tree_size: int, origin: str, key: cose.PrivateKey, issued_at: int
) -> SignedRoot:
    """Return `root` signed as RFC 9942 receipts need it.

    The caller MUST have made the tree of this size durable: a signature cannot be taken back.
    """
    protected = cbor.encode(
        {
            cose.ALG: int(cose.algorithm_of(key)),
            cose.KEY_ID: cose.thumbprint(key.public_key()),
            cose.CWT_CLAIMS: {cose.ISS: origin, cose.IAT: issued_at},
            _VDS: _RFC9162_SHA256,
        }
    )
    signature = cose.sign(cose.to_be_signed(protected=protected, payload=root), key=key)
    return SignedRoot(tree_size, root, protected, signature)


def issue_receipt(signed: SignedRoot, *, leaf_index: int, path: Sequence[bytes]) -> bytes:
    """Return the receipt for the leaf at `leaf_index`.

    Raises:
        FormatError: If `path` is empty: RFC 9942 has no receipt for the only leaf of a tree.
    """
    if not path:
        raise FormatError("receipt: a tree of one leaf has no inclusion path")
    proof = cbor.encode([signed.tree_size, leaf_index, list(path)])
    unprotected: dict[int | str, object] = {_VDP: {_INCLUSION: [proof]}}
    return cose.encode_sign1(cose.Sign1(signed.protected, unprotected, None, signed.signature))


def parse_receipt(data: bytes) -> UnverifiedReceipt:
    """Return the receipt that `data` is, all of it, without verifying anything.

    Raises:
        FormatError: If it is no receipt with exactly one RFC9162_SHA256 proof and a detached
            payload.
    """
    message = cose.parse_sign1(data, what="receipt", limit=MAX_RECEIPT_BYTES)
    if message.payload is not None:
        raise FormatError("receipt: the payload is not detached")
    # The example receipts of RFC 9942 order their protected headers freely; the signature covers
    # them as they are.
    header = cose.parse_header(message.protected, what="receipt", deterministic=False)
    if set(header) != {cose.ALG, cose.KEY_ID, cose.CWT_CLAIMS, _VDS}:
        raise FormatError(
            "receipt: the protected headers are not exactly 1 (alg), 4 (kid), 15 (CWT), 395 (vds)"
        )
    if header[_VDS] != _RFC9162_SHA256:
        raise FormatError(
            f"receipt: vds {header[_VDS]!r} is not {_RFC9162_SHA256} (RFC9162_SHA256)"
        )
    algorithm, key_id = header[cose.ALG], header[cose.KEY_ID]
    if not isinstance(algorithm, int) or not isinstance(key_id, bytes):
        raise FormatError("receipt: alg (1) is not an integer or kid (4) is not bytes")
    issuer, issued_at = _claims(header[cose.CWT_CLAIMS])
    return UnverifiedReceipt(
        _proof(message.unprotected), algorithm, key_id, issuer, issued_at, message
    )


def verify_receipt(receipt: bytes, *, leaf_hash: bytes, keys: TrustedKeys) -> ReceiptClaims:
    """Return the place that `receipt` proves for the statement with this leaf hash.

    (1) The receipt is from the log that is trusted, by its origin and key. (2) The path leads from
    the leaf to a root. (3) The log signed that root.

    Raises:
        FormatError: If `receipt` is no receipt of inclusion.
        VerificationError: If a check fails.
    """
    unverified = parse_receipt(receipt)
    proof = unverified.proof
    if not isinstance(proof, Inclusion):
        raise FormatError("receipt: it proves consistency, not inclusion")
    # (1)
    if unverified.issuer != keys.origin:
        raise VerificationError(
            "receipt: log origin", expected=keys.origin, got=unverified.issuer[:200]
        )
    if unverified.key_id not in keys.receipt_keys:
        raise VerificationError(
            "receipt: key",
            expected=" or ".join(key.hex() for key in keys.receipt_keys),
            got=unverified.key_id.hex()[:128],
        )
    # (2)
    root = verify_inclusion(
        leaf_hash, index=proof.leaf_index, size=proof.tree_size, path=proof.path
    )
    # (3)
    cose.verify_signature(
        cose.to_be_signed(protected=unverified.message.protected, payload=root),
        signature=unverified.message.signature,
        algorithm=unverified.algorithm,
        key=keys.receipt_keys[unverified.key_id],
        what="receipt",
    )
    return ReceiptClaims(keys.origin, proof.leaf_index, proof.tree_size, root, unverified.issued_at)


def _claims(value: object) -> tuple[str, int | None]:
    match value:
        case {cose.ISS: str(issuer), **rest} if set(rest) <= {cose.IAT}:
            issued_at = rest.get(cose.IAT)
            if issued_at is None:
                return issuer, None
            if _is_size(issued_at):
                return issuer, issued_at
    raise FormatError("receipt: the CWT claims (15) are not iss (1) and perhaps iat (6)")


def _is_size(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _proof(unprotected: Mapping[int | str, object]) -> Inclusion | Consistency:
    if set(unprotected) != {_VDP}:
        raise FormatError("receipt: the unprotected header is not exactly the proofs (396)")
    match unprotected[_VDP]:
        case {**proofs} if len(proofs) == 1:
            [(kind, encoded)] = proofs.items()
        case _:
            raise FormatError("receipt: the proofs (396) are not a map with one kind of proof")
    match encoded:
        case [bytes(single)]:
            fields = cbor.decode(single, what="receipt: proof", limit=MAX_RECEIPT_BYTES)
        case _:
            raise FormatError("receipt: not exactly one proof")
    match fields:
        case [int(first), int(second), [_, *_] as path] if _is_size(first) and _is_size(second):
            pass
        case _:
            raise FormatError(
                "receipt: the proof is not [size, index or size, path of one hash or more]"
            )
    hashes = tuple(each for each in path if isinstance(each, bytes) and len(each) == HASH_BYTES)
    if len(path) > MAX_PATH or len(hashes) != len(path):
        raise FormatError(f"receipt: the path is not 1 to {MAX_PATH} hashes of {HASH_BYTES} bytes")
    if kind == _INCLUSION:
        return Inclusion(first, second, hashes)
    if kind == _CONSISTENCY:
        return Consistency(first, second, hashes)
    raise FormatError(
        f"receipt: proof kind {kind!r} is neither inclusion (-1) nor consistency (-2)"
    )
