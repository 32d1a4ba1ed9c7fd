"""A client of Microsoft Azure Attestation: evidence in, token out; and the keys that verify tokens.

Neither call needs an account. A token is only forwarded here: whoever relies on it verifies it with
`policies.attestation.maa`.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives.asymmetric import rsa

from clients.api.errors import NetworkError, ProblemDocument, RefusedError, UntrustedAnswerError
from clients.api.transport import tls_context
from policies.attestation.maa import (
    MAX_AGE,
    MAX_JWKS_BYTES,
    MAX_TOKEN_BYTES,
    EvidenceClaims,
    signing_keys,
    unverified_source,
    verify_token,
)
from policies.attestation.runtime import encode_base64url
from policies.errors import DocumentError
from policies.wire.base import load_json

API_VERSION: Final = "2022-08-01"
_TIMEOUT: Final = httpx2.Timeout(60.0, connect=10.0)
_REFRESH_SECONDS: Final = 3600.0
_UNKNOWN_KEY_SECONDS: Final = 30.0


def snp_request(
    *, report: bytes, certs_pem: bytes, uvm: tuple[bytes, ...], runtime_data: bytes, nonce: str
) -> bytes:
    """Return the body of `POST /attest/SevSnpVm`."""
    evidence = {
        "SnpReport": encode_base64url(report),
        "VcekCertChain": encode_base64url(certs_pem),
        "Endorsements": encode_base64url(
            json.dumps({"Uvm": [encode_base64url(statement) for statement in uvm]}).encode()
        ),
    }
    return json.dumps(
        {
            "report": encode_base64url(json.dumps(evidence).encode()),
            "runtimeData": {"data": encode_base64url(runtime_data), "dataType": "JSON"},
            "nonce": nonce,
        }
    ).encode()


def attest_snp(
    url: str,
    *,
    report: bytes,
    certs_pem: bytes,
    uvm: tuple[bytes, ...],
    runtime_data: bytes,
    ca_file: Path | None = None,
    http: httpx2.Client | None = None,
) -> str:
    """Return the authority's token for a report.

    Args:
        url: The authority, which is also the issuer of its tokens.
        report: The 1184 bytes, over the SHA-256 of `runtime_data`.
        certs_pem: Chain of the key that signed the report.
        uvm: Endorsements of the firmware.
        runtime_data: JSON.
        ca_file: PEM of the root of the authority's TLS certificate; the system's roots without it.
        http: A configured client, such as an ASGI test client.

    Raises:
        NetworkError: if the authority does not answer.
        RefusedError: if the evidence does not hold.
        UntrustedAnswerError: if the answer is no token.
    """
    body = snp_request(
        report=report,
        certs_pem=certs_pem,
        uvm=uvm,
        runtime_data=runtime_data,
        nonce=str(secrets.randbits(64)),
    )
    answer = _send(
        "POST",
        f"{url.rstrip('/')}/attest/SevSnpVm?api-version={API_VERSION}",
        body=body,
        ca_file=ca_file,
        http=http,
        limit=2 * MAX_TOKEN_BYTES,
    )
    token = _object(answer).get("token")
    if not isinstance(token, str) or token.count(".") != 2 or len(token) > MAX_TOKEN_BYTES:
        raise UntrustedAnswerError("attestation", expected="a token", got=type(token).__name__)
    return token


class AuthorityKeys:
    """The signing keys of configured authorities, fetched from their own `/certs` and nowhere else.

    What a token says about where its keys are is not read. Keys are fetched again after an hour,
    and when a key is unknown, but not more often than every thirty seconds.

    Args:
        ca_files: Issuer URL to the PEM of its TLS root; None for the system's roots.
        clock: Monotonic seconds.
        http: A configured client, such as an ASGI test client.
    """

    def __init__(
        self,
        ca_files: Mapping[str, Path | None],
        *,
        clock: Callable[[], float] = time.monotonic,
        http: httpx2.Client | None = None,
    ) -> None:
        self._ca_files = dict(ca_files)
        self._clock = clock
        self._http = http
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[float, Mapping[str, rsa.RSAPublicKey]]] = {}

    @property
    def issuers(self) -> frozenset[str]:
        """The authorities that are believed."""
        return frozenset(self._ca_files)

    def verify(self, token: str, *, now: datetime, max_age: timedelta = MAX_AGE) -> EvidenceClaims:
        """Return what a configured authority vouches for, see `policies.attestation.maa`.

        Raises:
            EvidenceError: if the token does not hold.
            NetworkError: if the authority's keys cannot be fetched.
        """
        issuer, kid = unverified_source(token)
        none: Mapping[str, rsa.RSAPublicKey] = {}
        authorities = {
            name: self.keys(name, kid=kid) if name == issuer else none for name in self._ca_files
        }
        return verify_token(token, authorities=authorities, now=now, max_age=max_age)

    def keys(self, issuer: str, *, kid: str | None = None) -> Mapping[str, rsa.RSAPublicKey]:
        """Return an authority's keys by `kid`; an issuer that is not configured has none.

        Raises:
            NetworkError: if they cannot be fetched and none are known.
            EvidenceError: if what is served there is no key set.
        """
        if issuer not in self._ca_files:
            return MappingProxyType({})
        with self._lock:
            fetched_at, known = self._keys.get(issuer, (None, None))
            age = self._clock() - fetched_at if fetched_at is not None else _REFRESH_SECONDS
            unknown = kid is not None and known is not None and kid not in known
            if known is not None and age < (_UNKNOWN_KEY_SECONDS if unknown else _REFRESH_SECONDS):
                return known
            fresh = signing_keys(
                _send(
                    "GET",
                    f"{issuer}/certs",
                    body=None,
                    ca_file=self._ca_files[issuer],
                    http=self._http,
                    limit=MAX_JWKS_BYTES,
                )
            )
            self._keys[issuer] = (self._clock(), fresh)
            return fresh


def _send(
    method: str,
    url: str,
    *,
    body: bytes | None,
    ca_file: Path | None,
    http: httpx2.Client | None,
    limit: int,
) -> bytes:
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    client = http or httpx2.Client(verify=tls_context(ca_file), timeout=_TIMEOUT)
    try:
        answer = client.request(method, url, content=body, headers=headers, follow_redirects=False)
    except httpx2.HTTPError as error:
        raise NetworkError(
            f"{method} {url} failed: {type(error).__name__}: {error}",
            hint="check the authority's address and its TLS certificate authority",
        ) from error
    finally:
        if http is None:
            client.close()
    if not answer.is_success:
        raise _refusal(answer)
    if len(answer.content) > limit:
        raise UntrustedAnswerError(
            "answer", expected=f"at most {limit} bytes", got=len(answer.content)
        )
    return answer.content


def _refusal(answer: httpx2.Response) -> NetworkError | RefusedError:
    # Not a problem document: {"error": {"code": ..., "message": ...}}
    try:
        error = _object(answer.content).get("error")
    except UntrustedAnswerError:
        error = None
    fields = error if isinstance(error, dict) else {}
    title, detail = str(fields.get("code", "")), str(fields.get("message", ""))
    if answer.is_server_error:
        return NetworkError(f"attestation: HTTP {answer.status_code} {title} {detail}".rstrip())
    value = {"type": "urn:depa:problem:evidence-refused", "title": title, "detail": detail}
    return RefusedError(ProblemDocument.from_json(value, status=answer.status_code))


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = load_json(data, kind="attestation answer", limit=2 * MAX_TOKEN_BYTES)
    except DocumentError as error:
        raise UntrustedAnswerError(
            "attestation", expected="JSON", got=str(error.problems[0])
        ) from None
    return value if isinstance(value, dict) else {}
