"""Nobody is bound, and nothing is decrypted, without every party's own signature."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.api.errors import ClientError, RefusedError
from policies.dossier import RecordRefused
from policies.releases import shipped_policies
from tests.record import BEFORE_RELEASE, NOW, RUN, Record
from tests.service.world import CCRP, TDC, TDP_A, TDP_B, World, contract, pipeline
from trainer import gate
from trainer.room import Room


def room(record: Record) -> Room:
    return Room(
        root_fingerprint=record.root,
        service_url="https://127.0.0.1:1",
        attestation_url="https://127.0.0.1:9443",
        run=RUN,
        run_token="capability",  # noqa: S106
        scratch=record.folder,
        ca_file=None,
    )


def verify(record: Record) -> None:
    gate.verify(record.bundle().encode(), room=room(record), policies=shipped_policies(), now=NOW)


@pytest.mark.parametrize("absent", [TDC, TDP_A, TDP_B, CCRP])
def test_an_unsigned_contract_releases_no_key(empty_world: World, absent: str) -> None:
    world, agreed = empty_world, contract()
    world.client().propose(agreed)
    for name in {TDC, TDP_A, TDP_B, CCRP} - {absent}:
        world.sign(agreed, name)
    world.import_keys(agreed)
    with pytest.raises(RefusedError) as denied:
        world.client().submit(pipeline(agreed))
    reasons = {reason["code"]: reason for reason in denied.value.problem.reasons}
    assert "CONTRACT_NOT_EXECUTED" in reasons
    assert world.client().runs(state="approved").runs == ()
    assert world.vault.asked == []


def test_a_party_that_did_not_sign_is_named_to_all_the_others(empty_world: World) -> None:
    world, agreed = empty_world, contract()
    world.client().propose(agreed)
    for name in (TDC, TDP_A, CCRP):
        world.sign(agreed, name)
    status = world.client(TDP_A).contract_status(agreed.digest())
    assert status.state != "executed"
    assert len(status.missing) == 1
    assert "Hospital-B" in status.missing[0]


@pytest.mark.parametrize("role", ["tdc", "a", "b", "ccrp"])
def test_a_service_that_calls_an_unsigned_contract_executed_gets_no_evidence(
    tmp_path: Path, role: str
) -> None:
    record = Record(tmp_path, left_out={*BEFORE_RELEASE, f"signature-{role}"})
    with pytest.raises(RecordRefused, match="does not name every party's signature"):
        verify(record)


def test_a_service_that_signs_for_a_party_gets_no_evidence(tmp_path: Path) -> None:
    record = Record(tmp_path, left_out=set(BEFORE_RELEASE))
    record.parties["b"] = record.keys.identity
    with pytest.raises(RecordRefused, match="does not name every party's signature"):
        verify(record)


def test_a_stranger_learns_nothing_of_a_contract(world: World) -> None:
    agreed = world.executed()
    with pytest.raises(ClientError) as hidden:
        world.client("Stranger").contract(agreed.digest())
    assert "Hospital" not in str(hidden.value)
