"""An attestation service that speaks the protocol of Microsoft Azure Attestation for SEV-SNP.

It really verifies: chain to a believed root, signature, chip, firmware level, runtime data,
firmware endorsement. Like
the real one it refuses evidence that does not hold and reports what does as claims; whether a
debuggable guest may have
a key is for release policies.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from deploy.local.keyfile import read_key, write_key, write_private
from policies.attestation import der
from policies.attestation.amd import AMD_ROOTS
from policies.attestation.release_policy import COMPLIANT_UVM
from policies.attestation.report import Report
from policies.attestation.runtime import MAX_RUNTIME_BYTES, decode_base64url, report_data_of
from policies.attestation.snp import VerifiedReport, verify_report
from policies.attestation.uvm import MICROSOFT_UVM, Endorser, verify_endorsement
from policies.errors import DocumentError, EvidenceError
from policies.wire.base import load_json

MAX_REQUEST_BYTES: Final = 256 * 1024
LIFETIME: Final = timedelta(hours=8)
_POLICY: Final = "version=1.0;authorizationrules{=>permit();};issuancerules{};"
_PREFIX: Final = "x-ms-sevsnpvm-"


@dataclass(frozen=True)
class TokenKey:
    """The key that signs tokens, and its self-signed certificate."""

    key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def kid(self) -> str:
        """Base64 of the certificate's SHA-256."""
        return base64.b64encode(self.certificate.fingerprint(SHA256())).decode()


def token_key(home: Path, *, issuer: str, now: datetime) -> TokenKey:
    """Return the service's key, made on first use. The certificate's subject is the issuer."""
    files = home / "token-key.pem", home / "token.pem"
    if not files[1].exists():
        made = make_token_key(issuer, now=now)
        write_key(files[0], made.key)
        write_private(files[1], made.certificate.public_bytes(Encoding.PEM))
    key = read_key(files[0])
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("tokens are signed with RSA")
    return TokenKey(key, x509.load_pem_x509_certificate(files[1].read_bytes()))


def make_token_key(issuer: str, *, now: datetime) -> TokenKey:
    """Return a new key with a self-signed certificate."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, SHA256())
    )
    return TokenKey(key, certificate)


def create_app(
    issuer: str,
    *,
    key: TokenKey,
    roots: Mapping[str, str] = AMD_ROOTS,
    endorsers: Collection[Endorser] = (MICROSOFT_UVM,),
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """Return the service.

    Args:
        issuer: Its URL, which is `iss` of its tokens.
        key: What signs them.
        roots: Roots of report signing keys, see `policies.attestation.amd.verify_chain`.
        endorsers: Who is believed about firmware.
        clock: Unix seconds.
    """
    app = FastAPI(title="Attestation", openapi_url=None)

    @app.post("/attest/{kind}")
    async def attest(kind: str, request: Request) -> JSONResponse:
        # Clients spell the kind in two ways.
        if kind.lower() != "sevsnpvm":
            return _error(404, "NotFound", f"evidence of kind {kind[:40]} is not attested here")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_REQUEST_BYTES:
                return _error(413, "RequestTooLarge", f"at most {MAX_REQUEST_BYTES} bytes")
        now = datetime.fromtimestamp(clock(), UTC)
        try:
            claims = await run_in_threadpool(
                attest_snp, body, now=now, roots=roots, endorsers=endorsers
            )
        except DocumentError as error:
            return _error(400, "InvalidParameter", str(error))
        except EvidenceError as error:
            return _error(400, "AttestationFailed", str(error))
        return JSONResponse({"token": sign_token(claims, issuer=issuer, key=key, now=now)})

    @app.get("/certs")
    async def certs() -> JSONResponse:
        return JSONResponse(json.loads(key_set(key)))

    @app.get("/.well-known/openid-configuration")
    async def configuration() -> JSONResponse:
        return JSONResponse(describe(issuer))

    return app


def describe(issuer: str) -> dict[str, Any]:
    """Return the service's OpenID metadata."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/certs",
        "response_types_supported": ["token", "none"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["iss", "exp", "iat", "nbf", "jti", "x-ms-runtime"],
    }


def key_set(key: TokenKey) -> bytes:
    """Return the service's JWKS; like the real one it carries certificates, not `n` and `e`."""
    encoded = base64.b64encode(key.certificate.public_bytes(Encoding.DER)).decode()
    entry = {"kid": key.kid, "kty": "RSA", "use": "sig", "alg": "RS256", "x5c": [encoded]}
    return json.dumps({"keys": [entry]}).encode()


