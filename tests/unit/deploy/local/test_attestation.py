"""The attestation service verifies what it vouches for, with real and simulated evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from clients.api.attestation import AuthorityKeys, attest_snp
from clients.api.errors import NetworkError, RefusedError, UntrustedAnswerError
from deploy.local.attestation import (
    MAX_REQUEST_BYTES,
    create_app,
    key_set,
    make_token_key,
    token_key,
)
from policies.attestation.maa import EvidenceClaims, signing_keys, verify_token
from policies.attestation.runtime import decode_base64url, encode_base64url
from policies.attestation.uvm import MICROSOFT_UVM
from policies.errors import EvidenceError
from tests import simulator, snp_vectors
from tests.simulator import ISSUER, NOW, Evidence, decode_part, machine


def app(**changes: Any) -> FastAPI:
    values = {
        "key": simulator.token_key(),
        "roots": machine().roots,
        "endorsers": (machine().endorser,),
        "clock": NOW.timestamp,
        **changes,
    }
    return create_app(ISSUER, **values)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(app(), base_url=ISSUER) as found:
        yield found


def request(**changes: Any) -> dict[str, Any]:
    """Return honest evidence as a request, with fields of the evidence replaced."""
    body: dict[str, Any] = json.loads(Evidence().request())
    evidence = json.loads(_decode(body["report"]))
    for name, value in changes.items():
        (body if name in body else evidence)[name] = value
    if "report" not in changes:
        body["report"] = encode_base64url(json.dumps(evidence).encode())
    return body


def _decode(text: str) -> bytes:
    return decode_base64url(text, claim="test")


def keys(found: TestClient) -> dict[str, Any]:
    return {ISSUER: signing_keys(found.get("/certs").content)}


def test_real_evidence_of_azure_is_vouched_for() -> None:
    body = (snp_vectors.FOLDER / "aci-v3" / "maa-request.json").read_bytes()
    service = create_app(ISSUER, key=simulator.token_key(), clock=NOW.timestamp)
    with TestClient(service, base_url=ISSUER) as found:
        answer = found.post("/attest/SevSnpVm?api-version=2022-08-01", content=body)
        assert answer.status_code == 200, answer.text
        token = answer.json()["token"]
        claims = verify_token(token, authorities=keys(found), now=NOW)
    assert claims.compliance == "azure-compliant-uvm"
    assert claims.host_data == snp_vectors.aci_v3().report[0xC0:0xE0].hex()
    assert claims.tcb == {"bootloader": 4, "tee": 0, "snpfw": 24, "microcode": 219}
    # The number of the request comes back as a text.
    assert claims.claims["nonce"] == "13202930541250959283"
    assert claims.runtime["keys"][0]["kid"] == "96478d5f"


def test_the_token_has_the_form_of_the_real_one(client: TestClient) -> None:
    token = client.post("/attest/SevSnpVm", json=request()).json()["token"]
    header, claims = decode_part(token, 0), decode_part(token, 1)
    assert set(header) == {"alg", "jku", "kid", "typ"}
    assert header["jku"] == f"{ISSUER}/certs"
    assert claims["iss"] == ISSUER
    assert claims["x-ms-ver"] == "1.0"
    assert claims["exp"] - claims["iat"] == 8 * 3600
    assert claims["nbf"] == claims["iat"]
    assert isinstance(claims["x-ms-sevsnpvm-vmpl"], int)
    assert claims["x-ms-sevsnpvm-is-debuggable"] is False
    assert len(claims["x-ms-sevsnpvm-idkeydigest"]) == 96
    assert len(claims["x-ms-sevsnpvm-familyId"]) == 32


def test_the_key_set_has_certificates_and_no_numbers(client: TestClient) -> None:
    [entry] = client.get("/certs").json()["keys"]
    assert set(entry) == {"kid", "kty", "use", "alg", "x5c"}
    described = client.get("/.well-known/openid-configuration").json()
    assert described["jwks_uri"] == f"{ISSUER}/certs"


@pytest.mark.parametrize("kind", ["SevSnpVm", "SevSnpVM", "sevsnpvm"])
def test_the_kind_of_evidence_is_spelled_either_way(client: TestClient, kind: str) -> None:
    assert client.post(f"/attest/{kind}", json=request()).status_code == 200


def test_other_kinds_of_evidence_are_not_attested(client: TestClient) -> None:
    assert client.post("/attest/SgxEnclave", json=request()).status_code == 404


def bent_report(**fields: Any) -> str:
    return encode_base64url(Evidence(fields=fields).report())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SnpReport": encode_base64url(bytes(1184))}, "snp.version"),
        ({"SnpReport": encode_base64url(bytes(1183))}, "snp.length"),
        ({"SnpReport": None}, "SnpReport"),
        ({"VcekCertChain": None}, "VcekCertChain"),
        ({"VcekCertChain": encode_base64url(snp_vectors.aci_v3().certificates)}, "amd.root"),
        ({"Endorsements": encode_base64url(b'{"Uvm":[]}')}, "Endorsements.Uvm"),
        ({"Endorsements": encode_base64url(b'{"Uvm":["0oQ="]}')}, "uvm.cbor"),
        ({"runtimeData": {"data": encode_base64url(b"{}"), "dataType": "JSON"}}, "report_data"),
        ({"runtimeData": {"data": "e30", "dataType": "Binary"}}, "runtimeData.dataType"),
        ({"runtimeData": None}, "runtimeData"),
        ({"report": "!"}, "report"),
        ({"report": encode_base64url(b"[]")}, "report"),
    ],
)
def test_evidence_that_does_not_hold_is_refused(
    client: TestClient, changes: dict[str, Any], message: str
) -> None:
    answer = client.post("/attest/SevSnpVm", json=request(**changes))
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff"])
def test_what_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    assert client.post("/attest/SevSnpVm", content=body).status_code == 400


def test_a_huge_request_is_refused(client: TestClient) -> None:
    body = b" " * (MAX_REQUEST_BYTES + 1)
    assert client.post("/attest/SevSnpVm", content=body).status_code == 413


def test_report_data_with_a_tail_are_refused(client: TestClient) -> None:
    honest = Evidence().report()[0x50:0x70]
    report = bent_report(report_data=honest + bytes(31) + b"\x01")
    answer = client.post("/attest/SevSnpVm", json=request(SnpReport=report))
    assert "report_data" in answer.json()["error"]["message"]


def test_firmware_that_nobody_endorses_has_no_compliance(client: TestClient) -> None:
    token = client.post("/attest/SevSnpVm", json=request(Endorsements=None)).json()["token"]
    assert verify_token(token, authorities=keys(client), now=NOW).compliance is None


def test_an_endorsement_of_other_firmware_is_refused(client: TestClient) -> None:
    report = bent_report(measurement=b"x" * 48)
    answer = client.post("/attest/SevSnpVm", json=request(SnpReport=report))
    assert "uvm.measurement" in answer.json()["error"]["message"]


def test_a_debuggable_guest_is_reported_and_not_refused(client: TestClient) -> None:
    report = bent_report(policy=0x3001F | 1 << 19)
    token = client.post("/attest/SevSnpVm", json=request(SnpReport=report)).json()["token"]
    assert verify_token(token, authorities=keys(client), now=NOW).debuggable


def test_simulated_evidence_is_nothing_to_a_service_that_believes_amd() -> None:
    service = app(roots={"00" * 32: "Milan"}, endorsers=(MICROSOFT_UVM,))
    with TestClient(service, base_url=ISSUER) as found:
        answer = found.post("/attest/SevSnpVm", json=request())
    assert "amd.root" in answer.json()["error"]["message"]


def test_the_services_key_is_kept(tmp_path: Any) -> None:
    first, second = (token_key(tmp_path, issuer=ISSUER, now=NOW) for _ in range(2))
    assert first.kid == second.kid
    assert (tmp_path / "token-key.pem").stat().st_mode & 0o077 == 0
    assert "Private" not in repr(first)


def evidence_arguments() -> dict[str, Any]:
    return {
        "report": Evidence().report(),
        "certs_pem": machine().certificates,
        "uvm": (machine().endorsement,),
        "runtime_data": Evidence().runtime_data(),
    }


def test_the_client_fetches_a_token_and_the_keys_to_verify_it(client: TestClient) -> None:
    token = attest_snp(ISSUER, http=client, **evidence_arguments())
    authority = AuthorityKeys({ISSUER: None}, http=client)
    assert isinstance(authority.verify(token, now=NOW), EvidenceClaims)


def test_the_client_tells_why_evidence_was_refused(client: TestClient) -> None:
    arguments = {**evidence_arguments(), "runtime_data": b"{}"}
    with pytest.raises(RefusedError, match="report_data"):
        attest_snp(ISSUER, http=client, **arguments)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx2.Response(200, content=b"{}"), UntrustedAnswerError),
        (httpx2.Response(200, content=b"no json"), UntrustedAnswerError),
        (httpx2.Response(200, json={"token": "a.b"}), UntrustedAnswerError),
        (httpx2.Response(200, json={"token": "a" * 140_000}), UntrustedAnswerError),
        (httpx2.Response(400, json={"error": {"code": "x"}}), RefusedError),
        (httpx2.Response(400, content=b"no json"), RefusedError),
        (httpx2.Response(502, content=b""), NetworkError),
        (httpx2.Response(302, headers={"Location": "https://evil.example"}), RefusedError),
    ],
)
def test_an_answer_that_is_no_token_is_refused(
    answer: httpx2.Response, error: type[Exception]
) -> None:
    with (
        httpx2.Client(transport=httpx2.MockTransport(lambda _: answer)) as http,
        pytest.raises(error),
    ):
        attest_snp(ISSUER, http=http, **evidence_arguments())


def test_an_authority_that_cannot_be_reached_is_told() -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with httpx2.Client(transport=httpx2.MockTransport(fail)) as http:
        with pytest.raises(NetworkError, match="ConnectError"):
            attest_snp(ISSUER, http=http, **evidence_arguments())
        with pytest.raises(NetworkError):
            AuthorityKeys({ISSUER: None}, http=http).verify(Evidence().token(), now=NOW)


class CountingAuthority:
    """An authority that counts how often its keys are fetched, and can change them."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.key = simulator.token_key()
        self.now = 0.0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.fetched.append(str(request.url))
        return httpx2.Response(200, content=key_set(self.key))


