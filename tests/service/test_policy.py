"""Policies for everybody; decisions for those whom they bind, and proven."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from clients.api.errors import NotFoundError, RefusedError, UntrustedAnswerError
from clients.api.service import ServiceClient
from clients.api.transport import Transport
from contract_service.budget import service as budgets
from contract_service.policy import service as policies
from contract_service.runs.agreement import approval_of
from contract_service.runs.tables import RunRow
from policies.bundle import load_bundle, parse
from policies.decide import Policy
from policies.errors import BudgetError, PolicyError, PolicyUnavailableError
from policies.releases import Policies
from policies.wire.decision import Mark
from tests.service.crash import record_of, spent
from tests.service.test_client import Liar, Lie
from tests.service.world import CCRP, ORIGIN, TDC, TDP_A, TDP_B, World, pipeline, running
from tests.simulator import party
from tests.unit.policies.good import other_bundle
from tests.unit.policies.test_record import Failing

GREEDY = {
    "epsilon": 9.0,
    "delta": 0.0005,
    "maxGradNorm": 0.5,
    "unit": "patient",
    "adjacency": "add-remove",
}


def denied(world: World) -> str:
    """Submit a pipeline that is denied; return the decision's id."""
    with pytest.raises(RefusedError) as error:
        world.client().submit(pipeline(world.executed(), privacyParams=GREEDY))
    return error.value.problem.decision_id


def test_the_policies_are_listed_for_everybody_with_their_place_on_the_ledger(
    world: World,
) -> None:
    answer = world.http.get("/policy/bundles")
    assert answer.status_code == 200
    shipped = [item for item in answer.json()["bundles"] if item["shipped"]]
    assert [item["digest"] for item in shipped] == [load_bundle().digest]
    assert world.client().policies().bundles[-1].version == load_bundle().version
    [found] = [
        item
        for item in world.client().statements(kind="policy-bundle").statements
        if item.payload == load_bundle().digest
    ]
    assert shipped[0]["entryId"] == found.entry_id


def test_a_policy_is_handed_to_everybody_as_an_archive(world: World) -> None:
    answer = world.http.get(f"/policy/bundles/{load_bundle().digest}")
    assert answer.headers["content-type"] == "application/gzip"
    assert "immutable" in answer.headers["cache-control"]
    assert parse(answer.content) == load_bundle()
    assert world.client().policy_bundle(load_bundle().digest) == load_bundle()


