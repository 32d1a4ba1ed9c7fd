"""Who may do what in the vault, in the words of Azure Key Vault."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from deploy.local.vault.app import AUDIENCE, MAX_BODY_BYTES
from policies.attestation.release_policy import build_release_policy
from policies.attestation.runtime import encode_base64url, encode_integer
from tests.simulator import (
    CONTRACT,
    ISSUER,
    NOW,
    party,
)
from tests.unit.deploy.local.vault.calling import (
    OWNER,
    POLICY,
    RELEASER,
    SECRET,
    STRANGER,
    URL,
    Caller,
    import_body,
    release_body,
)

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
