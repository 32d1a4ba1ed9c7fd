"""Runs: what the policy denies, what a clean room may do, and what a report settles."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clients.api.errors import NetworkError, RefusedError, ServiceError
from contract_service.contracts.tables import ContractPartyRow
from policies.wire.base import sha256
from policies.wire.run import Progress
from tests.service.crash import record_of, spent
from tests.service.world import TDC, World, pipeline, sign_report
from tests.service.world import spent as spent_by
from trainer.keys import RoomKeys

PRIVACY = {
    "epsilon": 8.0,
    "delta": 0.0005,
    "maxGradNorm": 0.5,
    "unit": "patient",
    "adjacency": "add-remove",
}


def codes(error: pytest.ExceptionInfo[RefusedError]) -> set[str]:
    return {reason["code"] for reason in error.value.problem.reasons}


def test_a_pipeline_over_its_epsilon_is_denied_with_both_numbers_and_the_place(
    world: World,
) -> None:
    agreed = world.executed()
    greedy = pipeline(agreed, privacyParams=PRIVACY | {"epsilon": 9.0})
    with pytest.raises(RefusedError) as error:
        world.client().submit(greedy)
    problem = error.value.problem
    assert problem.status == 403
    assert problem.decision_id
    reasons = [r for r in problem.reasons if r["path"].endswith("/privacyParams/epsilon")]
    assert reasons
    assert all("9" in reason["msg"] and "8" in reason["msg"] for reason in reasons)
    [run] = world.client().runs().runs
    assert (run.state, run.decision_id) == ("denied", problem.decision_id)
    assert {r.code for r in run.reasons} == codes(error)
    record = record_of(world, agreed.digest())
    assert [d.document.allow for d in record.decisions] == [True, False]
    assert record.approvals == ()


def test_a_pipeline_without_privacy_is_denied(world: World) -> None:
    agreed = world.executed()
    with pytest.raises(RefusedError) as error:
        world.client().submit(pipeline(agreed, isPrivate=False, privacyParams=None))
    assert codes(error)
    record_of(world, agreed.digest())


def test_no_run_is_approved_before_all_have_signed(world: World) -> None:
    from tests.service.world import contract  # noqa: PLC0415

    agreed = contract(id="0f7e6a52-0000-4000-8000-000000000002")
    world.client().propose(agreed)
    with pytest.raises(RefusedError) as error:
        world.client().submit(pipeline(agreed))
    assert "SIGNATURE_MISSING" in codes(error)


@pytest.mark.parametrize("period", [(None, None), (0, 1)])
def test_no_run_is_approved_when_a_party_signed_with_a_key_that_was_not_valid(
    world: World, period: tuple[int | None, int | None]
) -> None:
    agreed = world.executed()
    with world.app.state.services.context.database.write() as session:
        row = session.get_one(ContractPartyRow, (agreed.digest(), 1))
        assert row.signed_at is not None
        assert row.key_valid_from is not None
        assert row.key_valid_until is not None
        assert row.key_valid_from <= row.signed_at <= row.key_valid_until
        row.key_valid_from, row.key_valid_until = period
        session.add(row)
    with pytest.raises(RefusedError) as error:
        world.client().submit(pipeline(agreed))
    assert codes(error) == {"SIGNATURE_KEY_NOT_VALID"}


def test_a_batch_larger_than_the_data_is_refused_by_field(world: World) -> None:
    agreed = world.executed()
    with pytest.raises(RefusedError) as error:
        world.client().submit(pipeline(agreed, batchSize=1000))
    assert [p.pointer for p in error.value.problem.problems] == ["/pipeline/1/config/batchSize"]


def test_data_of_another_kind_than_the_contracts_are_refused_by_field(world: World) -> None:
    agreed = world.executed()
    volumes = {"kind": "volumes", "patch": [8, 32, 32], "channels": 1, "classes": 1}
    network = {"kind": "unet3d", "inChannels": 1, "outChannels": 1}
    with pytest.raises(RefusedError) as error:
        world.client().submit(pipeline(agreed, dataset=volumes, model=network))
    (problem,) = error.value.problem.problems
    assert problem.pointer == "/pipeline/1/config/dataset/kind"
    assert not world.client().runs().runs


def test_a_denied_run_gets_no_capability(world: World) -> None:
    agreed = world.executed()
    with pytest.raises(RefusedError):
        world.client().submit(pipeline(agreed, privacyParams=PRIVACY | {"epsilon": 9.0}))
    [run] = world.client().runs(state="denied").runs
    with pytest.raises(RefusedError) as error:
        world.client().access(run.run)
    assert error.value.problem.slug == "run-state"


def test_runs_exhaust_the_total_budget_and_the_next_is_denied(world: World) -> None:
    agreed = world.executed()
    runs = []
    denied: set[str] = set()
    while not denied:
        try:
            run = world.approved(agreed).run
        except RefusedError as no_run:
            denied = {reason["code"] for reason in no_run.problem.reasons}
            continue
        room = world.room(run)
        room.release()
        room.client.report(run, *room.report())
        runs.append(run)
        assert len(runs) < 20
    assert denied == {"BUDGET_EXHAUSTED"}
    assert len(runs) >= 2
    budget = world.client().budget(agreed.datasets[0].digest).budgets[0]
    assert budget.total.bookings == len(runs)
    assert budget.total.micro_epsilon_spent <= budget.total.micro_epsilon_limit == 16_000_000
    assert budget.overall.micro_epsilon_limit == 32_000_000
    record_of(world, agreed.digest())


def test_the_release_is_refused_when_other_runs_took_the_budget_since_the_approval(
    world: World,
) -> None:
    agreed = world.executed()
    rooms = [world.room(world.approved(agreed).run) for _ in range(6)]
    refused = []
    for room in rooms:
        try:
            room.release()
        except RefusedError as no_key:
            refused.append(no_key)
    assert 0 < len(refused) < 6
    for error in refused:
        assert error.problem.slug == "budget"
        assert {r["code"] for r in error.problem.reasons} == {"BUDGET_NOT_RESERVED"}
        assert "expected at most epsilon 16" in error.problem.detail
    record = record_of(world, agreed.digest())
    assert sum(not r.document.allowed for r in record.releases) == len(refused)


def test_a_report_of_fewer_steps_gives_back_what_was_not_spent(world: World) -> None:
    agreed = world.executed()
    run = world.approved(agreed).run
    room = world.room(run)
    room.release()
    reserved = spent(world, agreed.digest(), agreed.datasets[0].digest)
    room.client.report(
        run, *room.report(state="failed", reason="stopped", spent=spent_by(10), model=None)
    )
    settled = spent(world, agreed.digest(), agreed.datasets[0].digest)
    assert 0 < settled < reserved
    assert world.client().run(run).state == "failed"
    record_of(world, agreed.digest())


def test_a_report_that_no_step_was_taken_costs_nothing(world: World) -> None:
    agreed = world.executed()
    run = world.approved(agreed).run
    room = world.room(run)
    room.release()
    room.client.report(
        run, *room.report(state="failed", reason="altered", spent=None, model=None, datasets=())
    )
    assert spent(world, agreed.digest(), agreed.datasets[0].digest) == 0
    record_of(world, agreed.digest())


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"pipeline": "sha256:" + "0" * 64}, "/document/pipeline"),
        ({"host_data": "0" * 64}, "/document/hostData"),
        ({"measurement": "0" * 96}, "/document/measurement"),
        ({"datasets": (sha256(b"other"),)}, "/document/datasets/0"),
        ({"model": None}, "/document/model"),
        ({"spent": None}, "/document/spent"),
    ],
)
def test_a_report_that_contradicts_the_run_is_refused_by_field(
    world: World, changes: dict[str, Any], pointer: str
) -> None:
    run = world.approved(world.executed()).run
    room = world.room(run)
    room.release()
    with pytest.raises(RefusedError) as error:
        room.client.report(run, *room.report(**changes))
    assert pointer in [p.pointer for p in error.value.problem.problems]
    assert world.client().run(run).state == "released"


def test_a_report_by_another_key_than_the_attested_one_is_refused(world: World) -> None:
    run = world.approved(world.executed()).run
    room = world.room(run)
    room.release()
    document, _ = room.report()
    other = RoomKeys.make().report
    forged = sign_report(document, now=world.clock(), key=other)
    with pytest.raises(RefusedError) as error:
        room.client.report(run, document, forged)
    assert error.value.problem.slug == "report-key"


def test_a_report_before_any_key_went_out_is_refused(world: World) -> None:
    run = world.approved(world.executed()).run
    room = world.room(run)
    with pytest.raises(RefusedError):
        room.client.report(run, *room.report())


def test_a_second_report_is_refused(world: World) -> None:
    run = world.approved(world.executed()).run
    room = world.room(run)
    room.release()
    room.client.report(run, *room.report())
    with pytest.raises(RefusedError) as error:
        room.client.report(run, *room.report(reason="another"))
    assert error.value.problem.slug == "run-state"


def test_abandoning_before_any_key_costs_nothing_and_after_it_everything(world: World) -> None:
    agreed = world.executed()
    dataset = agreed.datasets[0].digest
    unused = world.approved(agreed).run
    assert world.client().abandon(unused).state == "failed"
    assert spent(world, agreed.digest(), dataset) == 0
    used = world.approved(agreed).run
    world.room(used).release()
    reserved = spent(world, agreed.digest(), dataset)
    assert world.client().abandon(used).state == "failed"
    assert spent(world, agreed.digest(), dataset) == reserved > 0
    with pytest.raises(RefusedError):
        world.client().abandon(used)
    record_of(world, agreed.digest())


def test_progress_holds_public_values_only(world: World) -> None:
    run = world.approved(world.executed()).run
    room = world.room(run)
    room.release()
    value = Progress(
        phase="training", step=1, steps=2, micro_epsilon=1, micro_epsilon_limit=2, seconds=1.0
    ).to_json()
    headers = {
        "Authorization": f"Bearer {room.capability}",
        "Content-Type": "application/json",
    }
    for extra in ({"loss": 0.3}, {"message": "patient 7"}):
        answer = world.http.post(
            f"/runs/{run}/progress", content=json.dumps(value | extra), headers=headers
        )
        assert answer.status_code == 422
        assert answer.json()["problems"][0]["pointer"] == "/" + next(iter(extra))
    assert world.client().run(run).progress is None


def test_a_vault_that_does_not_answer_can_be_asked_again_by_the_same_request(
    world: World,
) -> None:
    run = world.approved(world.executed()).run
    room = world.room(run)
    token = room.token()
    world.vault.down = True
    with pytest.raises(NetworkError):
        room.release(token)
    assert world.client().run(run).state == "releasing"
    world.vault.down = False
    assert len(room.release(token).keys) == 3
    assert world.client().run(run).state == "released"


def test_an_unknown_run_is_not_found(world: World) -> None:
    with pytest.raises(ServiceError) as error:
        world.client(TDC).run("run-" + "a" * 26)
    assert error.value.problem.status == 404


def test_nonces_are_given_while_keys_may_be_asked_for_and_not_without_end(world: World) -> None:
    run = world.approved(world.executed()).run
    room = world.room(run)
    nonces = {room.client.nonce(run).nonce for _ in range(100)}
    assert len(nonces) == 100
    with pytest.raises(RefusedError) as error:
        room.client.nonce(run)
    assert error.value.problem.slug == "too-many-nonces"
