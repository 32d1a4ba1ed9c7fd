"""Which room gets a key from the vault, and which does not."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import jwt
import pytest
from fastapi.testclient import TestClient

from clients.api.errors import NetworkError
from deploy.local.vault.app import VaultSettings, create_app
from deploy.local.vault.release import ReleaseSigner
from deploy.local.vault.store import KeyStore
from policies.attestation.maa import EvidenceClaims
from policies.attestation.release_policy import build_release_policy
from policies.attestation.runtime import encode_base64url
from tests.simulator import (
    CONTRACT,
    HOST_DATA,
    ISSUER,
    NOW,
    Evidence,
    mint_token,
    party,
)
from tests.unit.deploy.local.vault.calling import (
    OWNER,
    RELEASER,
    SECRET,
    URL,
    Caller,
    import_body,
    release_body,
)


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
