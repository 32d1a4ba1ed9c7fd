"""Readers of what the demo leaves, from the standards alone: nothing of the project is used.

COSE_Sign1 (RFC 9052), hash envelopes (RFC 9995), receipts (RFC 9942), trees (RFC 9162), did:x509,
did:jwk, C2SP signed notes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


@dataclass(frozen=True)
class Entry:
    """A verified statement at its place in the log."""

    index: int
    kind: str
    issuer: str
    subject: str
    issued_at: int
    payload: str
    leaf: bytes
    root_certificate: bytes | None
    """Fingerprint of the last certificate of its chain."""
    document: Any


@dataclass(frozen=True)
class Log:
    """A verified bundle."""

    root: str
    entries: list[Entry]
    documents: dict[str, bytes]

    def of(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind == kind]


def read_log(path: Path) -> Log:
    """Verify a bundle from the first byte to the last."""
    bundle = json.loads(path.read_bytes())
    trust = json.loads(base64.b64decode(bundle["trust"]))
    root = x509.load_der_x509_certificate(base64.b64decode(trust["root"]))
    receipt_key, checkpoint_key = (
        _certified(trust[purpose][0], root) for purpose in ("receipt", "checkpoint")
    )
    documents = {name: base64.b64decode(text) for name, text in bundle["documents"].items()}
    for name, data in documents.items():
        assert name == "sha256:" + hashlib.sha256(data).hexdigest()
    statements = [base64.b64decode(item["statement"]) for item in bundle["entries"]]
    leaves = [hashlib.sha256(b"\0" + statement).digest() for statement in statements]
    size, tree_root = _checkpoint(base64.b64decode(bundle["checkpoint"]), checkpoint_key)
    # The bundle of the only contract of a log holds all of the log.
    assert [item["index"] for item in bundle["entries"]] == list(range(size))
    assert merkle_root(leaves) == tree_root
    for item, leaf in zip(bundle["entries"], leaves, strict=True):
        verify_receipt(
            base64.b64decode(item["receipt"]),
            leaf=leaf,
            leaves=leaves,
            key=receipt_key,
            index=item["index"],
        )
    entries = [
        read_statement(data, index=index, documents=documents)
        for index, data in enumerate(statements)
    ]
    return Log(root.fingerprint(SHA256()).hex(), entries, documents)


def read_statement(data: bytes, *, index: int, documents: dict[str, bytes]) -> Entry:
    """Verify a COSE_Sign1 statement by the key that its issuer's DID stands for."""
    tag = cbor2.loads(data)
    assert tag.tag == 18
    protected_bytes, unprotected, payload, signature = tag.value
    assert unprotected == {}
    header = cbor2.loads(protected_bytes)
    assert header[1] == -7
    assert header[258] == -16
    claims = header[15]
    chain = [x509.load_der_x509_certificate(der) for der in header.get(33, [])]
    key = _issuer_key(claims[1], chain)
    signed = cbor2.dumps(["Signature1", protected_bytes, b"", payload])
    _verify_es256(key, signature, signed)
    digest = "sha256:" + payload.hex()
    document = documents.get(digest)
    return Entry(
        index=index,
        kind=header[259].removeprefix("application/vnd.depa.").removesuffix("+json"),
        issuer=claims[1],
        subject=claims[2],
        issued_at=claims[6],
        payload=digest,
        leaf=hashlib.sha256(b"\0" + data).digest(),
        root_certificate=chain[-1].fingerprint(SHA256()) if chain else None,
        document=None if document is None else json.loads(document),
    )


def verify_receipt(data: bytes, *, leaf: bytes, leaves: list[bytes], key: Any, index: int) -> None:
    """Verify an RFC 9942 receipt: its path leads to the root of that many leaves, and is signed."""
    protected_bytes, unprotected, payload, signature = cbor2.loads(data).value
    assert payload is None
    assert cbor2.loads(protected_bytes)[395] == 1
    size, at, path = cbor2.loads(unprotected[396][-1][0])
    assert at == index
    root = climb(leaf, index=at, size=size, path=list(path))
    assert root == merkle_root(leaves[:size])
    _verify_es256(key, signature, cbor2.dumps(["Signature1", protected_bytes, b"", root]))


def merkle_root(leaves: list[bytes]) -> bytes:
    """Return MTH of RFC 9162 section 2.1.1, by its recursive definition."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return _node(merkle_root(leaves[:split]), merkle_root(leaves[split:]))


def climb(leaf: bytes, *, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root that an inclusion path gives (RFC 9162 section 2.1.3.2)."""
    first, last, node = index, size - 1, leaf
    for item in path:
        assert last > 0
        if first & 1 or first == last:
            node = _node(item, node)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            node = _node(node, item)
        first, last = first >> 1, last >> 1
    assert last == 0
    return node


def sealed_header(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the magic line and the header of a sealed file."""
    magic, rest = data.split(b"\n", 1)
    (length,) = struct.unpack(">I", rest[:4])
    return magic, json.loads(rest[4 : 4 + length])


def safetensors_names(data: bytes) -> list[str]:
    """Return the names of the tensors in a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return [name for name in json.loads(data[8 : 8 + length]) if name != "__metadata__"]


def jwt_claims(token: str, key: Any) -> dict[str, Any]:
    """Verify an RS256 token and return its claims."""
    head, body, signature = token.split(".")
    key.verify(_unpadded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), SHA256())
    claims: dict[str, Any] = json.loads(_unpadded(body))
    return claims


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _certified(text: str, root: x509.Certificate) -> Any:
    certificate = x509.load_der_x509_certificate(base64.b64decode(text))
    certificate.verify_directly_issued_by(root)
    return certificate.public_key()


def _issuer_key(did: str, chain: list[x509.Certificate]) -> Any:
    if did.startswith("did:jwk:"):
        jwk = json.loads(_unpadded(did.removeprefix("did:jwk:")))
        x, y = (int.from_bytes(_unpadded(jwk[name])) for name in ("x", "y"))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    leaf, root = chain
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert did.split(":")[4] == _base64url(root.fingerprint(SHA256()))
    (organization,) = leaf.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    assert f"::subject:O:{str(organization.value).replace(' ', '%20')}" in did
    return leaf.public_key()


def _verify_es256(key: Any, signature: bytes, data: bytes) -> None:
    assert len(signature) == 64
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    key.verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))


def _checkpoint(note: bytes, key: Any) -> tuple[int, bytes]:
    body, _, signatures = note.decode().partition("\n\n")
    origin, size, root = body.split("\n")
    (line,) = signatures.splitlines()
    dash, name, encoded = line.split(" ")
    assert (dash, name) == ("\u2014", origin)
    assert isinstance(key, ed25519.Ed25519PublicKey)
    raw, public = base64.b64decode(encoded), key.public_bytes_raw()
    assert raw[:4] == hashlib.sha256(f"{origin}\n".encode() + b"\1" + public).digest()[:4]
    key.verify(raw[4:], f"{body}\n".encode())
    return int(size), base64.b64decode(root)


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