def test_keys_are_fetched_from_the_configured_issuer_only() -> None:
    authority = CountingAuthority()
    with httpx2.Client(transport=httpx2.MockTransport(authority)) as http:
        keys_ = AuthorityKeys({ISSUER: None}, http=http)
        with pytest.raises(EvidenceError, match=r"token\.iss"):
            keys_.verify(simulator.mint_token(issuer="https://evil.example"), now=NOW)
        assert authority.fetched == []
        assert keys_.keys("https://evil.example") == {}
        keys_.verify(simulator.mint_token(), now=NOW)
    assert authority.fetched == [f"{ISSUER}/certs"]


def test_keys_are_remembered_and_fetched_again_when_they_change() -> None:
    authority = CountingAuthority()
    with httpx2.Client(transport=httpx2.MockTransport(authority)) as http:
        keys_ = AuthorityKeys({ISSUER: None}, http=http, clock=lambda: authority.now)
        for _ in range(3):
            keys_.verify(simulator.mint_token(), now=NOW)
        assert len(authority.fetched) == 1

        old, authority.key = authority.key, make_token_key(ISSUER, now=NOW)
        token = simulator.mint_token(key=authority.key)
        # A stranger's tokens cannot make us hammer the authority.
        with pytest.raises(EvidenceError, match=r"token\.kid"):
            keys_.verify(token, now=NOW)
        assert len(authority.fetched) == 1
        authority.now = 31.0
        keys_.verify(token, now=NOW)
        assert len(authority.fetched) == 2
        with pytest.raises(EvidenceError, match=r"token\.kid"):
            keys_.verify(simulator.mint_token(key=old), now=NOW)
        authority.now = 31.0 + 3600.0
        keys_.verify(token, now=NOW)
        assert len(authority.fetched) == 3
