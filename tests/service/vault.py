"""The embedded vault of a hospital, asked in this process, without its TLS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from clients.api.errors import NetworkError, ProblemDocument, service_error
from clients.api.transport import PartyCredential
from deploy.local.vault.app import Call, Vault, VaultSettings
from deploy.local.vault.errors import VaultError
from deploy.local.vault.release import ReleaseSigner
from deploy.local.vault.store import KeyStore
from ledger.identity import Identity
from policies.attestation.maa import EvidenceClaims, signing_keys, verify_token
from policies.attestation.runtime import encode_base64url
from tests import simulator

VAULT = "https://vault.test"
SECRET = b"k" * 32


class Clock:
    """Time that only tests move."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class InProcessVault:
    """The embedded vault, called without its HTTP; a file remembers what it was asked for."""

    vault: Vault
    credential: PartyCredential
    clock: Clock
    diary: Path
    down: bool = False

    @property
    def asked(self) -> list[str]:
        """Names of the keys that were ever asked for, also by a process that was killed."""
        return self.diary.read_text().split() if self.diary.exists() else []

    def release(self, *, vault: str, name: str, token: str, nonce: str) -> str:
        if self.down:
            raise NetworkError(f"{vault} does not answer")
        with self.diary.open("a") as stream:
            stream.write(name + "\n")
        body = {"target": token, "nonce": nonce, "enc": "RSA_AES_KEY_WRAP_256"}
        answer = self.call("POST", f"keys/{name}/release", body, who=self.credential)
        return str(answer["value"])

    def add_key(self, name: str, *, owner: PartyCredential, policy: bytes) -> None:
        body = {
            "key": {"kty": "oct-HSM", "key_ops": ["wrapKey"], "k": encode_base64url(SECRET)},
            "attributes": {"exportable": True},
            "release_policy": {"data": encode_base64url(policy)},
        }
        self.call("PUT", f"keys/{name}", body, who=owner)

    def call(
        self, method: str, path: str, body: Mapping[str, Any], *, who: PartyCredential
    ) -> dict[str, Any]:
        bearer = who.bearer(audience="https://vault.azure.net", now=self.clock())
        request = Call(
            method=method,
            path=tuple(path.split("/")),
            authorization=f"Bearer {bearer}",
            body=json.dumps(body).encode(),
            now=datetime.fromtimestamp(self.clock(), UTC),
        )
        try:
            return self.vault.answer(request) or {}
        except VaultError as error:
            problem = {"type": "urn:depa:problem:vault-refused", "detail": str(error)}
            raise service_error(ProblemDocument.from_json(problem, status=error.status)) from error


@dataclass(frozen=True)
class FixedKeys:
    """Verifies tokens of the simulated attestation service by its key set."""

    jwks: bytes

    def verify(self, token: str, *, now: datetime) -> EvidenceClaims:
        authorities = {simulator.ISSUER: signing_keys(self.jwks)}
        return verify_token(token, authorities=authorities, now=now)


def in_process_vault(
    store: KeyStore, service: Identity, clock: Clock, jwks: bytes, *, owner: str, diary: Path
) -> InProcessVault:
    """Return the vault of `owner`, which lets the service ask for releases."""
    key = simulator.token_key(VAULT)
    vault = Vault(
        VaultSettings(url=VAULT, owner=owner, releasers=(service.did,)),
        store=store,
        verifier=FixedKeys(jwks),
        signer=ReleaseSigner(key.key, (key.certificate,)),
    )
    chain = tuple(map(x509.load_der_x509_certificate, service.chain))
    credential = PartyCredential(service.did, service.private_key, chain)  # type: ignore[arg-type]
    return InProcessVault(vault, credential, clock, diary)
