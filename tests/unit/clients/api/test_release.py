"""A released key is believed only if the vault that was asked signed it for this request."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from clients.api.errors import UntrustedAnswerError
from clients.api.release import MAX_RELEASE_BYTES, WrappedKey, verify_release
from deploy.local.tls import KeyKind, TlsFiles, server_certificate
from deploy.local.vault.release import ReleaseSigner
from policies.attestation.runtime import encode_base64url
from tests.simulator import NOW

URL = "https://127.0.0.1:9443"
KID = f"{URL}/keys/alpha/" + "0" * 32


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    home = tmp_path_factory.mktemp("tls")
    return server_certificate(home, name="release", now=NOW, kind=KeyKind.RELEASE)


@pytest.fixture(scope="module")
def signer(files: TlsFiles) -> ReleaseSigner:
    return ReleaseSigner.load(files)


Verify = Callable[..., WrappedKey]


@pytest.fixture
def verify(files: TlsFiles) -> Verify:
    def run(jws: str, **changes: Any) -> WrappedKey:
        values = {
            "vault_url": URL,
            "name": "alpha",
            "nonce": "n",
            "now": NOW,
            "ca_file": files.authority,
            **changes,
        }
        return verify_release(jws, **values)

    return run


def payload(**changes: Any) -> dict[str, Any]:
    inner = {
        "schema_version": "1.0",
        "header": {"kid": KID, "alg": "dir", "enc": "RSA_AES_KEY_WRAP_256"},
        "ciphertext": encode_base64url(b"wrapped"),
        **changes.pop("inner", {}),
    }
    key = {
        "kid": KID,
        "kty": "oct-HSM",
        "key_hsm": encode_base64url(json.dumps(inner).encode()),
        **changes.pop("key", {}),
    }
    value = {"request": {"nonce": "n"}, "response": {"key": {"key": key}}}
    return {**value, **changes}


def test_an_honest_answer_gives_the_wrapped_key(signer: ReleaseSigner, verify: Verify) -> None:
    found = verify(signer.sign(payload()))
    assert found == WrappedKey(KID, "oct-HSM", "RSA_AES_KEY_WRAP_256", b"wrapped")
    assert "wrapped'" not in repr(found)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"request": {"nonce": "other"}}, "release.nonce"),
        ({"request": {}}, "release.nonce"),
        ({"request": None}, "release.request"),
        ({"response": {}}, "release.key"),
        ({"response": {"key": {"key": []}}}, "release.key"),
        ({"key": {"kid": f"{URL}/keys/alphabet/0"}}, "release.kid"),
        ({"key": {"kid": f"{URL}/keys/alpha/../beta/0"}}, "release.kid"),
        ({"key": {"kid": "https://127.0.0.1:1/keys/alpha/0"}}, "release.kid"),
        ({"key": {"kid": None}}, "release.kid"),
        ({"key": {"kty": "EC-HSM"}}, "release.kty"),
        ({"key": {"key_hsm": None}}, "release.key_hsm"),
        ({"key": {"key_hsm": "e30"}}, "release.header"),
        ({"key": {"key_hsm": "W10"}}, "release"),
        ({"inner": {"header": {"alg": "dir", "enc": "none"}}}, "release.enc"),
        ({"inner": {"header": {"alg": "A", "enc": "RSA_AES_KEY_WRAP_256"}}}, "release.enc"),
        ({"inner": {"ciphertext": 7}}, "release.ciphertext"),
    ],
)
def test_an_answer_to_something_else_is_refused(
    signer: ReleaseSigner, verify: Verify, changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(UntrustedAnswerError) as caught:
        verify(signer.sign(payload(**changes)))
    assert caught.value.what == what


def forged(signer: ReleaseSigner, *, key: rsa.RSAPrivateKey, **header: Any) -> str:
    x5c = jwt.get_unverified_header(signer.sign({}))["x5c"]
    return jwt.encode(payload(), key, algorithm="RS256", headers={"x5c": x5c, **header})


def test_an_answer_signed_by_somebody_else_is_refused(
    signer: ReleaseSigner, verify: Verify
) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    with pytest.raises(UntrustedAnswerError, match=r"release\.signature"):
        verify(forged(signer, key=stranger))
    header, body, _ = signer.sign(payload()).split(".")
    with pytest.raises(UntrustedAnswerError, match=r"release\.signature"):
        verify(f"{header}.{body}.")


@pytest.mark.parametrize("chain", [None, [], "text", [7], ["AAAA"], ["!"]])
def test_an_answer_without_a_certificate_is_refused(
    signer: ReleaseSigner, verify: Verify, chain: object
) -> None:
    with pytest.raises(UntrustedAnswerError, match=r"release\.x5c"):
        verify(forged(signer, key=signer.key, x5c=chain))


def test_an_answer_whose_certificate_has_a_key_of_no_known_kind_is_refused(
    signer: ReleaseSigner, verify: Verify
) -> None:
    leaf, *others = jwt.get_unverified_header(signer.sign({}))["x5c"]
    rsa_oid = bytes.fromhex("2a864886f70d010101")
    odd = base64.b64encode(base64.b64decode(leaf).replace(rsa_oid, rsa_oid[:-1] + b"c")).decode()
    with pytest.raises(UntrustedAnswerError, match=r"release\.x5c: expected certificates"):
        verify(forged(signer, key=signer.key, x5c=[odd, *others]))


def test_an_answer_of_another_vault_is_refused(
    signer: ReleaseSigner, verify: Verify, tmp_path: Path
) -> None:
    jws = signer.sign(payload())
    other = server_certificate(tmp_path, name="a", now=NOW, kind=KeyKind.RELEASE)
    for changes in (
        {"ca_file": other.authority},
        {"ca_file": None},
        {"vault_url": "https://127.0.0.2:9443"},
        {"vault_url": "https://vault.example"},
        {"now": NOW + timedelta(days=400)},
    ):
        with pytest.raises(UntrustedAnswerError, match=r"release\.x5c"):
            verify(jws, **changes)
    # A vault with a certificate under the same root, but of another host, is another vault.
    elsewhere = server_certificate(
        tmp_path, name="b", now=NOW, kind=KeyKind.RELEASE, hosts=("vault.example",)
    )
    with pytest.raises(UntrustedAnswerError, match=r"release\.x5c"):
        verify(ReleaseSigner.load(elsewhere).sign(payload()), ca_file=elsewhere.authority)


def test_an_answer_with_a_small_key_or_another_kind_is_refused(
    verify: Verify, tmp_path: Path
) -> None:
    files = server_certificate(tmp_path, name="a", now=NOW)
    chain = files.certificate.read_text().split("-----END CERTIFICATE-----")
    leaf = "".join(chain[0].splitlines()[1:])
    key = rsa.generate_private_key(65537, 2048)
    jws = jwt.encode(payload(), key, algorithm="RS256", headers={"x5c": [leaf]})
    with pytest.raises(UntrustedAnswerError, match="RSA of 2048"):
        verify(jws)


@pytest.mark.parametrize("algorithm", ["none", "RS384", "HS256", None])
def test_no_other_algorithm_is_accepted(
    signer: ReleaseSigner, verify: Verify, algorithm: object
) -> None:
    header, body, signature = signer.sign(payload()).split(".")
    fields = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    bent = encode_base64url(json.dumps({**fields, "alg": algorithm}).encode())
    with pytest.raises(UntrustedAnswerError, match=r"release\.alg"):
        verify(f"{bent}.{body}.{signature}")


@pytest.mark.parametrize("jws", ["", "a.b", "!.!.!", "e30.W10.AA", "x" * (MAX_RELEASE_BYTES + 1)])
def test_what_is_no_answer_is_refused(verify: Verify, jws: str) -> None:
    with pytest.raises(UntrustedAnswerError):
        verify(jws)
