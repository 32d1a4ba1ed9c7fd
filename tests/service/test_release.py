"""Keys go to the attested clean room of an approved run, once; every refusal is on the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from clients.api.errors import ClientError, RefusedError
from policies.wire.base import sha256
from tests import simulator
from tests.service.crash import record_of, spent
from tests.service.world import Room, World
from tests.simulator import mint_token
from trainer.keys import RoomKeys


@pytest.fixture
def room(world: World) -> Room:
    return world.room(world.approved(world.executed()).run)


def refused(room: Room, token: str) -> RefusedError:
    """Ask for keys in vain: nothing is asked of a vault, nothing is booked, and it is recorded."""
    before = recorded(room)
    with pytest.raises(RefusedError) as error:
        room.release(token)
    assert room.world.vault.asked == []
    assert recorded(room) == before + 1
    contract = room.client.status(room.run).contract
    digest = room.world.client().contract(contract).datasets[0].digest
    assert spent(room.world, contract, digest) == 0
    return error.value


def recorded(room: Room) -> int:
    record = record_of(room.world, room.client.status(room.run).contract, audited=False)
    return sum(not item.document.allowed for item in record.releases)


def codes(error: RefusedError) -> set[str]:
    return {reason["code"] for reason in error.problem.reasons}


def test_a_clean_room_with_another_launch_policy_gets_no_key(room: Room) -> None:
    error = refused(room, room.token(host_data="0" * 64))
    assert codes(error) == {"EVIDENCE_HOST_DATA"}
    assert error.problem.decision_id
    record = record_of(room.world, room.client.status(room.run).contract)
    [release] = record.releases
    assert (release.document.allowed, release.document.codes) == (False, ("EVIDENCE_HOST_DATA",))
    assert release.document.host_data == "0" * 64


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"contract": "sha256:" + "0" * 64}, "BOUND_TO_OTHER_CONTRACT"),
        ({"run": "run-" + "b" * 26}, "BOUND_TO_OTHER_RUN"),
        ({"pipeline": "sha256:" + "0" * 64}, "BOUND_TO_OTHER_PIPELINE"),
        ({"nonce": "B" * 42 + "A"}, "BOUND_TO_OTHER_NONCE"),
        ({"fields": {"policy": 0xB0000}}, "EVIDENCE_DEBUGGABLE"),
        ({"fields": {"vmpl": 1}}, "EVIDENCE_VMPL"),
    ],
)
def test_evidence_that_is_bound_to_something_else_gets_no_key(
    room: Room, changes: dict[str, Any], code: str
) -> None:
    assert code in codes(refused(room, room.token(**changes)))


def test_a_nonce_of_another_run_is_not_accepted(world: World) -> None:
    agreed = world.executed()
    first = world.room(world.approved(agreed).run)
    second = world.room(world.approved(agreed).run)
    token = first.token(nonce=second.client.nonce(second.run).nonce)
    assert codes(refused(first, token)) == {"BOUND_TO_OTHER_NONCE"}


def test_a_nonce_expires(room: Room) -> None:
    token = room.token()
    room.world.clock.now += 599
    nonce = room.client.nonce(room.run).nonce
    room.world.clock.now += 2
    assert "BOUND_TO_OTHER_NONCE" in codes(refused(room, token))
    assert room.release(room.token(nonce=nonce)).keys


def test_a_nonce_that_was_refused_once_is_used_up(room: Room) -> None:
    nonce = room.client.nonce(room.run).nonce
    refused(room, room.token(nonce=nonce, host_data="0" * 64))
    assert codes(refused(room, room.token(nonce=nonce))) == {"NONCE_USED"}
    assert room.release().keys


@pytest.mark.parametrize(
    ("bent", "claim"),
    [
        (lambda token: token[:-8] + "AAAAAAAA", "token.signature"),
        (lambda token: token.rpartition(".")[0] + ".", "token.signature"),
        (lambda _: "a" * 40, "token"),
        (lambda _: mint_token(issuer="https://evil.test"), "token.iss"),
        (lambda _: mint_token(now=simulator.NOW - timedelta(days=1)), "token.exp"),
        (lambda _: mint_token(now=simulator.NOW + timedelta(hours=1)), "token.nbf"),
        (lambda _: mint_token(x_ms_sevsnpvm_reportdata="00" * 64), "report_data"),
    ],
)
def test_a_token_that_does_not_verify_is_refused_by_claim_and_recorded(
    room: Room, bent: Any, claim: str
) -> None:
    error = refused(room, bent(room.token()))
    assert error.problem.slug == "evidence-refused"
    assert error.problem.detail.startswith(f"{claim}:")
    assert room.client.status(room.run).state == "approved"


def test_a_token_that_is_too_old_for_the_contract_is_refused(room: Room) -> None:
    now = datetime.fromtimestamp(room.world.clock(), UTC)
    token = room.evidence().token(now=now - timedelta(seconds=640))
    assert refused(room, token).problem.detail.startswith("token.iat:")


def test_the_keys_of_a_run_go_out_once(room: Room) -> None:
    room.release()
    asked = list(room.world.vault.asked)
    nonce = simulator.NONCE
    other = simulator.bend(
        contract=room.client.status(room.run).contract,
        run=room.run,
        pipeline=room.client.status(room.run).pipeline,
        nonce=nonce,
        keys=RoomKeys(simulator.room_keys().release, ec.generate_private_key(ec.SECP256R1())),
    ).token()
    with pytest.raises(RefusedError):
        room.release(other)
    assert room.world.vault.asked == asked
    assert recorded(room) == 1


def test_the_same_request_again_gives_the_same_receipts(room: Room) -> None:
    token = room.token()
    assert room.release(token).receipts == room.release(token).receipts


def test_a_run_that_trains_gets_no_key_again_even_by_the_same_request(room: Room) -> None:
    token = room.token()
    room.release(token)
    room.client.report(room.run, *room.report())
    with pytest.raises(RefusedError):
        room.release(token)


def test_an_approval_that_has_expired_gets_no_key(room: Room) -> None:
    room.world.clock.now += 3600
    assert "APPROVAL_EXPIRED" in codes(refused(room, room.token()))


def test_a_run_with_too_many_refusals_fails_and_records_no_more(tmp_path: Any) -> None:
    from tests.service.world import running  # noqa: PLC0415

    with running(tmp_path, max_refusals=3) as world:
        room = world.room(world.approved(world.executed()).run)
        for _ in range(3):
            refused(room, "a" * 40)
        assert room.client.status(room.run).state == "failed"
        with pytest.raises(RefusedError) as error:
            room.release("a" * 40)
        assert error.value.problem.slug == "too-many-refusals"
        assert recorded(room) == 3


def test_the_receipts_precede_the_vaults_in_the_log(room: Room) -> None:
    token = room.token()
    released = room.release(token)
    record = record_of(room.world, room.client.status(room.run).contract)
    [release] = record.releases
    assert release.document.token == sha256(token.encode())
    assert release.document.keys == tuple(
        f"https://vault.test/keys/{key.name}" for key in released.keys
    )
    indexes = [int(item.entry_id.partition(".")[2]) for item in released.receipts]
    assert indexes == sorted(indexes)
    assert indexes[-1] == release.index


def test_a_key_that_its_vault_refuses_is_not_replaced_by_the_others(world: World) -> None:
    agreed = world.executed()
    room = world.room(world.approved(agreed).run)
    world.vault.vault._store.delete("mri-b-key", at=int(world.clock()))
    with pytest.raises(ClientError, match="mri-b-key"):
        room.release()
    assert room.client.status(room.run).state == "releasing"
    record = record_of(world, agreed.digest())
    assert [b.document.state for b in record.bookings] == ["reserved"]
