"""The unmodified Azure client library against the embedded vault, over TLS."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from clients.api.errors import (
    NetworkError,
    NotFoundError,
    RefusedError,
    SignInError,
    UntrustedAnswerError,
)
from clients.api.release import verify_release
from clients.api.vault import VaultClient, VaultCredential
from deploy.local.tls import server_certificate
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


@pytest.mark.parametrize(
    ("evidence", "claim"),
    [
        (bend(contract="sha256:" + "00" * 32), "x-ms-runtime.depa.contract"),
        (bend(host_data="00" * 32), "x-ms-sevsnpvm-hostdata"),
        (bend(fields={"policy": 0x3001F | 1 << 19}), "x-ms-sevsnpvm-is-debuggable"),
        (bend(fields={"vmpl": 1}), "x-ms-sevsnpvm-vmpl"),
    ],
)
def test_a_key_stays_where_it_is_for_any_other_room(
    stack: Stack, policy: bytes, evidence: Evidence, claim: str
) -> None:
    stack.vault().import_key("stays", key=secrets.token_bytes(32), release_policy=policy)
    with pytest.raises(RefusedError, match=claim):
        stack.vault(RELEASER).release_key("stays", target_token=stack.token(evidence), nonce="n")


def test_a_token_of_a_foreign_authority_gets_no_key(stack: Stack, policy: bytes) -> None:
    stack.vault().import_key("foreign", key=secrets.token_bytes(32), release_policy=policy)
    vault = stack.vault(RELEASER)
    with pytest.raises(RefusedError, match=r"token\.iss"):
        vault.release_key("foreign", target_token=mint_token(), nonce="n")
    # Borrowing the authority's name does not help: its keys are fetched from itself.
    with pytest.raises(RefusedError, match=r"token\.kid"):
        vault.release_key(
            "foreign", target_token=mint_token(issuer=stack.attestation_url), nonce="n"
        )


def test_a_contract_of_another_authority_is_not_served(stack: Stack) -> None:
    other = build_release_policy(
        CONTRACT, authorities=["https://elsewhere.example"], host_data=[HOST_DATA]
    )
    stack.vault().import_key("elsewhere", key=secrets.token_bytes(32), release_policy=other)
    with pytest.raises(RefusedError, match="iss: expected"):
        stack.vault(RELEASER).release_key(
            "elsewhere", target_token=stack.token(Evidence()), nonce="n"
        )


def test_an_answer_for_another_request_is_not_believed(stack: Stack, policy: bytes) -> None:
    for name in ("one", "two"):
        stack.vault().import_key(name, key=secrets.token_bytes(32), release_policy=policy)
    jws = stack.vault(RELEASER).release_key("one", target_token=stack.token(Evidence()), nonce="n1")
    good = {"vault_url": stack.vault_url, "name": "one", "nonce": "n1", "ca_file": stack.ca_file}
    assert verify_release(jws, now=NOW, **good)  # type: ignore[arg-type]
    for change in (
        {"nonce": "n2"},
        {"name": "two"},
        {"vault_url": "https://localhost:1"},
        {"vault_url": "https://example.com"},
        {"ca_file": None},
    ):
        with pytest.raises(UntrustedAnswerError):
            verify_release(jws, now=NOW, **{**good, **change})  # type: ignore[arg-type]


def test_keys_are_listed_versioned_and_deleted(stack: Stack, policy: bytes) -> None:
    vault = stack.vault()
    first = vault.import_key("versioned", key=secrets.token_bytes(32), release_policy=policy)
    second = vault.import_key("versioned", key=secrets.token_bytes(32), release_policy=policy)
    assert "versioned" in vault.list_names()
    assert vault.list_versions("versioned") == [first.version, second.version]
    assert vault.get_key("versioned") == second
    assert vault.get_key("versioned", version=first.version) == first
    vault.delete_key("versioned")
    with pytest.raises(NotFoundError):
        vault.get_key("versioned")
    with pytest.raises(RefusedError, match="deleted"):
        vault.import_key("versioned", key=secrets.token_bytes(32), release_policy=policy)


def test_a_releaser_cannot_manage_keys(stack: Stack, policy: bytes) -> None:
    releaser = stack.vault(RELEASER)
    with pytest.raises(RefusedError, match="only the owner"):
        releaser.import_key("other", key=secrets.token_bytes(32), release_policy=policy)
    with pytest.raises(RefusedError, match="only the owner"):
        releaser.list_names()


def test_a_stranger_is_turned_away(stack: Stack) -> None:
    with pytest.raises(RefusedError, match="not known"):
        stack.vault("Stranger").list_names()


def test_a_party_that_lies_about_its_name_is_not_let_in(stack: Stack) -> None:
    impostor = replace(party("Stranger"), did=party(OWNER).did)
    vault = VaultClient(
        stack.vault_url,
        credential=VaultCredential(impostor, clock=NOW.timestamp),
        ca_file=stack.ca_file,
    )
    with pytest.raises(SignInError):
        vault.list_names()


def test_a_vault_under_another_root_is_not_talked_to(stack: Stack, tmp_path: Path) -> None:
    other = server_certificate(tmp_path, name="other", now=NOW).authority
    vault = VaultClient(
        stack.vault_url,
        credential=VaultCredential(party(OWNER), clock=NOW.timestamp),
        ca_file=other,
    )
    with pytest.raises(NetworkError, match="certificate"):
        vault.list_names()
    with pytest.raises(NetworkError, match="certificate"):
        replace(stack, ca_file=other).token(Evidence())
