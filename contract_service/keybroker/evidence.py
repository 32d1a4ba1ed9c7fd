"""Evidence of a clean room: a token that verifies, and what it binds."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from clients.api.attestation import AuthorityKeys
from ledger.did import did_jwk_for
from policies.attestation import maa
from policies.attestation.maa import EvidenceClaims
from policies.attestation.runtime import Runtime, attested_runtime, decode_base64url
from policies.errors import EvidenceError
from policies.wire.contract import Contract


@dataclass(frozen=True)
class Evidence:
    """What is proven about a clean room."""

    token: str = field(repr=False)
    claims: EvidenceClaims
    runtime: Runtime

    @property
    def report_key(self) -> str:
        """did:jwk of the key that has to sign the run report."""
        jwk = self.runtime.report_key
        x, y = (
            int.from_bytes(decode_base64url(jwk[name], claim=f"report.{name}"), "big")
            for name in ("x", "y")
        )
        return did_jwk_for(ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())


class Authorities:
    """The keys of the attestation authorities that contracts name, each fetched from itself.

    Args:
        ca_file: PEM of the root of their TLS certificates; the system's roots without it.
        http: A configured client, such as an ASGI test client.
    """

    def __init__(self, *, ca_file: Path | None = None, http: httpx2.Client | None = None) -> None:
        self._ca_file = ca_file
        self._http = http
        self._lock = threading.Lock()
        self._known: dict[str, AuthorityKeys] = {}

    def keys(self, issuer: str) -> AuthorityKeys:
        """Return the keys of an authority."""
        with self._lock:
            if issuer not in self._known:
                self._known[issuer] = AuthorityKeys({issuer: self._ca_file}, http=self._http)
            return self._known[issuer]

    def verify(self, token: str, *, contract: Contract, now: int) -> Evidence:
        """Return what a token of one of the contract's authorities proves.

        Raises:
            EvidenceError: naming the claim that does not hold.
            NetworkError: if the authority's keys cannot be fetched.
        """
        issuer = maa.issuer_of(token)
        trusted = {}
        # Keys are fetched from where the contract says, never from where a token says.
        if issuer in contract.attestation.authorities:
            trusted[issuer] = self.keys(issuer).keys(issuer, kid=_kid(token))
        claims = maa.verify_token(
            token,
            authorities=trusted,
            now=datetime.fromtimestamp(now, UTC),
            max_age=timedelta(seconds=contract.attestation.max_token_age_seconds),
        )
        runtime = attested_runtime(claims.runtime, report_data=bytes.fromhex(claims.report_data))
        return Evidence(token=token, claims=claims, runtime=runtime)


def _kid(token: str) -> str | None:
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError:
        raise EvidenceError("token.header", expected="a JWT header", got="another") from None
    return kid if isinstance(kid, str) else None
