"""Who is let in, and how far."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.service.world import CCRP, ORIGIN, TDC, TDP_A, TDP_B, World, contract, pipeline
from tests.simulator import party

STRANGER = "Stranger"


def token(world: World, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Return a party's token with some claims changed; None leaves one out."""
    who, now = party(TDC), int(world.clock())
    x5c = [base64.b64encode(c.public_bytes(Encoding.DER)).decode() for c in who.chain]
    values = {"iss": who.did, "aud": ORIGIN, "iat": now, "exp": now + 60, "jti": "0123456789abcdef"}
    values = {key: value for key, value in (values | claims).items() if value is not None}
    return jwt.encode(values, who.key, algorithm="ES256", headers={"x5c": x5c} | (header or {}))


def refusal(world: World, bearer: str | None) -> tuple[int, str]:
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    answer = world.http.get("/contracts", headers=headers)
    return answer.status_code, answer.json().get("type", "").rpartition(":")[2]


def test_a_party_is_let_in_by_its_own_token(world: World) -> None:
    answer = world.http.get("/contracts", headers={"Authorization": f"Bearer {token(world)}"})
    assert answer.status_code == 200
    assert [item["tdc"] for item in answer.json()["contracts"]] == [party(TDC).did]


def test_nobody_is_let_in_without_a_token(world: World) -> None:
    assert refusal(world, None) == (401, "token-missing")
    answer = world.http.get("/contracts")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_token_is_good_for_one_request(world: World) -> None:
    bearer = token(world)
    assert world.http.get("/contracts", headers={"Authorization": f"Bearer {bearer}"}).is_success
    assert refusal(world, bearer) == (401, "token-replayed")


def test_a_used_token_is_remembered_until_it_expires(world: World) -> None:
    bearer = token(world)
    world.http.get("/contracts", headers={"Authorization": f"Bearer {bearer}"})
    world.clock.now += 30
    world.request("GET", "/contracts")
    assert refusal(world, bearer) == (401, "token-replayed")
    world.clock.now += 40
    assert refusal(world, bearer) == (401, "token-expired")


