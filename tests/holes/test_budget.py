"""Privacy once spent stays spent, whatever is done about runs and contracts."""

from __future__ import annotations

import pytest

from clients.api.errors import RefusedError
from policies.wire.contract import Contract
from tests.service.crash import spent
from tests.service.world import World


def test_a_second_contract_on_the_same_data_does_not_renew_the_budget(world: World) -> None:
    first = world.executed()
    run = world.approved(first).run
    world.room(run).release()
    world.client().abandon(run)
    before = spent(world, first.digest(), first.datasets[0].digest)
    second = world.executed(id="0f7e6a52-0000-4000-8000-000000000002", title="The same again")
    assert spent(world, second.digest(), second.datasets[0].digest) == before > 0


def test_a_second_run_beyond_the_total_budget_is_refused(world: World) -> None:
    first = world.executed()
    denied = exhausted(world, first)
    assert set(denied) == {"BUDGET_EXHAUSTED"}
    assert "at most 16 granted" in denied["BUDGET_EXHAUSTED"]
    assert spent(world, first.digest(), first.datasets[0].digest) <= 16_000_000
    # Neither another name for the run nor another contract on the same data helps.
    second = world.executed(id="0f7e6a52-0000-4000-8000-000000000002", title="The same again")
    with pytest.raises(RefusedError) as refused:
        world.approved(second)
    assert {reason["code"] for reason in refused.value.problem.reasons} == {"BUDGET_EXHAUSTED"}


def exhausted(world: World, agreed: Contract) -> dict[str, str]:
    """Run until no further run is approved; return the reasons."""
    for _ in range(20):
        try:
            run = world.approved(agreed).run
        except RefusedError as denied:
            return {reason["code"]: reason["msg"] for reason in denied.problem.reasons}
        world.room(run).release()
        world.client().abandon(run)
    raise AssertionError("the budget has no end")


def test_a_clean_room_that_is_killed_and_started_again_pays_twice(world: World) -> None:
    agreed = world.executed()
    dataset = agreed.datasets[0].digest
    costs = []
    for _ in range(2):
        run = world.approved(agreed).run
        world.room(run).release()
        world.client().abandon(run)
        costs.append(spent(world, agreed.digest(), dataset))
    assert 0 < costs[0] < costs[1]