@pytest.mark.parametrize("sent", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
def test_a_policy_that_the_caller_has_is_not_sent_again(world: World, sent: str) -> None:
    path = f"/policy/bundles/{load_bundle().digest}"
    tag = world.http.get(path).headers["etag"]
    answer = world.http.get(path, headers={"If-None-Match": sent.format(tag=tag)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == tag


def test_a_policy_is_sent_to_whoever_has_another(world: World) -> None:
    answer = world.http.get(
        f"/policy/bundles/{load_bundle().digest}",
        headers={"If-None-Match": f'"{other_bundle().digest}", {load_bundle().digest}'},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "x", "..%2f..%2fetc"])
def test_a_policy_that_nobody_released_is_missing(world: World, digest: str) -> None:
    assert world.http.get(f"/policy/bundles/{digest}").status_code == 404


def test_another_policy_than_asked_for_is_not_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "policy_bundle", lambda *_: other_bundle())
    with pytest.raises(UntrustedAnswerError, match="policy: expected"):
        world.client().policy_bundle(load_bundle().digest)


def test_a_policy_is_stated_on_the_ledger_once(tmp_path: Path) -> None:
    for _ in range(2):
        with running(tmp_path) as world:
            found = world.client().statements(kind="policy-bundle").statements
            known = set(world.app.state.services.context.policies.bundles)
            assert sorted(item.payload for item in found) == sorted(known)


def test_a_denial_is_explained_to_the_parties_and_proven_by_the_ledger(world: World) -> None:
    decision_id = denied(world)
    [run] = world.client().runs().runs
    for name in (TDC, TDP_A, TDP_B, CCRP):
        answer = world.client(name).decision(decision_id)
        assert answer.record.run == run.run
        assert not answer.record.allow
        assert any("9" in reason.msg for reason in answer.reasons)
        place = "/pipeline/1/config/privacyParams/epsilon"
        assert Mark(code="EPSILON_EXCEEDED", path=place) in answer.record.reasons
        assert answer.record.mode == "enforce"
    [recorded] = record_of(world, run.contract).decisions[-1:]
    assert recorded.document == answer.record


def test_an_allowing_decision_is_found_by_the_id_that_the_run_names(world: World) -> None:
    run = world.approved(world.executed())
    answer = world.client().decision(run.decision_id)
    assert (answer.record.allow, answer.record.pipeline) == (True, run.pipeline)
    assert answer.record.facts is not None
    assert answer.record.facts["/pipeline/stages/1/privacy/microEpsilon"] == 8_000_000


def test_a_release_names_the_decision_that_its_budget_is_booked_by(world: World) -> None:
    agreed = world.executed()
    released = world.room(world.approved(agreed).run).release()
    answer = world.client().decision(released.decision_id)
    assert (answer.record.entrypoint, answer.record.allow) == ("release", True)
    assert answer.record.facts is not None
    assert str(answer.record.facts["/request/token"]).startswith("sha256:")
    bookings = record_of(world, agreed.digest()).bookings
    assert {item.document.decision for item in bookings} == {released.decision_id}


def test_what_a_decision_permits_is_booked_once(world: World) -> None:
    agreed = world.executed()
    run = world.approved(agreed).run
    released = world.room(run).release()
    context = world.app.state.services.context

    def book(decision: str) -> str | None:
        with context.database.write() as session:
            row = session.get_one(RunRow, run)
            approval = approval_of(session, row)
            assert approval is not None
            return budgets.reserve(
                session,
                agreed,
                approval.charges,
                run=run,
                decision=decision,
                record=context.record,
                now=context.now,
            )

    before = spent(world, agreed.digest(), agreed.datasets[0].digest)
    assert book(released.decision_id) == released.receipts[1].leaf_hash
    with pytest.raises(BudgetError, match="by another decision"):
        book("dec-other")
    assert spent(world, agreed.digest(), agreed.datasets[0].digest) == before
    assert len(record_of(world, agreed.digest()).bookings) == 1


def test_a_record_on_the_ledger_holds_no_text_of_the_input(world: World) -> None:
    agreed = world.executed()
    world.room(world.approved(agreed).run).release()
    denied(world)
    texts = [agreed.title, agreed.tdc.id, agreed.datasets[0].id, agreed.datasets[0].key.vault]
    for item in record_of(world, agreed.digest()).decisions:
        for text in texts:
            assert text not in item.document.canonical().decode()


def test_strangers_do_not_learn_that_a_decision_exists(world: World) -> None:
    decision_id = denied(world)
    for name in ("Stranger", "Other-Consumer"):
        answer = world.request("GET", f"/decisions/{decision_id}", name)
        other = world.request("GET", f"/decisions/{decision_id}x", name)
        assert (answer.status_code, other.status_code) == (404, 404)
        assert answer.json()["type"] == other.json()["type"]
        assert "reasons" not in answer.json()
    assert world.request("GET", f"/decisions/{decision_id}", None).status_code == 401
    with pytest.raises(NotFoundError):
        world.client("Stranger").decision(decision_id)


def test_a_clean_room_reads_no_decisions(world: World) -> None:
    run = world.approved(world.executed())
    bearer = {"Authorization": f"Bearer {world.room(run.run).capability}"}
    assert world.http.get(f"/decisions/{run.decision_id}", headers=bearer).status_code == 403


def test_what_decisions_were_made_from_is_for_parties_and_auditors(tmp_path: Path) -> None:
    with running(tmp_path, auditors=(party("Auditor").did,)) as world:
        agreed = world.executed()
        run = world.approved(agreed).run
        bearer = {"Authorization": f"Bearer {world.room(run).capability}"}
        of_room = world.http.get(f"/runs/{run}/bundle", headers=bearer).json()
        assert of_room["inputs"] == {}
        for name in (TDP_A, "Auditor"):
            for path in (f"/runs/{run}/bundle", f"/contracts/{agreed.digest()}/bundle"):
                assert world.request("GET", path, name).json()["inputs"]
        assert world.client("Auditor").decision(world.client("Auditor").run(run).decision_id)


def _other_reasons(value: Any) -> None:
    value["reasons"] = []


def _other_code(value: Any) -> None:
    value["record"]["reasons"][0]["code"] = "EPSILON_SMALL"
    value["reasons"][0]["code"] = "EPSILON_SMALL"


def _allowed(value: Any) -> None:
    value["record"]["allow"] = True


def _other_id(value: Any) -> None:
    value["record"]["decisionId"] = "dec-other"


def _other_receipt(value: Any) -> None:
    value["registered"]["receipt"] = "AAAA"


def _other_entry(value: Any) -> None:
    value["registered"]["entryId"] = "1.1"


@pytest.mark.parametrize(
    "bend", [_other_reasons, _other_code, _allowed, _other_id, _other_receipt, _other_entry]
)
def test_a_decision_that_the_ledger_does_not_have_is_not_believed(
    world: World, bend: Callable[[Any], None]
) -> None:
    decision_id = denied(world)

    def lie(path: str, value: Any) -> Any:
        if path.startswith("/decisions/"):
            bend(value)
        return value

    with pytest.raises(UntrustedAnswerError):
        client(world, lie).decision(decision_id)


def client(world: World, lie: Lie) -> ServiceClient:
    http = httpx2.Client(transport=Liar(world, lie))
    transport = Transport(ORIGIN, credential=party(TDC), http=http, clock=world.clock)
    return ServiceClient(transport, root_fingerprint=world.root, clock=world.clock)


@pytest.mark.parametrize("error", [PolicyError("broken"), PolicyUnavailableError("no answer")])
def test_an_engine_that_fails_denies_with_a_recorded_decision(
    world: World, monkeypatch: pytest.MonkeyPatch, error: PolicyError
) -> None:
    monkeypatch.setattr(Policies, "of", lambda *_: Policy(load_bundle(), Failing(error)))
    agreed = world.executed()
    headers = {"Content-Type": "application/json"}
    answer = world.request("POST", "/runs", content=pipeline(agreed).canonical(), headers=headers)
    problem = answer.json()
    assert answer.status_code == 503
    assert [reason["code"] for reason in problem["reasons"]] == [error.reason]
    with pytest.raises(RefusedError):
        world.client().submit(pipeline(agreed))
    monkeypatch.undo()
    assert world.client().decision(problem["decision_id"]).record.failed
    assert [run.state for run in world.client().runs().runs] == ["denied", "denied"]
    record_of(world, agreed.digest())


def test_decisions_are_counted_by_policy_and_outcome(world: World) -> None:
    def count() -> float:
        name = 'depa_decisions_total{entrypoint="training",outcome="deny"}'
        for line in world.http.get("/metrics").text.splitlines():
            if line.startswith(name):
                return float(line.rpartition(" ")[2])
        return 0.0

    before = count()
    denied(world)
    assert count() == before + 1


def test_openapi_names_what_these_paths_answer(world: World) -> None:
    paths = json.loads(world.http.get("/openapi.json").content)["paths"]
    for path in ("/policy/bundles", "/policy/bundles/{digest}", "/decisions/{decision_id}"):
        assert paths[path]["get"]["description"]
