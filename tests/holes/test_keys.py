"""A key opens one contract, for one attested run, once."""

from __future__ import annotations

import pytest

from clients.api.errors import ClientError, RefusedError
from policies.wire.contract import Contract
from tests.service.crash import record_of
from tests.service.world import CCRP, TDC, TDP_A, TDP_B, World, contract


def executed_without_keys(world: World) -> Contract:
    """Return a second contract over the same files, keys and launch policy."""
    other = contract(id="0f7e6a52-0000-4000-8000-000000000002", title="Something else")
    world.client().propose(other)
    for name in (TDC, TDP_A, TDP_B, CCRP):
        world.sign(other, name)
    return other


def test_keys_are_refused_for_another_contract_under_the_same_launch_policy(world: World) -> None:
    first = world.executed()
    second = executed_without_keys(world)
    assert first.attestation == second.attestation
    assert [item.key for item in first.datasets] == [item.key for item in second.datasets]
    room = world.room(world.approved(second).run)
    with pytest.raises(ClientError) as refused:
        room.release()
    assert "x-ms-runtime.depa.contract" in str(refused.value)
    # The first contract's room, equal in every other thing, gets them.
    honest = world.room(world.approved(first).run)
    assert len(honest.release().keys) == 3


def test_evidence_of_one_contract_is_refused_for_a_run_of_another(world: World) -> None:
    first, second = world.executed(), executed_without_keys(world)
    room = world.room(world.approved(second).run)
    with pytest.raises(RefusedError) as refused:
        room.release(room.token(contract=first.digest()))
    assert {reason["code"] for reason in refused.value.problem.reasons} == {
        "BOUND_TO_OTHER_CONTRACT"
    }
    assert world.vault.asked == []
    record = record_of(world, second.digest())
    assert [item.document.allowed for item in record.releases] == [False]


def test_a_replayed_nonce_or_run_is_refused(world: World) -> None:
    agreed = world.executed()
    room = world.room(world.approved(agreed).run)
    nonce = room.client.nonce(room.run).nonce
    assert room.release(room.token(nonce=nonce)).keys
    asked = list(world.vault.asked)
    with pytest.raises(RefusedError) as again:
        room.release(room.token(nonce=nonce))
    assert again.value.problem.slug in {"run-state", "nonce-used"} or again.value.problem.reasons
    other = world.room(world.approved(agreed).run)
    with pytest.raises(RefusedError) as elsewhere:
        other.release(other.token(nonce=nonce))
    assert "BOUND_TO_OTHER_NONCE" in {r["code"] for r in elsewhere.value.problem.reasons}
    assert world.vault.asked == asked
