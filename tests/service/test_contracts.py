"""Consent: who may give it, to what, and what takes it back."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from clients.api.errors import NotFoundError, RefusedError, ServiceError
from ledger.receipt import verify_receipt
from ledger.statement import parse_statement
from ledger.trust import TrustedLog
from policies.decide import Policy
from policies.wire.contract import Contract
from policies.wire.decision import Decision, Reason
from tests.service.crash import record_of
from tests.service.world import (
    CCRP,
    TDC,
    TDP_A,
    TDP_B,
    World,
    contract,
    identity,
    pipeline,
    sign_contract,
)

COSE = {"Content-Type": "application/cose"}


@pytest.fixture
def world(empty_world: World) -> World:
    return empty_world


def statement(agreed: Contract, name: str, world: World, **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "payload_hash": hashlib.sha256(agreed.canonical()).digest(),
        "kind": "signature",
        "subject": agreed.urn,
        "issued_at": int(world.clock()),
    }
    return identity(name).issue(**(values | changes))


def refused(world: World, agreed: Contract, body: bytes, name: str = TDC) -> str:
    path = f"/contracts/{agreed.digest()}/signatures"
    answer = world.request("POST", path, name, content=body, headers=COSE)
    assert 400 <= answer.status_code < 500, answer.text
    return str(answer.json()["type"]).rpartition(":")[2]


def test_who_is_missing_is_said_at_every_step(world: World) -> None:
    agreed = contract()
    missing = world.client(TDC).propose(agreed).missing
    assert set(missing) == {party.id for party in agreed.parties}
    assert world.sign(agreed, TDP_B).missing == tuple(
        party.id for party in agreed.parties if party.name != "Hospital B"
    )


def test_a_receipt_proves_the_signature_to_whoever_knows_the_root(world: World) -> None:
    agreed = contract()
    world.client(TDC).propose(agreed)
    body = sign_contract(agreed, TDP_A, now=world.clock())
    answer = world.http.post("/entries", content=body, headers=COSE)
    assert answer.status_code == 201
    trust = TrustedLog.from_document(
        world.http.get("/log.json").content, root_fingerprint=world.root, at=int(world.clock())
    )
    leaf = parse_statement(body).leaf_hash
    claims = verify_receipt(answer.content, leaf_hash=leaf, keys=trust.keys)
    assert answer.headers["location"].endswith(f"/entries/1.{claims.leaf_index}")
    [status] = [
        party
        for party in world.client(TDP_A).contract_status(agreed.digest()).parties
        if party.name == "Hospital A"
    ]
    assert status.signed


def test_signing_twice_is_signing_once(world: World) -> None:
    agreed = contract()
    world.client(TDC).propose(agreed)
    first = world.sign(agreed, TDP_A)
    assert world.sign(agreed, TDP_A) == first


def test_proposing_twice_is_proposing_once(world: World) -> None:
    agreed = contract()
    assert world.client(TDC).propose(agreed) == world.client(TDC).propose(agreed)


def test_only_the_parties_can_sign(world: World) -> None:
    agreed = contract()
    world.client(TDC).propose(agreed)
    assert refused(world, agreed, statement(agreed, "Stranger", world)) == "not-a-party"


def test_a_contract_that_nobody_proposed_cannot_be_signed(world: World) -> None:
    with pytest.raises(NotFoundError):
        world.sign(contract(), TDP_A)


def test_a_signature_is_over_this_contract_and_in_its_name(world: World) -> None:
    agreed = contract()
    world.client(TDC).propose(agreed)
    other = b"\0" * 32
    assert refused(world, agreed, statement(agreed, TDP_A, world, payload_hash=other)) == (
        "statement-payload"
    )
    urn = "urn:depa:contract:" + "0" * 64
    assert refused(world, agreed, statement(agreed, TDP_A, world, subject=urn)) == (
        "statement-subject"
    )
    assert refused(world, agreed, statement(agreed, TDP_A, world, kind="revocation")) == (
        "statement-kind"
    )
    late = int(world.clock()) + 301
    assert refused(world, agreed, statement(agreed, TDP_A, world, issued_at=late)) == (
        "statement-time"
    )
    assert world.client(TDC).contract_status(agreed.digest()).state == "proposed"


def test_a_signature_whose_bytes_were_changed_is_refused(world: World) -> None:
    agreed = contract()
    world.client(TDC).propose(agreed)
    body = bytearray(statement(agreed, TDP_A, world))
    body[-1] ^= 1
    assert refused(world, agreed, bytes(body)) == "verification-failed"


def test_other_statements_are_not_registered_as_entries(world: World) -> None:
    agreed = world.executed()
    body = statement(agreed, TDP_A, world, kind="executed")
    answer = world.http.post("/entries", content=body, headers=COSE)
    assert answer.status_code == 400
    body = statement(agreed, TDP_A, world, kind="key-release")
    assert world.http.post("/entries", content=body, headers=COSE).status_code == 400


def test_an_expired_contract_cannot_be_signed(world: World) -> None:
    agreed = contract(expiryTime="2026-11-21T13:00:00Z")
    world.client(TDC).propose(agreed)
    world.clock.now += 3600
    assert world.client(TDC).contract_status(agreed.digest()).state == "expired"
    assert refused(world, agreed, statement(agreed, TDP_A, world)) == "contract-expired"


@pytest.mark.parametrize("name", [TDC, TDP_A, CCRP])
def test_each_party_can_revoke_and_nothing_runs_after_it(world: World, name: str) -> None:
    agreed = world.executed()
    approved = world.approved(agreed).run
    room = world.room(approved)
    answer = world.revoke(agreed, name)
    assert answer.state == "revoked"
    with pytest.raises(RefusedError) as denied:
        world.client().submit(pipeline(agreed))
    assert "CONTRACT_REVOKED" in [r["code"] for r in denied.value.problem.reasons]
    with pytest.raises(RefusedError) as no_key:
        room.release()
    assert "CONTRACT_REVOKED" in [r["code"] for r in no_key.value.problem.reasons]
    assert world.vault.asked == []
    assert len(record_of(world, agreed.digest()).revocations) == 1


def test_a_revoked_contract_cannot_be_signed(world: World) -> None:
    agreed = contract()
    world.client(TDC).propose(agreed)
    world.sign(agreed, TDP_A)
    world.revoke(agreed, TDP_A)
    assert refused(world, agreed, statement(agreed, TDP_B, world)) == "contract-revoked"


def test_a_stranger_cannot_revoke(world: World) -> None:
    agreed = world.executed()
    with pytest.raises(NotFoundError):
        world.revoke(agreed, "Stranger")
    assert world.client().contract_status(agreed.digest()).state == "executed"


def test_the_id_of_an_executed_contract_is_taken(world: World) -> None:
    world.executed()
    with pytest.raises(RefusedError, match="id of another contract"):
        world.client().propose(contract(title="Another text"))


def test_a_consumer_has_a_limited_number_of_open_contracts(tmp_path: Any) -> None:
    from tests.service.world import running  # noqa: PLC0415

    with running(tmp_path, contract_limit=1) as world:
        world.client().propose(contract())
        with pytest.raises(RefusedError) as error:
            world.client().propose(contract(id="0f7e6a52-0000-4000-8000-000000000002"))
        assert error.value.problem.slug == "too-many-contracts"


def test_contracts_are_found_by_party_and_state(world: World) -> None:
    agreed = world.executed()
    other = contract(id="0f7e6a52-0000-4000-8000-000000000002")
    world.client().propose(other)
    find = world.client(TDP_A).contracts
    assert [c.digest for c in find(state="executed").contracts] == [agreed.digest()]
    assert [c.digest for c in find(state="proposed").contracts] == [other.digest()]
    assert len(find(party=agreed.ccrp.id).contracts) == 2
    assert find(party=identity("Stranger").did).contracts == ()


def test_the_parties_of_a_contract_know_each_other_by_their_certificates(world: World) -> None:
    agreed = world.executed()
    found = world.client(TDP_B).parties().parties
    assert {item.id for item in found} == {party.id for party in agreed.parties}
    assert {item.name for item in found} == {TDC, TDP_A, TDP_B, CCRP}
    assert all(item.contracts == (agreed.digest(),) for item in found)


def test_the_document_comes_back_as_it_was_signed(world: World) -> None:
    agreed = world.executed()
    assert world.client(TDP_B).contract(agreed.digest()) == agreed


def test_a_problem_names_its_type_request_and_place(world: World) -> None:
    with pytest.raises(ServiceError) as error:
        world.client().contract("sha256:" + "0" * 64)
    problem = error.value.problem
    assert problem.type == "urn:depa:problem:no-such-contract"
    assert len(problem.request_id) == 32


def test_a_contract_that_could_never_be_executed_is_not_taken_in(world: World) -> None:
    late = contract(startTime="2027-01-01T00:00:00Z", expiryTime="2028-01-01T00:00:00Z")
    assert world.client().propose(late).state == "proposed"
    doubled = contract().to_json()
    doubled["ccrp"]["id"] = doubled["tdc"]["id"]
    bent = Contract.from_json(doubled)
    with pytest.raises(RefusedError) as error:
        world.client().propose(bent)
    assert {reason["code"] for reason in error.value.problem.reasons} == {"PARTY_DUPLICATE"}
    with pytest.raises(NotFoundError):
        world.client().contract_status(bent.digest())


def test_a_contract_is_signed_ahead_of_its_window_and_judged_by_its_first_moment(
    world: World,
) -> None:
    late = contract(startTime="2027-01-01T00:00:00Z", expiryTime="2028-01-01T00:00:00Z")
    world.client().propose(late)
    last = [world.sign(late, name) for name in (TDC, TDP_A, TDP_B, CCRP)][-1]
    assert last.state == "executed"
    assert last.decision_id is not None
    record = world.client().decision(last.decision_id).record
    assert record.facts is not None
    assert record.facts["/now"] == record.facts["/contract/startsAt"]
    with pytest.raises(RefusedError) as error:
        world.client().submit(pipeline(late))
    assert "CONTRACT_NOT_STARTED" in {item["code"] for item in error.value.problem.reasons}


def test_the_last_signature_executes_nothing_that_the_policy_denies(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = contract()
    world.client().propose(agreed)
    for name in (TDC, TDP_A, TDP_B):
        world.sign(agreed, name)
    reason = Reason(code="PURPOSE_NOT_ALLOWED", path="/purpose", msg="not this one")

    def deny(self: Policy, facts: object) -> Decision:
        return Decision(
            entrypoint="contract",
            allow=False,
            reasons=(reason,),
            policy=self.bundle.digest,
            policy_version=self.bundle.version,
            engine="test",
        )

    monkeypatch.setattr(Policy, "contract", deny)
    with pytest.raises(RefusedError) as error:
        world.sign(agreed, CCRP)
    monkeypatch.undo()
    status = world.client().contract_status(agreed.digest())
    assert (status.state, len(status.missing)) == ("partially-signed", 1)
    decided = world.client(CCRP).decision(error.value.problem.decision_id)
    assert (decided.record.entrypoint, decided.record.allow) == ("contract", False)
    assert decided.reasons == (reason,)
    assert [item.kind for item in status.statements][-1] == "pipeline-decision"
    assert world.sign(agreed, CCRP).state == "executed"
