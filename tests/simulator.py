"""Simulated hardware, attestation service and key vault in this process, for every test that needs
evidence.

Nothing here is a stand-in for our own interfaces: it is the local stack, with times and claims that
a test may bend. Keys are made once a session.
"""

from __future__ import annotations

import atexit
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from clients.api.attestation import snp_request
from clients.api.transport import PartyCredential
from deploy.local.attestation import TokenKey, attest_snp, key_set, make_token_key, sign_token
from deploy.local.hardware import ReportFields, UnsafeSimulatedMachine
from ledger.did import did_x509_for
from policies.attestation.maa import EvidenceClaims, signing_keys, verify_token
from policies.attestation.runtime import decode_base64url, report_data_of
from policies.errors import EvidenceError
from trainer.keys import RoomKeys

NOW: Final = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
ISSUER: Final = "https://127.0.0.1:7443"
HOST_DATA: Final = "5c" * 32
CONTRACT: Final = "sha256:" + "c0" * 32
PIPELINE: Final = "sha256:" + "d1" * 32
RUN: Final = "run-" + "a" * 26
NONCE: Final = "A" * 43


@cache
def machine() -> UnsafeSimulatedMachine:
    """Return the session's simulated machine."""
    folder = tempfile.TemporaryDirectory(prefix="depa-machine-")
    atexit.register(folder.cleanup)
    return UnsafeSimulatedMachine(Path(folder.name), now=NOW - timedelta(days=1))


def token_key(issuer: str = ISSUER) -> TokenKey:
    """Return the session's key of an attestation service."""
    return _token_key(issuer)


@cache
def _token_key(issuer: str) -> TokenKey:
    return make_token_key(issuer, now=NOW - timedelta(days=1))


@cache
def room_keys() -> RoomKeys:
    """Return the session's keys of a clean room."""
    return RoomKeys.make()


@dataclass(frozen=True)
class Evidence:
    """Evidence of one clean room, to be bent with `dataclasses.replace`."""

    host_data: str = HOST_DATA
    contract: str = CONTRACT
    run: str = RUN
    pipeline: str = PIPELINE
    nonce: str = NONCE
    keys: RoomKeys = field(default_factory=room_keys)
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the report: `policy`, `vmpl`, `measurement`, see `ReportFields`."""

    def runtime_data(self) -> bytes:
        """Return the JSON that the report vouches for."""
        return self.keys.runtime_data(
            contract=self.contract, run=self.run, pipeline=self.pipeline, nonce=self.nonce
        )

    def report(self) -> bytes:
        """Return the signed report."""
        values = {
            "report_data": report_data_of(self.runtime_data()),
            "host_data": bytes.fromhex(self.host_data),
            **self.fields,
        }
        return machine().sign_report(ReportFields(**values))

    def request(self) -> bytes:
        """Return the request to the attestation service."""
        return snp_request(
            report=self.report(),
            certs_pem=machine().certificates,
            uvm=(machine().endorsement,),
            runtime_data=self.runtime_data(),
            nonce="1",
        )

    def claims(self, *, now: datetime = NOW) -> dict[str, Any]:
        """Return what the attestation service would vouch for."""
        return attest_snp(
            self.request(), now=now, roots=machine().roots, endorsers=(machine().endorser,)
        )

    def token(self, *, now: datetime = NOW, issuer: str = ISSUER) -> str:
        """Return the attestation service's token."""
        return sign_token(self.claims(now=now), issuer=issuer, key=token_key(issuer), now=now)


def mint_token(
    *, issuer: str = ISSUER, now: datetime = NOW, key: TokenKey | None = None, **claims: Any
) -> str:
    """Return a token with any claims: those of honest evidence, replaced by `claims`.

    Names of claims are written with underscores (`x_ms_compliance_status`,
    `x_ms_sevsnpvm_hostdata`, `iss`); None removes one.
    """
    values = {
        **_honest_claims(),
        **{name.replace("_", "-"): value for name, value in claims.items()},
    }
    kept = {name: value for name, value in values.items() if value is not None}
    return sign_token(kept, issuer=issuer, key=key or token_key(issuer), now=now)


@cache
def _honest_claims() -> Mapping[str, Any]:
    return Evidence().claims()


def authorities(*issuers: str) -> dict[str, Mapping[str, rsa.RSAPublicKey]]:
    """Return the keys of attestation services, as `policies.attestation.maa.verify_token` wants
    them."""
    return {name: signing_keys(key_set(token_key(name))) for name in issuers or (ISSUER,)}


@dataclass(frozen=True)
class SimulatedVerifier:
    """Verifies tokens of configured authorities without a network."""

    issuers: tuple[str, ...] = (ISSUER,)

    def verify(self, token: str, *, now: datetime) -> EvidenceClaims:
        """Return what the token proves, or raise EvidenceError."""
        return verify_token(token, authorities=authorities(*self.issuers), now=now)


def evidence_claims(evidence: Evidence | None = None, *, now: datetime = NOW) -> EvidenceClaims:
    """Return the verified claims of evidence."""
    return SimulatedVerifier().verify((evidence or Evidence()).token(now=now), now=now)


@cache
def party(name: str) -> PartyCredential:
    """Return the credential of a made-up party, with a root of its own and a did:x509."""
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate(f"{name} root", name, root_key, issuer=None, issuer_key=root_key, ca=True)
    leaf = _certificate(name, name, leaf_key, issuer=root, issuer_key=root_key, ca=False)
    chain = tuple(item.public_bytes(Encoding.DER) for item in (leaf, root))
    return PartyCredential(did=did_x509_for(chain), key=leaf_key, chain=(leaf, root))


def _certificate(
    common_name: str,
    organisation: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    ca: bool,
) -> x509.Certificate:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, SHA256())
    )


def refusal(action: Callable[[], object]) -> str:
    """Return which claim an action is refused for."""
    try:
        action()
    except EvidenceError as error:
        return error.claim
    raise AssertionError("nothing was refused")


def bend(evidence: Evidence | None = None, **changes: Any) -> Evidence:
    """Return evidence with some things changed."""
    return replace(evidence or Evidence(), **changes)


def decode_part(token: str, index: int) -> dict[str, Any]:
    """Return header (0) or payload (1) of a token, unverified."""
    value: dict[str, Any] = json.loads(decode_base64url(token.split(".")[index], claim="token"))
    return value
