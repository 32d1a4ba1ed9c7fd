"""A party's key vault, through the unmodified client library of Azure Key Vault.

The same calls go to Azure, a Managed HSM or the embedded vault; what differs is the credential and
the root of the TLS certificate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.keyvault.keys import (
    JsonWebKey,
    KeyClient,
    KeyReleasePolicy,
    KeyVaultKey,
)
from cryptography.hazmat.primitives.asymmetric import rsa

from clients.api.errors import (
    ClientError,
    NetworkError,
    ProblemDocument,
    UntrustedAnswerError,
    service_error,
)
from clients.api.release import WRAP_ALGORITHM
from clients.api.transport import TOKEN_SECONDS, Credential

AUDIENCES: Final = frozenset({"https://vault.azure.net", "https://managedhsm.azure.net"})
_OPERATIONS: Final = ["wrapKey", "unwrapKey"]


class VaultCredential:
    """A party's own tokens, in the form that the client library asks for.

    The audience comes out of the vault's challenge, so that only those of vaults are signed: a
    vault must not get a token that is good somewhere else.
    """

    def __init__(self, credential: Credential, *, clock: Callable[[], float] = time.time) -> None:
        self._credential = credential
        self._clock = clock

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: Any,
    ) -> AccessToken:
        """Return a token for one request.

        Raises:
            UntrustedAnswerError: if the vault asks for a token of another service.
        """
        del claims, tenant_id, enable_cae, kwargs
        audience = scopes[0].removesuffix("/.default") if len(scopes) == 1 else str(scopes)
        if audience not in AUDIENCES:
            raise UntrustedAnswerError("challenge", expected=sorted(AUDIENCES), got=audience)
        now = self._clock()
        # The library asks again for each request, because it renews what has under 300 s left.
        return AccessToken(
            self._credential.bearer(audience=audience, now=now), int(now) + TOKEN_SECONDS
        )


@dataclass(frozen=True)
class StoredKey:
    """A key in a vault; its secret is not part of it."""

    kid: str
    name: str
    version: str
    kty: str
    enabled: bool
    exportable: bool
    release_policy: bytes | None
    public_key: rsa.RSAPublicKey | None


class VaultClient:
    """The keys of one vault.

    Args:
        url: Origin of the vault.
        credential: Who asks: `VaultCredential`, or one of `azure.identity`.
        ca_file: PEM of the root of the vault's TLS certificate; the system's roots without it.
    """

    def __init__(
        self, url: str, *, credential: TokenCredential, ca_file: Path | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._credential = credential
        self._ca_file = ca_file

    def import_key(
        self, name: str, *, key: bytes | rsa.RSAPrivateKey, release_policy: bytes
    ) -> StoredKey:
        """Store a key that may only leave under a release policy; a name in use gets a new version.

        Args:
            name: Letters, digits, hyphens.
            key: 32 bytes for AES-KWP (Managed HSM, embedded vault), or an RSA key.
            release_policy: Canonical policy, see `policies.attestation.release_policy`.

        Raises:
            ClientError: if the vault refuses, cannot be reached, or stored another policy.
        """
        with self._client() as client:
            stored = _stored(
                client.import_key(
                    name,
                    _web_key(key),
                    hardware_protected=True,
                    exportable=True,
                    release_policy=KeyReleasePolicy(release_policy),
                )
            )
        if stored.release_policy != release_policy or not stored.exportable:
            raise UntrustedAnswerError(
                "release policy", expected="the policy that was sent", got="another one"
            )
        return stored

    def get_key(self, name: str, *, version: str | None = None) -> StoredKey:
        """Return a key, by default its newest version.

        Raises:
            ClientError: if there is none, or the vault refuses or cannot be reached.
        """
        with self._client() as client:
            return _stored(client.get_key(name, version))

    def list_names(self) -> list[str]:
        """Return the names of all keys.

        Raises:
            ClientError: if the vault refuses or cannot be reached.
        """
        with self._client() as client:
            return sorted(str(item.name) for item in client.list_properties_of_keys())

    def list_versions(self, name: str) -> list[str]:
        """Return the versions of a key.

        Raises:
            ClientError: if there is none, or the vault refuses or cannot be reached.
        """
        with self._client() as client:
            return [str(item.version) for item in client.list_properties_of_key_versions(name)]

    def delete_key(self, name: str) -> None:
        """Delete a key; until it is purged the owner can recover it.

        Raises:
            ClientError: if there is none, or the vault refuses or cannot be reached.
        """
        with self._client() as client:
            client.begin_delete_key(name).wait()

    def release_key(
        self, name: str, *, target_token: str, nonce: str, version: str | None = None
    ) -> str:
        """Return the vault's signed answer, see `clients.api.release`.

        Raises:
            ClientError: if the evidence does not meet the key's policy, or the vault cannot be
                reached.
        """
        with self._client() as client:
            result = client.release_key(
                name, target_token, version=version, algorithm=WRAP_ALGORITHM, nonce=nonce
            )
        return str(result.value)

    @contextmanager
    def _client(self) -> Iterator[KeyClient]:
        options: dict[str, Any] = {}
        if self._ca_file is not None:
            # A vault with a root of its own is not in the domain of Azure's challenges.
            options = {"connection_verify": str(self._ca_file), "verify_challenge_resource": False}
        try:
            with KeyClient(self.url, self._credential, retry_total=0, **options) as client:
                yield client
        except AzureError as error:
            raise _refusal(self.url, error) from error


def _web_key(key: bytes | rsa.RSAPrivateKey) -> JsonWebKey:
    if isinstance(key, bytes):
        return JsonWebKey(kty="oct-HSM", key_ops=_OPERATIONS, k=key)
    numbers = key.private_numbers()
    values = {
        "n": numbers.public_numbers.n,
        "e": numbers.public_numbers.e,
        "d": numbers.d,
        "p": numbers.p,
        "q": numbers.q,
        "dp": numbers.dmp1,
        "dq": numbers.dmq1,
        "qi": numbers.iqmp,
    }
    encoded = {
        name: value.to_bytes((value.bit_length() + 7) // 8, "big") for name, value in values.items()
    }
    return JsonWebKey(kty="RSA-HSM", key_ops=_OPERATIONS, **encoded)


def _stored(key: KeyVaultKey) -> StoredKey:
    properties, numbers = key.properties, vars(key.key)
    policy = properties.release_policy
    public = None
    if numbers.get("n") and numbers.get("e"):
        public = rsa.RSAPublicNumbers(
            int.from_bytes(numbers["e"], "big"), int.from_bytes(numbers["n"], "big")
        ).public_key()
    return StoredKey(
        kid=str(key.id),
        name=str(key.name),
        version=str(properties.version),
        kty=str(getattr(key.key_type, "value", key.key_type)),
        enabled=bool(properties.enabled),
        exportable=bool(properties.exportable),
        release_policy=None if policy is None else bytes(policy.encoded_policy),
        public_key=public,
    )


def _refusal(url: str, error: AzureError) -> ClientError:
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return NetworkError(
            f"{url}: {error.message}",
            hint="check the vault's address and its certificate authority",
        )
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return UntrustedAnswerError(url, expected="an answer of a key vault", got=error.message)
    inner = error.error
    return service_error(
        ProblemDocument.from_json(
            {
                "type": "urn:depa:problem:vault-refused",
                "title": str(inner.code) if inner is not None else "",
                "detail": str(inner.message) if inner is not None else str(error.reason),
            },
            status=error.status_code,
        )
    )