@pytest.mark.parametrize(
    ("claims", "slug"),
    [
        ({"aud": "https://other.test"}, "token-audience"),
        ({"aud": [ORIGIN]}, "token-audience"),
        ({"aud": None}, "token-claims"),
        ({"exp": 1}, "token-expired"),
        ({"exp": None}, "token-claims"),
        ({"exp": "soon"}, "token-claims"),
        ({"exp": 2**33}, "token-lifetime"),
        ({"iat": 1}, "token-lifetime"),
        ({"iat": None}, "token-claims"),
        ({"iat": 2**33, "exp": 2**33 + 1}, "token-early"),
        ({"jti": None}, "token-claims"),
        ({"jti": "short"}, "token-claims"),
        ({"jti": "x" * 200}, "token-claims"),
        ({"iss": None}, "token-issuer"),
        ({"iss": "did:web:example.com"}, "token-issuer"),
        ({"iss": "did:x509:0:sha256:AAAA::subject:O:Developer"}, "token-chain"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(
    world: World, claims: dict[str, Any], slug: str
) -> None:
    assert refusal(world, token(world, **claims)) == (401, slug)


def test_a_token_in_the_name_of_another_party_is_refused(world: World) -> None:
    assert refusal(world, token(world, iss=party(TDP_A).did)) == (401, "token-chain")


@pytest.mark.parametrize("x5c", [None, [], "text", ["not base64"], ["AAAA", "AAAA"], [1, 2]])
def test_a_token_without_a_certificate_chain_is_refused(world: World, x5c: Any) -> None:
    assert refusal(world, token(world, header={"x5c": x5c})) == (401, "token-chain")


def test_a_token_by_another_key_is_refused(world: World) -> None:
    who, now = party(TDC), int(world.clock())
    x5c = [base64.b64encode(c.public_bytes(Encoding.DER)).decode() for c in who.chain]
    claims = {"iss": who.did, "aud": ORIGIN, "iat": now, "exp": now + 60, "jti": "0123456789"}
    other = ec.generate_private_key(ec.SECP256R1())
    forged = jwt.encode(claims, other, algorithm="ES256", headers={"x5c": x5c})
    assert refusal(world, forged) == (401, "token-signature")


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_of_another_algorithm_is_refused(world: World, algorithm: str) -> None:
    part = token(world).split(".")
    header = json.loads(base64.urlsafe_b64decode(part[0] + "=="))
    header["alg"] = algorithm
    part[0] = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    assert refusal(world, ".".join(part)) == (401, "token-algorithm")
    assert refusal(world, f"{part[0]}.{part[1]}.") == (401, "token-algorithm")


@pytest.mark.parametrize("bearer", ["x", "a.b.c", "e30.e30.", "x" * 20_000])
def test_what_is_no_token_is_refused(world: World, bearer: str) -> None:
    status, slug = refusal(world, bearer)
    assert status == 401
    assert slug in {"token-malformed", "token-too-large", "token-algorithm"}


def test_a_certificate_that_has_expired_lets_nobody_in(world: World) -> None:
    world.clock.now += 3651 * 86_400
    assert refusal(world, token(world)) == (401, "token-chain")


def test_a_contract_is_hidden_from_everybody_who_is_no_party(world: World) -> None:
    agreed = world.executed()
    run = world.approved(agreed).run
    digest, dataset = agreed.digest(), agreed.datasets[0].digest
    for path in (
        f"/contracts/{digest}",
        f"/contracts/{digest}/document",
        f"/contracts/{digest}/bundle",
        f"/runs/{run}",
        f"/runs/{run}/progress",
        f"/runs/{run}/bundle",
        f"/datasets/{dataset}/budget",
    ):
        assert world.request("GET", path, STRANGER).status_code == 404, path
        assert world.request("GET", path, TDP_B).status_code == 200, path
    assert world.request("GET", "/contracts", STRANGER).json() == {"contracts": []}
    assert world.request("GET", "/runs", STRANGER).json() == {"runs": []}
    assert len(world.request("GET", "/parties", STRANGER).json()["parties"]) == 1
    found = world.request("GET", "/entries", STRANGER).json()["statements"]
    assert {item["kind"] for item in found} == {"trust-anchor", "policy-bundle"}


def test_a_party_of_one_contract_sees_nothing_of_another(world: World) -> None:
    agreed = world.executed()
    other = party("Other-Consumer")
    document = contract(
        id="0f7e6a52-0000-4000-8000-000000000002",
        tdc={"id": other.did, "name": "Other"},
        output={
            "recipient": other.did,
            "publicKey": "A" * 43,
            "url": "file:///blobs/other",
        },
        baseModels=[],
    )
    world.client("Other-Consumer").propose(document)
    listed = world.client("Other-Consumer").contracts().contracts
    assert [item.digest for item in listed] == [document.digest()]
    path = f"/contracts/{agreed.digest()}"
    assert world.request("GET", path, "Other-Consumer").status_code == 404
    assert len(world.client(TDP_A).contracts().contracts) == 2


def test_an_auditor_reads_every_contract_and_changes_none(tmp_path: Any) -> None:
    from tests.service.world import running  # noqa: PLC0415

    with running(tmp_path, auditors=(party("Auditor").did,)) as world:
        agreed = world.executed()
        run = world.approved(agreed).run
        assert len(world.client("Auditor").contract_bundle(agreed.digest())) > 0
        assert world.client("Auditor").run(run).state == "approved"
        assert len(world.client("Auditor").statements(subject=agreed.urn).statements) > 5
        assert world.request("POST", f"/runs/{run}/access", "Auditor").status_code == 403
        assert world.request("POST", f"/runs/{run}/abandon", "Auditor").status_code == 403


@pytest.mark.parametrize("name", [TDP_A, CCRP])
def test_only_the_consumer_proposes_submits_and_abandons(world: World, name: str) -> None:
    agreed = world.executed()
    run = world.approved(agreed).run
    headers = {"Content-Type": "application/json"}
    for path, body in (
        ("/contracts", agreed.canonical()),
        ("/runs", pipeline(agreed).canonical()),
        (f"/runs/{run}/access", b""),
        (f"/runs/{run}/abandon", b""),
    ):
        answer = world.request("POST", path, name, content=body, headers=headers)
        assert answer.status_code == 403, path
        assert answer.json()["type"].endswith(":not-the-consumer")


def test_a_capability_opens_its_own_run_and_nothing_else(world: World) -> None:
    agreed = world.executed()
    mine, other = world.approved(agreed).run, world.approved(agreed).run
    bearer = {"Authorization": f"Bearer {world.room(mine).capability}"}
    assert world.http.get(f"/runs/{mine}", headers=bearer).status_code == 200
    assert world.http.get(f"/runs/{mine}/bundle", headers=bearer).status_code == 200
    for method, path in (
        ("GET", f"/runs/{other}"),
        ("GET", f"/runs/{other}/bundle"),
        ("POST", f"/runs/{other}/nonce"),
        ("GET", "/runs"),
        ("GET", "/contracts"),
        ("GET", f"/contracts/{agreed.digest()}/bundle"),
        ("POST", f"/runs/{mine}/access"),
        ("POST", f"/runs/{mine}/abandon"),
        ("GET", "/entries"),
    ):
        assert world.http.request(method, path, headers=bearer).status_code == 403, path


def test_a_new_capability_ends_the_earlier_one(world: World) -> None:
    run = world.approved(world.executed()).run
    first, second = world.room(run), world.room(run)
    assert second.client.status(run).state == "approved"
    bearer = {"Authorization": f"Bearer {first.capability}"}
    assert world.http.get(f"/runs/{run}", headers=bearer).status_code == 401


def test_a_party_cannot_play_the_clean_room(world: World) -> None:
    run = world.approved(world.executed()).run
    headers = {"Content-Type": "application/json"}
    for path in ("nonce", "release", "progress", "report"):
        answer = world.request("POST", f"/runs/{run}/{path}", TDC, content=b"{}", headers=headers)
        assert answer.status_code == 403, path


def test_a_capability_is_stored_as_its_hash_only(world: World) -> None:
    run = world.approved(world.executed()).run
    capability = world.room(run).capability
    stored = b"".join(
        path.read_bytes() for path in (world.folder / "service").iterdir() if path.is_file()
    )
    assert capability.encode() not in stored