def sign_token(claims: Mapping[str, Any], *, issuer: str, key: TokenKey, now: datetime) -> str:
    """Return a token for verified claims."""
    issued = int(now.timestamp())
    payload = {
        "iss": issuer,
        "iat": issued,
        "nbf": issued,
        "exp": issued + int(LIFETIME.total_seconds()),
        "jti": secrets.token_hex(32),
        "x-ms-ver": "1.0",
        **claims,
    }
    header = {"jku": f"{issuer}/certs", "kid": key.kid}
    return jwt.encode(payload, key.key, algorithm="RS256", headers=header)


def attest_snp(
    body: bytes, *, now: datetime, roots: Mapping[str, str], endorsers: Collection[Endorser]
) -> dict[str, Any]:
    """Return the claims for a request of kind SevSnpVm.

    Raises:
        DocumentError: if the request is not one.
        EvidenceError: if the evidence does not hold.
    """
    request = _object(load_json(body, kind="request", limit=MAX_REQUEST_BYTES), "request")
    evidence = _embedded(request.get("report"), "report")
    runtime = _object(request.get("runtimeData"), "runtimeData")
    if runtime.get("dataType") != "JSON":
        raise EvidenceError("runtimeData.dataType", expected="JSON", got=runtime.get("dataType"))
    runtime_data = decode_base64url(runtime.get("data"), claim="runtimeData.data")
    verified = verify_report(
        decode_base64url(evidence.get("SnpReport"), claim="SnpReport"),
        chain=der.pem_certificates(
            decode_base64url(evidence.get("VcekCertChain"), claim="VcekCertChain")
        ),
        now=now,
        roots=roots,
    )
    expected = report_data_of(runtime_data)
    if verified.report.report_data != expected:
        raise EvidenceError(
            "report_data", expected=expected.hex(), got=verified.report.report_data.hex()
        )
    claims = _claims(verified)
    claims["x-ms-runtime"] = _object(
        load_json(runtime_data, kind="runtime data", limit=MAX_RUNTIME_BYTES), "runtimeData"
    )
    if evidence.get("Endorsements"):
        _verify_firmware(evidence["Endorsements"], report=verified.report, endorsers=endorsers)
        claims["x-ms-compliance-status"] = COMPLIANT_UVM
    if request.get("nonce") is not None:
        claims["nonce"] = str(request["nonce"])
    return claims


def _verify_firmware(value: object, *, report: Report, endorsers: Collection[Endorser]) -> None:
    statements = _embedded(value, "Endorsements").get("Uvm")
    if not isinstance(statements, list) or len(statements) != 1:
        raise EvidenceError(
            "Endorsements.Uvm", expected="one endorsement", got=type(statements).__name__
        )
    verify_endorsement(
        decode_base64url(statements[0], claim="Endorsements.Uvm"),
        measurement=report.measurement,
        endorsers=endorsers,
    )


def _claims(verified: VerifiedReport) -> dict[str, Any]:
    report, tcb = verified.report, verified.reported_tcb
    values = {
        "authorkeydigest": report.author_key_digest.hex(),
        "bootloader-svn": tcb.bootloader,
        "familyId": report.family_id.hex(),
        "guestsvn": report.guest_svn,
        "hostdata": report.host_data.hex(),
        "idkeydigest": report.id_key_digest.hex(),
        "imageId": report.image_id.hex(),
        "is-debuggable": report.debug_allowed,
        "launchmeasurement": report.measurement.hex(),
        "microcode-svn": tcb.microcode,
        "migration-allowed": report.migration_allowed,
        "reportdata": report.report_data.hex(),
        "reportid": report.report_id.hex(),
        "smt-allowed": report.smt_allowed,
        "snpfw-svn": tcb.snp,
        "tee-svn": tcb.tee,
        "vmpl": report.vmpl,
    }
    policy = base64.urlsafe_b64encode(_POLICY.encode()).rstrip(b"=")
    digest = base64.urlsafe_b64encode(hashlib.sha256(policy).digest()).rstrip(b"=")
    return {
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-policy-hash": digest.decode(),
        **{_PREFIX + name: value for name, value in values.items()},
    }


def _embedded(value: object, claim: str) -> dict[str, Any]:
    data = decode_base64url(value, claim=claim)
    return _object(load_json(data, kind=claim, limit=MAX_REQUEST_BYTES), claim)


def _object(value: object, claim: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EvidenceError(claim, expected="a JSON object", got=type(value).__name__)
    return cast("dict[str, Any]", value)


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)
