"""Who may do what in the vault, in the words of Azure Key Vault."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient

from clients.api.errors import NetworkError
from deploy.local.tls import KeyKind, server_certificate
from deploy.local.vault.app import AUDIENCE, MAX_BODY_BYTES, VaultSettings, create_app
from deploy.local.vault.release import ReleaseSigner
from deploy.local.vault.store import KeyStore
from policies.attestation.maa import EvidenceClaims
from policies.attestation.release_policy import build_release_policy
from policies.attestation.runtime import encode_base64url, encode_integer
from tests.simulator import (
    CONTRACT,
    HOST_DATA,
    ISSUER,
    NOW,
    Evidence,
    SimulatedVerifier,
    mint_token,
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


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> ReleaseSigner:
    home = tmp_path_factory.mktemp("tls")
    return ReleaseSigner.load(
        server_certificate(home, name="release", now=NOW, kind=KeyKind.RELEASE)
    )


@pytest.fixture
def call(tmp_path: Path, signer: ReleaseSigner) -> Iterator[Caller]:
    store = KeyStore(tmp_path / "keys.db", passphrase=b"p", cost=1 << 10)
    app = create_app(
        VaultSettings(URL, owner=party(OWNER).did, releasers=(party(RELEASER).did,)),
        store=store,
        verifier=SimulatedVerifier(),
        signer=signer,
        clock=NOW.timestamp,
    )
    with TestClient(app, base_url=URL) as client:
        yield Caller(client)
    store.close()


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


# Who may call.


def test_a_call_without_token_is_answered_with_a_challenge(call: Caller) -> None:
    answer = call.client.put("/keys/alpha?api-version=2025-07-01")
    assert answer.status_code == 401
    assert 'resource="https://vault.azure.net"' in answer.headers["WWW-Authenticate"]
    assert call("GET", "/keys/alpha/").status_code == 404


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer a.b.c"])
def test_what_is_no_token_is_answered_with_a_challenge(call: Caller, value: str) -> None:
    answer = call.client.get("/keys", headers={"Authorization": value})
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


def bearer(**changes: Any) -> dict[str, str]:
    credential = party(OWNER)
    good = credential.bearer(audience=AUDIENCE, now=NOW.timestamp())
    claims = {**jwt.decode(good, options={"verify_signature": False}), **changes}
    header = {"x5c": jwt.get_unverified_header(good)["x5c"]}
    token = jwt.encode(claims, credential.key, algorithm="ES256", headers=header)
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://127.0.0.1:8443"},
        {"iss": "did:x509:0:sha256:" + "A" * 43 + "::subject:O:Hospital%20A"},
        {"exp": int(NOW.timestamp())},
        {"exp": int(NOW.timestamp()) + 301},
        {"iat": int(NOW.timestamp()) + 60},
    ],
)
def test_a_token_for_something_else_is_refused(call: Caller, changes: dict[str, Any]) -> None:
    assert call.client.get("/keys", headers=bearer()).status_code == 200
    assert call.client.get("/keys", headers=bearer(**changes)).status_code == 401


def test_a_token_is_good_once(call: Caller) -> None:
    headers = bearer()
    assert call.client.get("/keys", headers=headers).status_code == 200
    assert call.client.get("/keys", headers=headers).status_code == 401


def test_a_stranger_may_do_nothing(call: Caller) -> None:
    call("PUT", "/keys/alpha", import_body())
    stranger = call.as_(STRANGER)
    for method, path, body in (
        ("GET", "/keys", None),
        ("GET", "/keys/alpha/", None),
        ("POST", "/keys/alpha//release", release_body()),
    ):
        assert stranger(method, path, body).status_code == 403


def test_a_releaser_may_release_and_nothing_else(call: Caller) -> None:
    call("PUT", "/keys/alpha", import_body())
    releaser = call.as_(RELEASER)
    for method, path, body in (
        ("GET", "/keys", None),
        ("GET", "/keys/alpha/", None),
        ("GET", "/keys/alpha/versions", None),
        ("PUT", "/keys/alpha", import_body()),
        ("POST", "/keys/alpha/create", {"kty": "RSA-HSM"}),
        ("PATCH", "/keys/alpha", {"attributes": {"enabled": True}}),
        ("DELETE", "/keys/alpha", None),
        ("GET", "/deletedkeys", None),
        ("DELETE", "/deletedkeys/alpha", None),
    ):
        assert releaser(method, path, body).status_code == 403, (method, path)
    assert releaser("POST", "/keys/alpha//release", release_body()).status_code == 200


# What keys are.


def test_a_key_is_described_without_its_secret(call: Caller) -> None:
    answer = call("PUT", "/keys/alpha?api-version=2025-07-01", import_body(tags={"a": "b"}))
    body = answer.json()
    assert answer.status_code == 200
    assert body["key"]["kid"].startswith(f"{URL}/keys/alpha/")
    assert body["key"]["kty"] == "oct-HSM"
    assert body["attributes"]["exportable"] is True
    assert body["release_policy"]["data"] == encode_base64url(POLICY)
    assert body["tags"] == {"a": "b"}
    assert "k" not in body["key"]
    assert encode_base64url(SECRET) not in answer.text
    assert call("GET", "/keys/alpha/").json() == body
    version = body["key"]["kid"].rpartition("/")[2]
    assert call("GET", f"/keys/alpha/{version}").json() == body


def test_an_rsa_key_shows_its_public_half(call: Caller) -> None:
    answer = call(
        "POST",
        "/keys/made/create",
        {
            "kty": "RSA-HSM",
            "key_size": 2048,
            "attributes": {"exportable": True},
            "release_policy": {"data": encode_base64url(POLICY)},
        },
    )
    key = answer.json()["key"]
    assert {"n", "e", "kid", "kty", "key_ops"} == set(key)


def test_importing_again_makes_a_new_version(call: Caller) -> None:
    first = call("PUT", "/keys/alpha", import_body()).json()["key"]["kid"]
    second = call("PUT", "/keys/alpha", import_body()).json()["key"]["kid"]
    assert first != second
    listed = call("GET", "/keys/alpha/versions").json()["value"]
    assert [item["kid"] for item in listed] == [first, second]
    assert call("GET", "/keys/alpha/").json()["key"]["kid"] == second
    assert [item["kid"] for item in call("GET", "/keys").json()["value"]] == [f"{URL}/keys/alpha"]


def rsa_web_key(**changes: str) -> dict[str, Any]:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
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
    encoded = {name: encode_integer(value) for name, value in values.items()}
    return {"kty": "RSA-HSM", **encoded, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"release_policy": None},
        {"attributes": {"exportable": False}},
        {"attributes": {"exportable": "true"}},
        {"attributes": []},
        {"attributes": {"exportable": True, "nbf": "1"}},
        {"release_policy": {"data": "!"}},
        {"release_policy": {"data": encode_base64url(b"{}")}},
        {"release_policy": {"data": encode_base64url(POLICY), "immutable": 1}},
        {"release_policy": "policy"},
        {"key": None},
        {"key": {"kty": "oct-HSM"}},
        {"key": {"kty": "oct-HSM", "k": encode_base64url(bytes(31))}},
        {"key": {"kty": "EC-HSM"}},
        {"key": {"kty": "RSA-HSM", "n": "AQAB"}},
        {"key": {**rsa_web_key(), "d": "AQAB"}},
        {"key_ops": ["steal"]},
        {"tags": {"a": 1}},
        {"tags": {str(number): "" for number in range(16)}},
    ],
)
def test_a_key_that_could_not_be_kept_safe_is_refused(
    call: Caller, changes: dict[str, Any]
) -> None:
    answer = call("PUT", "/keys/alpha", import_body(**changes))
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "BadParameter"
    assert call("GET", "/keys/alpha/").status_code == 404


@pytest.mark.parametrize("body", ["[]", "{", '{"a":1,"a":2}', "7", ""])
def test_what_is_no_request_is_refused(call: Caller, body: str) -> None:
    answer = call.client.put("/keys/alpha", content=body, headers=bearer())
    assert answer.status_code == 400


def test_a_huge_request_is_refused(call: Caller) -> None:
    answer = call.client.put("/keys/alpha", content=b" " * (MAX_BODY_BYTES + 1), headers=bearer())
    assert answer.status_code == 413


@pytest.mark.parametrize("name", ["a.b", "a_b", "a" * 128, "a%20b", "%C3%A4"])
def test_a_name_outside_the_alphabet_is_refused(call: Caller, name: str) -> None:
    assert call("PUT", f"/keys/{name}", import_body()).status_code == 400


def test_paths_that_mean_nothing_are_not_found(call: Caller) -> None:
    call("PUT", "/keys/alpha", import_body())
    for method, path in (
        ("GET", "/"),
        ("GET", "/secrets/alpha"),
        ("POST", "/keys/alpha/rotate"),
        ("GET", "/keys/alpha/" + "g" * 32),
        ("GET", "/keys/alpha/" + "0" * 32),
        ("GET", "/keys/alpha/0/1/2"),
        ("POST", "/deletedkeys/alpha"),
        ("POST", "/deletedkeys/alpha/recover"),
        ("GET", "/deletedkeys/alpha"),
    ):
        assert call(method, path, {}).status_code == 404, (method, path)


def test_a_release_policy_can_be_replaced_unless_it_is_immutable(call: Caller) -> None:
    other = build_release_policy(CONTRACT, authorities=[ISSUER], host_data=["00" * 32])
    change = {"release_policy": {"data": encode_base64url(other)}}
    call("PUT", "/keys/alpha", import_body())
    assert call("PATCH", "/keys/alpha", change).json()["release_policy"]["data"] == (
        encode_base64url(other)
    )
    fixed = {"data": encode_base64url(POLICY), "immutable": True}
    call("PUT", "/keys/fixed", import_body(release_policy=fixed))
    assert call("PATCH", "/keys/fixed", change).status_code == 403
    loosened = {"release_policy": {"data": encode_base64url(POLICY), "immutable": False}}
    assert call("PATCH", "/keys/fixed", loosened).json()["release_policy"]["immutable"] is True
    assert call("PATCH", "/keys/fixed", {"attributes": {"exportable": False}}).status_code == 400


def test_a_deleted_key_is_recovered_or_purged(call: Caller) -> None:
    call("PUT", "/keys/alpha", import_body())
    deleted = call("DELETE", "/keys/alpha").json()
    assert deleted["recoveryId"] == f"{URL}/deletedkeys/alpha"
    assert deleted["scheduledPurgeDate"] > deleted["deletedDate"]
    assert call("GET", "/keys/alpha/").status_code == 404
    assert call("GET", "/deletedkeys/alpha").status_code == 200
    assert len(call("GET", "/deletedkeys").json()["value"]) == 1
    assert call("PUT", "/keys/alpha", import_body()).status_code == 409
    assert call("POST", "/keys/alpha//release", release_body()).status_code == 404
    assert call("POST", "/deletedkeys/alpha/recover").status_code == 200
    assert call("GET", "/keys/alpha/").status_code == 200
    call("DELETE", "/keys/alpha")
    assert call("DELETE", "/deletedkeys/alpha").status_code == 204
    assert call("GET", "/deletedkeys/alpha").status_code == 404


# Who gets them.


def test_the_answer_to_a_release_is_signed_and_wraps_the_key(call: Caller) -> None:
    kid = call("PUT", "/keys/alpha", import_body()).json()["key"]["kid"]
    version = kid.rpartition("/")[2]
    for path in ("/keys/alpha//release", f"/keys/alpha/{version}/release"):
        value = call("POST", path, release_body()).json()["value"]
        header = jwt.get_unverified_header(value)
        payload = jwt.decode(value, options={"verify_signature": False})
        assert (header["alg"], len(header["x5c"])) == ("RS256", 2)
        assert payload["request"]["nonce"] == "n"
        assert payload["response"]["key"]["key"]["kid"] == kid
        assert encode_base64url(SECRET) not in json.dumps(payload)


def refused(call: Caller, **changes: Any) -> tuple[int, str]:
    answer = call.as_(RELEASER)("POST", "/keys/alpha//release", release_body(**changes))
    error = answer.json()["error"]
    return answer.status_code, error.get("innererror", {}).get("code", error["code"])


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (Evidence(contract="sha256:" + "00" * 32), "x-ms-runtime.depa.contract"),
        (Evidence(host_data="00" * 32), "x-ms-sevsnpvm-hostdata"),
        (Evidence(fields={"policy": 0x3001F | 1 << 19}), "x-ms-sevsnpvm-is-debuggable"),
        (Evidence(fields={"vmpl": 2}), "x-ms-sevsnpvm-vmpl"),
    ],
)
def test_release_is_refused_to_any_other_room(
    call: Caller, evidence: Evidence, reason: str
) -> None:
    call("PUT", "/keys/alpha", import_body())
    assert refused(call, target=evidence.token()) == (403, reason)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"issuer": "https://127.0.0.1:1"}, "token.iss"),
        ({"x_ms_compliance_status": None}, "x-ms-compliance-status"),
        ({"x_ms_compliance_status": "azure-compliant-cvm"}, "x-ms-compliance-status"),
        ({"exp": 1}, "token.exp"),
        ({"x_ms_attestation_type": "sgx"}, "x-ms-attestation-type"),
    ],
)
def test_release_is_refused_for_a_token_that_does_not_hold(
    call: Caller, claims: dict[str, Any], reason: str
) -> None:
    call("PUT", "/keys/alpha", import_body())
    assert refused(call, target=mint_token(**claims)) == (403, reason)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        None,
        "key",
        [{"kty": "EC", "kid": "a", "key_ops": ["encrypt"]}],
        [{"kty": "RSA", "kid": "a", "key_ops": ["sign"], "n": "AQAB", "e": "AQAB"}],
        [{"kty": "RSA", "kid": "a", "key_ops": ["encrypt"], "n": "AQAB", "e": "AQAB"}],
        [{"kty": "RSA", "key_ops": ["encrypt"], "n": "AQAB", "e": "AQAB"}],
    ],
)
def test_release_is_refused_to_a_room_without_a_good_key(call: Caller, keys: object) -> None:
    call("PUT", "/keys/alpha", import_body())
    target = mint_token(x_ms_runtime={"keys": keys, "depa": {"contract": CONTRACT}})
    assert refused(call, target=target) == (403, "x-ms-runtime.keys")


@pytest.mark.parametrize(
    "changes",
    [{"target": None}, {"target": ""}, {"target": 7}, {"nonce": 7}, {"enc": "none"}],
)
def test_a_malformed_release_is_refused(call: Caller, changes: dict[str, Any]) -> None:
    call("PUT", "/keys/alpha", import_body())
    assert refused(call, **changes)[0] == 400


@pytest.mark.parametrize(
    "attributes",
    [
        {"exportable": True, "enabled": False},
        {"exportable": True, "exp": int(NOW.timestamp())},
        {"exportable": True, "nbf": int(NOW.timestamp()) + 1},
    ],
)
def test_release_of_a_key_that_is_not_valid_now_is_refused(
    call: Caller, attributes: dict[str, Any]
) -> None:
    call("PUT", "/keys/alpha", import_body(attributes=attributes))
    assert refused(call) == (403, "KeyDisabled")


def test_release_of_a_key_that_may_not_leave_is_refused(call: Caller) -> None:
    body = import_body(attributes={})
    del body["release_policy"]
    call("PUT", "/keys/alpha", body)
    assert refused(call) == (403, "KeyNotExportable")


def test_release_follows_the_policy_as_it_is_now(call: Caller) -> None:
    call("PUT", "/keys/alpha", import_body())
    other = build_release_policy(CONTRACT, authorities=[ISSUER], host_data=["00" * 32])
    call("PATCH", "/keys/alpha", {"release_policy": {"data": encode_base64url(other)}})
    assert refused(call) == (403, "x-ms-sevsnpvm-hostdata")


def test_the_audit_log_tells_who_got_which_key_and_no_secret(
    call: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="depa.vault.audit"):
        call("PUT", "/keys/alpha", import_body())
        target = Evidence().token()
        call.as_(RELEASER)("POST", "/keys/alpha//release", release_body(target=target))
        refused(call, target=mint_token(x_ms_compliance_status=None))
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "depa.vault.audit"]
    assert [line["event"] for line in lines] == ["added", "released", "refused"]
    assert lines[1]["caller"] == party(RELEASER).did
    assert lines[1]["host"] == HOST_DATA
    assert lines[2]["reason"] == "x-ms-compliance-status"
    for secret in (encode_base64url(SECRET), SECRET.hex(), target):
        assert secret not in caplog.text


class SilentAuthority:
    """An authority whose keys cannot be fetched."""

    def verify(self, token: str, *, now: object) -> EvidenceClaims:
        del token, now
        raise NetworkError("no answer")


def test_without_the_authority_there_is_no_key(tmp_path: Path, signer: ReleaseSigner) -> None:
    store = KeyStore(tmp_path / "keys.db", passphrase=b"p", cost=1 << 10)
    app = create_app(
        VaultSettings(URL, owner=party(OWNER).did),
        store=store,
        verifier=SilentAuthority(),
        signer=signer,
        clock=NOW.timestamp,
    )
    with TestClient(app, base_url=URL) as client:
        call = Caller(client)
        call("PUT", "/keys/alpha", import_body())
        assert call("POST", "/keys/alpha//release", release_body()).status_code == 503
    store.close()
