"""The unmodified Azure client library against the embedded vault, over TLS."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from clients.api.errors import NotFoundError, RefusedError, SignInError, UntrustedAnswerError
from clients.api.release import verify_release
from policies.attestation.release_policy import build_release_policy
from tests.simulator import CONTRACT, HOST_DATA, NOW, Evidence, bend, mint_token, party, room_keys
from tests.stack import OWNER, RELEASER, Stack, running_stack
from trainer.keys import unwrap_key


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def policy(stack: Stack) -> bytes:
    return build_release_policy(
        CONTRACT, authorities=[stack.attestation_url], host_data=[HOST_DATA]
    )


@pytest.mark.parametrize("kind", ["oct", "rsa"])
def test_a_key_travels_from_its_owner_into_the_attested_room(
    stack: Stack, policy: bytes, kind: str
) -> None:
    key = secrets.token_bytes(32) if kind == "oct" else rsa.generate_private_key(65537, 3072)
    name = f"travels-{kind}"
    stored = stack.vault().import_key(name, key=key, release_policy=policy)
    assert stack.vault().get_key(name) == stored

    jws = stack.vault(RELEASER).release_key(name, target_token=stack.token(Evidence()), nonce="n1")

    wrapped = verify_release(
        jws, vault_url=stack.vault_url, name=name, nonce="n1", now=NOW, ca_file=stack.ca_file
    )
    assert wrapped.kid == stored.kid
    released = unwrap_key(wrapped, key=room_keys().release)
    if isinstance(key, bytes):
        assert released == key
    else:
        assert isinstance(released, rsa.RSAPrivateKey)
        assert released.private_numbers() == key.private_numbers()
