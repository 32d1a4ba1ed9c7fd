"""The HTTPS client that all typed clients share: one TLS root, short tokens, few retries.

A party proves who it is with a JWT that its own key signs for one request: `iss` is its DID, `aud`
the service's origin, `exp` at most five minutes away and `jti` never used again. Only requests
that change nothing are retried, because a second key release is not the same as the first.
"""

from __future__ import annotations

import base64
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2
import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from clients.api.errors import NetworkError, ProblemDocument, service_error
from policies.wire.base import load_json

TOKEN_SECONDS = 120
MAX_TOKEN_SECONDS = 300
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_ATTEMPTS = 3
_BACKOFF_SECONDS = 0.2
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
_JSON = "application/json"


class Credential(Protocol):
    """Whatever can authorise one request."""

    def bearer(self, *, audience: str, now: float) -> str:
        """Return a token for one request to `audience` at `now` (Unix seconds)."""
        ...


@dataclass(frozen=True)
class PartyCredential:
    """A party's own key and certificate chain."""

    did: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]
    """Leaf first, root last."""

    def bearer(self, *, audience: str, now: float) -> str:
        """Sign a token that is good for one request within two minutes."""
        claims = {
            "iss": self.did,
            "aud": audience,
            "iat": int(now),
            "exp": int(now) + TOKEN_SECONDS,
            "jti": secrets.token_urlsafe(24),
        }
        x5c = [base64.b64encode(cert.public_bytes(Encoding.DER)).decode() for cert in self.chain]
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"x5c": x5c})


@dataclass(frozen=True)
class RunToken:
    """The capability of one clean room for one run."""

    value: str = field(repr=False)

    def bearer(self, *, audience: str, now: float) -> str:
        """Return the capability; it does not depend on audience or time."""
        del audience, now
        return self.value


def origin_of(url: str) -> str:
    """Return scheme and authority of a URL, which is the audience of tokens."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a verifying TLS context that trusts `ca_file`, or the system's roots without one.

    Raises:
        NetworkError: If the file cannot be read, or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        raise NetworkError(
            f"{ca_file}: {error.strerror or error}", hint="name a PEM file of certificates"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Transport:
    """Sends requests to one origin and turns problem documents into exceptions.

    Args:
        url: Base URL; its origin is the audience of tokens.
        credential: Who asks; None for what anyone may read.
        http: A configured client, such as an ASGI test client; otherwise one is built over TLS.
        ca_file: PEM of the certificate authority that the service's TLS certificate chains to.
    """

    def __init__(
        self,
        url: str,
        *,
        credential: Credential | None = None,
        http: httpx2.Client | None = None,
        ca_file: Path | None = None,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._audience = origin_of(self.url)
        self._credential = credential
        self._http = http or httpx2.Client(verify=tls_context(ca_file), timeout=_TIMEOUT)
        self._clock = clock
        self._pause = pause

    def get(
        self, path: str, *, params: Mapping[str, str] | None = None, accept: str = _JSON
    ) -> bytes:
        """Return the body of a resource; three attempts while the network fails."""
        for attempt in range(_ATTEMPTS):
            try:
                return self._send("GET", path, params=params, accept=accept)
            except NetworkError:
                if attempt == _ATTEMPTS - 1:
                    raise
                self._pause(_BACKOFF_SECONDS * 2**attempt)
        raise AssertionError("the loop returns or raises")

    def get_json(self, path: str, *, params: Mapping[str, str] | None = None) -> Any:
        """Return a resource as parsed JSON."""
        body = self.get(path, params=params)
        return load_json(body, kind="answer", limit=MAX_ANSWER_BYTES)

    def post(
        self, path: str, body: bytes = b"", *, content_type: str = _JSON, accept: str = _JSON
    ) -> bytes:
        """Send a body once and return the answer's; never retried."""
        return self._send("POST", path, body=body, content_type=content_type, accept=accept)

    def post_json(self, path: str, body: bytes = b"", *, content_type: str = _JSON) -> Any:
        """Send a body once and return the answer as parsed JSON."""
        answer = self.post(path, body, content_type=content_type)
        return load_json(answer, kind="answer", limit=MAX_ANSWER_BYTES)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        accept: str,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str | None = None,
    ) -> bytes:
        headers = {"Accept": accept}
        if content_type is not None:
            headers["Content-Type"] = content_type
        if self._credential is not None:
            token = self._credential.bearer(audience=self._audience, now=self._clock())
            headers["Authorization"] = f"Bearer {token}"
        try:
            answer = self._http.request(
                method, self.url + path, params=params, content=body, headers=headers
            )
        except httpx2.HTTPError as error:
            raise NetworkError(
                f"{method} {self.url}{path} failed: {type(error).__name__}: {error}",
                hint="check the service's address and its TLS certificate authority",
            ) from error
        if answer.is_success:
            return answer.content
        raise service_error(_problem(answer))


def _problem(answer: httpx2.Response) -> ProblemDocument:
    try:
        value = answer.json()
    except ValueError:
        value = None
    return ProblemDocument.from_json(value, status=answer.status_code)
