"""Which party is calling, by a token that its own key signed for this one request.

A party's token is accepted if
1. it is a JWT by ES256, with its certificate chain (`x5c`, leaf first) in the header,
2. the chain resolves to `iss`, a did:x509, and is valid now,
3. the leaf's key signed it,
4. `aud` is this service's origin, it was issued, and it expires within five minutes,
5. its `jti` was never seen before.

What a caller may do is decided where it is done.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import delete
from sqlmodel import col

from contract_service.database import Database, insert_once
from contract_service.parties.tables import PartyRow, UsedTokenRow
from contract_service.problems import UnauthenticatedError
from ledger.chain import MAX_CHAIN, check_chain_validity
from ledger.did import resolve_did
from ledger.errors import LedgerError

MAX_TOKEN_BYTES: Final = 16 * 1024
MAX_LIFETIME_SECONDS: Final = 300
_SKEW_SECONDS: Final = 30
_HINT: Final = "tokens are signed with the party's own key for one request; see the reference"
_REQUIRED: Final = ("iss", "aud", "iat", "exp", "jti")


@dataclass(frozen=True)
class Caller:
    """A party that has proven who it is."""

    did: str
    name: str
    """Organisation or common name of its certificate."""


@dataclass(frozen=True)
class VerifiedToken:
    """What a token proves, whether or not it was used before."""

    caller: Caller
    token_id: str
    expires_at: int


def authenticate(token: str, *, database: Database, audience: str, now: int) -> Caller:
    """Return the party that signed `token` and mark the token as used.

    Raises:
        UnauthenticatedError: with the reason; the token is never part of it.
    """
    proven = verify_token(token, audience=audience, now=now)
    _use_once(database, proven, now=now)
    return proven.caller


def verify_token(token: str, *, audience: str, now: int) -> VerifiedToken:
    """Return what a token proves, whether or not it was used before.

    Raises:
        UnauthenticatedError: with the reason.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise _refused("token-too-large", f"the token is larger than {MAX_TOKEN_BYTES} bytes")
    try:
        header = jwt.get_unverified_header(token)
        unverified = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise _refused("token-malformed", "the token is not a JWT") from None
    if header.get("alg") != "ES256":
        raise _refused("token-algorithm", f"expected ES256, got {str(header.get('alg'))[:20]}")
    chain = _chain(header)
    key = _key(unverified.get("iss"), chain, now=now)
    claims = _claims(token, key, audience=audience, now=now)
    return VerifiedToken(
        Caller(did=claims["iss"], name=_name(chain[0])),
        token_id=hashlib.sha256(f"{claims['iss']}\n{claims['jti']}".encode()).hexdigest(),
        expires_at=claims["exp"],
    )


def _chain(header: dict[str, Any]) -> tuple[bytes, ...]:
    entries = header.get("x5c")
    if not isinstance(entries, list) or not 2 <= len(entries) <= MAX_CHAIN:
        raise _refused("token-chain", f"x5c: expected 2 to {MAX_CHAIN} certificates")
    try:
        return tuple(base64.b64decode(entry, validate=True) for entry in entries)
    except (TypeError, ValueError, binascii.Error):
        raise _refused("token-chain", "x5c: expected base64 of DER certificates") from None


def _key(issuer: object, chain: tuple[bytes, ...], *, now: int) -> ec.EllipticCurvePublicKey:
    if not isinstance(issuer, str) or not issuer.startswith("did:x509:"):
        raise _refused("token-issuer", "iss: expected a did:x509")
    try:
        key = resolve_did(issuer, x5chain=chain)
        check_chain_validity(chain, at=now)
    except LedgerError as error:
        raise _refused("token-chain", str(error)) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _refused("token-algorithm", "the certificate's key is not P-256")
    return key


def _claims(
    token: str, key: ec.EllipticCurvePublicKey, *, audience: str, now: int
) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["ES256"],
            audience=audience,
            # The clock is an argument here, which the library does not offer; see below.
            options={
                "require": list(_REQUIRED),
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "strict_aud": True,
            },
        )
    except jwt.InvalidAudienceError:
        raise _refused("token-audience", f"aud: expected {audience}") from None
    except jwt.MissingRequiredClaimError as error:
        raise _refused("token-claims", f"{error.claim} is missing") from None
    except jwt.InvalidSignatureError:
        raise _refused("token-signature", "the signature is not by the certificate's key") from None
    except jwt.InvalidTokenError:
        raise _refused("token-malformed", "the token's claims are malformed") from None
    issued, expires, token_id = claims["iat"], claims["exp"], claims["jti"]
    if type(issued) is not int or type(expires) is not int:
        raise _refused("token-claims", "iat and exp: expected whole seconds")
    if not isinstance(token_id, str) or not 8 <= len(token_id) <= 128:
        raise _refused("token-claims", "jti: expected 8 to 128 characters")
    if now >= expires:
        raise _refused("token-expired", f"it expired {now - expires} seconds ago")
    if issued > now + _SKEW_SECONDS:
        raise _refused("token-early", f"it is issued {issued - now} seconds in the future")
    if expires - issued > MAX_LIFETIME_SECONDS or expires > now + MAX_LIFETIME_SECONDS:
        raise _refused("token-lifetime", f"it lives longer than {MAX_LIFETIME_SECONDS} seconds")
    return claims


def _use_once(database: Database, proven: VerifiedToken, *, now: int) -> None:
    caller = proven.caller
    with database.write() as session:
        session.execute(delete(UsedTokenRow).where(col(UsedTokenRow.expires_at) < now))
        used = UsedTokenRow(digest=proven.token_id, expires_at=proven.expires_at)
        if not insert_once(session, used):
            raise _refused("token-replayed", "this token was used before")
        insert_once(
            session,
            PartyRow(did=caller.did, name=caller.name, first_seen_at=now, last_seen_at=now),
        )
        party = session.get_one(PartyRow, caller.did)
        party.name, party.last_seen_at = caller.name, now
        session.add(party)


def _name(leaf: bytes) -> str:
    subject = x509.load_der_x509_certificate(leaf).subject
    for oid in (x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COMMON_NAME):
        for attribute in subject.get_attributes_for_oid(oid):
            text = "".join(c for c in str(attribute.value) if c.isprintable())[:200]
            if text:
                return text
    return "unnamed"


def _refused(slug: str, message: str) -> UnauthenticatedError:
    return UnauthenticatedError(slug, message, hint=_HINT)
