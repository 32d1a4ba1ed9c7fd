"""DIDs that verify offline: did:x509 over a certificate chain, and did:jwk for P-256 keys.

A DID is compared as text wherever a contract names a party, so only one spelling of each is
accepted. did:x509 is version 0 of https://github.com/microsoft/did-x509/blob/main/specification.md.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from ledger import cose
from ledger.chain import extension, load_chain, may_agree, may_sign, verify_chain
from ledger.errors import IdentityError, VerificationError

MAX_DID = 2048

_FINGERPRINTS: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_OID = x509.oid.NameOID
_SUBJECT_FIELDS = {
    "CN": _OID.COMMON_NAME,
    "L": _OID.LOCALITY_NAME,
    "ST": _OID.STATE_OR_PROVINCE_NAME,
    "O": _OID.ORGANIZATION_NAME,
    "OU": _OID.ORGANIZATIONAL_UNIT_NAME,
    "C": _OID.COUNTRY_NAME,
    "STREET": _OID.STREET_ADDRESS,
}
_SAN_TYPES: dict[str, type[x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier]] = {
    "dns": x509.DNSName,
    "email": x509.RFC822Name,
    "uri": x509.UniformResourceIdentifier,
}
_FULCIO_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_VALUE = re.compile(r"\A(?:[A-Za-z0-9._-]|%[0-9A-F]{2})+\Z")
_DOTTED = re.compile(r"\A[0-2](\.(0|[1-9][0-9]*))+\Z")
_PREFIX = "did:x509:0:"


@dataclass(frozen=True)
class ResolvedDid:
    """The key that a DID stands for, and what it may be used for."""

    did: str
    """Without fragment."""
    key: CertificatePublicKeyTypes
    may_sign: bool
    may_agree: bool


def resolve_did(did: str, *, x5chain: Sequence[bytes] = ()) -> cose.PublicKey:
    """Return the key with which `did` signs.

    Args:
        did: A did:x509 or did:jwk, without path, query or fragment.
        x5chain: Certificates in DER, leaf first, root last; empty for did:jwk.

    Raises:
        IdentityError: If it does not resolve, or its key may not sign or is of an unknown type.
        FormatError: If a certificate is none.
    """
    if len(did) > MAX_DID or any(mark in did for mark in "#?/"):
        raise IdentityError(
            "DID", expected="one without path, query and fragment", got=did[:MAX_DID]
        )
    if did.startswith("did:jwk:"):
        if x5chain:
            raise IdentityError(
                "did:jwk", expected="no certificates", got=f"{len(x5chain)} certificates"
            )
        return _resolve_jwk(did)
    resolved = resolve_x509(did, chain=tuple(x5chain))
    if not resolved.may_sign:
        raise IdentityError("key usage", expected="digitalSignature", got="none")
    try:
        cose.algorithm_of(resolved.key)  # type: ignore[arg-type]  # refuses the other types
    except VerificationError as error:
        raise IdentityError("key", expected=error.expected, got=error.got) from error
    return resolved.key  # type: ignore[return-value]  # narrowed by algorithm_of


@functools.lru_cache(maxsize=256)
def resolve_x509(did: str, *, chain: tuple[bytes, ...]) -> ResolvedDid:
    """Return the leaf's key if `chain` holds together and satisfies every policy of `did`.

    The result depends on the arguments alone, so it is remembered: a log sees the same parties
    again and again.

    Raises:
        IdentityError: If the DID is malformed, or the chain is not what it asks for.
        FormatError: If a certificate is none.
    """
    plain = did.partition("#")[0]
    algorithm, fingerprint, policies = _split_x509(plain)
    certificates = load_chain(chain)
    verify_chain(certificates)
    got = [_base64url(each.fingerprint(_FINGERPRINTS[algorithm])) for each in certificates[1:]]
    if fingerprint not in got:
        raise IdentityError("authority fingerprint", expected=fingerprint, got=", ".join(got))
    leaf = certificates[0]
    for name, value in policies:
        _POLICIES[name](leaf, value)
    return ResolvedDid(plain, leaf.public_key(), may_sign(leaf), may_agree(leaf))


def did_x509_for(
    chain: Sequence[bytes], *, subject: Sequence[str] = ("O",), eku: str | None = None
) -> str:
    """Return the did:x509 that pins the root of `chain` and the named fields of its leaf's subject.

    Args:
        chain: Certificates in DER, leaf first, root last.
        subject: Fields of the leaf's subject to pin, such as O and CN.
        eku: Dotted extended key usage to pin besides.

    Raises:
        IdentityError: If the chain does not hold together or the leaf lacks what is to be pinned.
        FormatError: If a certificate is none.
    """
    certificates = load_chain(chain)
    pins = "".join(
        f":{field}:{_quote(_subject_value(certificates[0], field))}" for field in subject
    )
    did = f"{_PREFIX}sha256:{_base64url(certificates[-1].fingerprint(hashes.SHA256()))}"
    did += f"::subject{pins}" if pins else ""
    did += f"::eku:{eku}" if eku else ""
    return resolve_x509(did, chain=tuple(chain)).did


def did_jwk_for(key: ec.EllipticCurvePublicKey) -> str:
    """Return the did:jwk of a P-256 key.

    Raises:
        IdentityError: If the key is on another curve.
    """
    if key.curve.name != "secp256r1":
        raise IdentityError("did:jwk curve", expected="P-256", got=key.curve.name)
    point = key.public_numbers()
    x, y = (_base64url(each.to_bytes(32, "big")) for each in (point.x, point.y))
    jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    return "did:jwk:" + _base64url(json.dumps(jwk, separators=(",", ":")).encode())


def _resolve_jwk(did: str) -> ec.EllipticCurvePublicKey:
    encoded = did.removeprefix("did:jwk:")
    try:
        jwk = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        x, y = (base64.urlsafe_b64decode(jwk[name] + "=") for name in ("x", "y"))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise IdentityError("did:jwk", expected="a P-256 key", got=did[:200]) from error
    # One spelling only: members crv, kty, x, y in this order, no spaces, nothing else (no private
    # part).
    if did_jwk_for(key) != did:
        raise IdentityError("did:jwk", expected=did_jwk_for(key), got=did[:200])
    return key


def _split_x509(did: str) -> tuple[str, str, list[tuple[str, str]]]:
    if "?" in did or "/" in did:
        raise IdentityError("did:x509", expected="no path and no query", got=did[:MAX_DID])
    head, *parts = did.split("::")
    match head.removeprefix(_PREFIX).split(":"):
        case [algorithm, fingerprint] if head.startswith(_PREFIX):
            pass
        case _:
            raise IdentityError(
                "did:x509", expected=f"{_PREFIX}<hash>:<fingerprint>::<policy>", got=did[:MAX_DID]
            )
    if algorithm not in _FINGERPRINTS:
        raise IdentityError(
            "fingerprint algorithm", expected=" or ".join(_FINGERPRINTS), got=algorithm
        )
    policies = []
    for part in parts:
        name, _, value = part.partition(":")
        if name not in _POLICIES or not value:
            raise IdentityError("did:x509 policy", expected=" or ".join(_POLICIES), got=part)
        policies.append((name, value))
    if not policies:
        raise IdentityError("did:x509", expected="at least one policy", got="none")
    return algorithm, fingerprint, policies


def _check_subject(leaf: x509.Certificate, value: str) -> None:
    items = value.split(":")
    if len(items) % 2:
        raise IdentityError("subject policy", expected="pairs of field and value", got=value)
    fields = items[::2]
    if len(set(fields)) != len(fields):
        raise IdentityError("subject policy", expected="each field once", got=value)
    for field, encoded in zip(fields, items[1::2], strict=True):
        wanted, got = _unquote(encoded), _subject_value(leaf, field)
        if got != wanted:
            raise IdentityError(f"subject {field}", expected=repr(wanted), got=repr(got))


def _subject_value(leaf: x509.Certificate, field: str) -> str:
    """The one value of that field: several of one kind would leave open which is meant."""
    if field in _SUBJECT_FIELDS:
        oid = _SUBJECT_FIELDS[field]
    elif _DOTTED.match(field):
        oid = _oid(field)
    else:
        raise IdentityError(
            "subject field", expected=f"{', '.join(_SUBJECT_FIELDS)} or an OID", got=field
        )
    match leaf.subject.get_attributes_for_oid(oid):
        case [attribute] if isinstance(attribute.value, str):
            return attribute.value
        case attributes:
            raise IdentityError(f"subject {field}", expected="one text value", got=len(attributes))


def _check_san(leaf: x509.Certificate, value: str) -> None:
    kind, _, encoded = value.partition(":")
    if kind not in _SAN_TYPES:
        raise IdentityError("san policy", expected=" or ".join(_SAN_TYPES), got=kind)
    wanted = _unquote(encoded)
    names = extension(leaf, x509.SubjectAlternativeName)
    got = names.get_values_for_type(_SAN_TYPES[kind]) if names else []
    if wanted not in got:
        raise IdentityError(f"subject alternative name {kind}", expected=wanted, got=got)


def _check_eku(leaf: x509.Certificate, value: str) -> None:
    wanted, usages = _oid(value), extension(leaf, x509.ExtendedKeyUsage)
    got = [usage.dotted_string for usage in usages or ()]
    if wanted.dotted_string not in got:
        raise IdentityError("extended key usage", expected=value, got=got)


def _check_fulcio_issuer(leaf: x509.Certificate, value: str) -> None:
    wanted = "https://" + _unquote(value)
    try:
        found = leaf.extensions.get_extension_for_oid(_FULCIO_ISSUER).value
    except x509.ExtensionNotFound:
        raise IdentityError("fulcio issuer", expected=wanted, got="no such extension") from None
    got = found.value if isinstance(found, x509.UnrecognizedExtension) else b""
    if got != wanted.encode():
        raise IdentityError("fulcio issuer", expected=wanted, got=got[:200])


_POLICIES = {
    "subject": _check_subject,
    "san": _check_san,
    "eku": _check_eku,
    "fulcio-issuer": _check_fulcio_issuer,
}


def _oid(text: str) -> x509.ObjectIdentifier:
    try:
        if _DOTTED.match(text):
            return x509.ObjectIdentifier(text)
    except ValueError:
        pass
    raise IdentityError("object identifier", expected="dotted numbers", got=text)


def _quote(text: str) -> str:
    return quote(text, safe="").replace("~", "%7E")


def _unquote(text: str) -> str:
    """Decode a policy value; refuse every other spelling of the same text."""
    if _VALUE.match(text):
        try:
            value = unquote(text, errors="strict")
        except UnicodeDecodeError as error:
            raise IdentityError("did:x509 value", expected="UTF-8", got=text) from error
        if _quote(value) == text:
            return value
    raise IdentityError(
        "did:x509 value", expected="letters, digits, '.', '_', '-', or %XX", got=text
    )


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
