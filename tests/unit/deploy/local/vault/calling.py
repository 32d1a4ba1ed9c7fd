"""Calls to a vault in the name of parties, for its tests."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from fastapi.testclient import TestClient

from deploy.local.vault.app import AUDIENCE
from policies.attestation.release_policy import build_release_policy
from policies.attestation.runtime import encode_base64url
from tests.simulator import (
    CONTRACT,
    HOST_DATA,
    ISSUER,
    NOW,
    Evidence,
    party,
)

URL = "https://127.0.0.1:9443"
OWNER, RELEASER, STRANGER = "Hospital A", "Contract service", "Stranger"
SECRET = secrets.token_bytes(32)
POLICY = build_release_policy(CONTRACT, authorities=[ISSUER], host_data=[HOST_DATA])


@dataclass
class Caller:
    """Calls the vault in the name of a party, with a new token each time."""

    client: TestClient
    name: str = OWNER
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, body: object = None) -> Any:
        token = party(self.name).bearer(audience=AUDIENCE, now=NOW.timestamp())
        headers = {"Authorization": f"Bearer {token}"}
        return self.client.request(method, path, json=body, headers=headers)

    def as_(self, name: str) -> Caller:
        return Caller(self.client, name)


def import_body(**changes: Any) -> dict[str, Any]:
    return {
        "key": {"kty": "oct-HSM", "k": encode_base64url(SECRET), "key_ops": ["wrapKey"]},
        "attributes": {"exportable": True},
        "Hsm": True,
        "release_policy": {"data": encode_base64url(POLICY)},
        **changes,
    }


def release_body(**changes: Any) -> dict[str, Any]:
    return {"target": Evidence().token(), "nonce": "n", "enc": "RSA_AES_KEY_WRAP_256", **changes}
