"""Dry runs: the answer of a submission, and not a row of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import func, select

from clients.api.errors import NotFoundError, RefusedError, UntrustedAnswerError
from contract_service.metrics import DECISIONS
from contract_service.schema import METADATA
from policies.bundle import load_bundle
from policies.wire.contract import Contract
from tests.service.test_client import client as lying
from tests.service.test_policy import GREEDY
from tests.service.world import CCRP, TDC, TDP_A, World, contract, pipeline
from tests.simulator import party
from tests.unit.policies.good import other_bundle

JSON = {"Content-Type": "application/json"}
SIGN_IN = {"used_token", "party"}
"""Tables that every request of a party writes, whatever it asks."""


def rows(world: World) -> dict[str, int]:
    """Count the rows of all tables but those of signing in, and the entries of the log."""
    context = world.app.state.services.context
    with context.database.read() as session:
        counts = {
            name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in METADATA.tables.items()
            if name not in SIGN_IN
        }
    return counts | {"log": context.log.size}


def draft(**changes: Any) -> Contract:
    return contract(id="0f7e6a52-0000-4000-8000-00000000000d", **changes)


def ask(world: World, question: Any, name: str | None = TDC) -> Any:
    body = question if isinstance(question, bytes) else json.dumps(question).encode()
    return world.request("POST", "/policy/check", name, content=body, headers=JSON)


def exhausted(world: World) -> Contract:
    """Return a contract whose budget has no room for another run."""
    agreed = world.executed()
    while world.client().check(agreed.digest(), pipeline(agreed)).decision.allow:
        world.room(world.approved(agreed).run).release()
    return agreed


def test_a_dry_run_writes_nothing_whatever_it_answers(world: World) -> None:
    agreed = world.executed()
    world.approved(agreed)
    before, counted = rows(world), DECISIONS.labels("training", "allow")._value.get()
    party_client = world.client()
    assert party_client.check(agreed.digest(), pipeline(agreed)).decision.allow
    assert not party_client.check(
        agreed.digest(), pipeline(agreed, privacyParams=GREEDY)
    ).decision.allow
    assert party_client.check(agreed.digest()).decision.allow
    assert party_client.check(draft()).decision.allow
    assert party_client.check(draft(), pipeline(draft())).decision.allow
    assert ask(world, {"contract": "x"}).status_code == 422
    assert rows(world) == before
    assert DECISIONS.labels("training", "allow")._value.get() == counted


def test_a_dry_run_answers_what_the_submission_answers(world: World) -> None:
    agreed = world.executed()
    greedy = pipeline(agreed, privacyParams=GREEDY)
    said = world.client().check(agreed.digest(), greedy).decision
    with pytest.raises(RefusedError) as error:
        world.client().submit(greedy)
    decided = world.client().decision(error.value.problem.decision_id)
    assert (said.allow, said.reasons, said.warnings) == (
        decided.record.allow,
        decided.reasons,
        decided.warnings,
    )
    assert (said.policy, said.engine) == (decided.record.policy, decided.record.engine)


def test_a_dry_run_says_what_a_run_would_cost(world: World) -> None:
    agreed = world.executed()
    answer = world.client().check(agreed.digest(), pipeline(agreed))
    assert answer.assumes == ()
    assert answer.mode == "dry-run"
    assert 7_000_000 < (answer.micro_epsilon or 0) <= 8_000_000
    assert answer.delta_trillionths == 500_000_000
    assert world.client().check(agreed.digest()).micro_epsilon is None


def test_a_dry_run_knows_what_was_spent(world: World) -> None:
    agreed = exhausted(world)
    decision = world.client().check(agreed.digest(), pipeline(agreed)).decision
    assert {reason.code for reason in decision.reasons} == {"BUDGET_EXHAUSTED"}


def test_a_dry_run_knows_who_has_not_signed_and_who_has_revoked(world: World) -> None:
    open_one = draft()
    world.client().propose(open_one)
    said = world.client().check(open_one.digest()).decision
    assert {reason.code for reason in said.reasons} == {"SIGNATURE_MISSING"}
    agreed = world.executed()
    world.revoke(agreed, TDP_A)
    said = world.client().check(agreed.digest(), pipeline(agreed)).decision
    assert "CONTRACT_REVOKED" in {reason.code for reason in said.reasons}


@pytest.mark.parametrize("name", [TDP_A, CCRP])
def test_every_party_may_ask(world: World, name: str) -> None:
    agreed = world.executed()
    assert world.client(name).check(agreed.digest(), pipeline(agreed)).decision.allow


def test_a_stranger_learns_nothing_about_a_contract(world: World) -> None:
    agreed = exhausted(world)
    with pytest.raises(NotFoundError):
        world.client("Stranger").check(agreed.digest(), pipeline(agreed))
    # Whoever has its text may ask about it as about any draft: not who signed, not what is spent.
    told = world.client("Stranger").check(agreed, pipeline(agreed))
    assert told.assumes == ("signatures", "unspent-budgets")
    assert told.decision.allow
    known = world.client().check(agreed, pipeline(agreed))
    assert known.assumes == ()
    assert not known.decision.allow
    assert ask(world, {"contract": agreed.digest()}, None).status_code == 401


def test_a_clean_room_asks_no_questions(world: World) -> None:
    agreed = world.executed()
    room = world.room(world.approved(agreed).run)
    headers = JSON | {"Authorization": f"Bearer {room.capability}"}
    body = json.dumps({"contract": agreed.digest()}).encode()
    assert world.http.post("/policy/check", content=body, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("question", "pointer"),
    [
        ({}, "/contract"),
        ({"contract": 1}, "/contract"),
        ({"contract": {"title": "x"}}, "/contract/id"),
        ({"contract": {}, "unknown": 1}, "/unknown"),
        ({"contract": "sha256:" + "0" * 64, "pipeline": []}, "/pipeline"),
    ],
)
def test_a_question_that_is_none_is_refused_by_field(
    world: World, question: Any, pointer: str
) -> None:
    answer = ask(world, question)
    assert answer.status_code == 422
    assert any(item["pointer"].startswith(pointer) for item in answer.json()["problems"])


def test_a_pipeline_that_is_none_is_refused_by_field(world: World) -> None:
    answer = ask(world, {"contract": world.executed().digest(), "pipeline": {"name": "x"}})
    assert answer.status_code == 422
    assert "/pipeline/contract" in [item["pointer"] for item in answer.json()["problems"]]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"\xff", b'{"a":1,"a":2}', b" " * 600_000])
def test_what_is_no_json_is_refused(world: World, body: bytes) -> None:
    assert ask(world, body).status_code == 422


def test_a_question_that_is_too_large_is_not_read(world: World) -> None:
    assert ask(world, b" " * (1024 * 1024 + 1)).status_code == 413


def test_a_draft_under_a_policy_that_nobody_knows_is_denied(world: World) -> None:
    value = {"id": "depa", "version": "1.0.1", "digest": other_bundle().digest}
    said = world.client().check(draft(policy=value)).decision
    assert (said.allow, said.policy) == (False, load_bundle().digest)
    assert {reason.code for reason in said.reasons} == {"POLICY_MISMATCH"}


def test_an_answer_by_another_policy_than_the_draft_names_is_not_believed(world: World) -> None:
    def lie(path: str, value: Any) -> Any:
        if path == "/policy/check":
            value["decision"]["policy"] = other_bundle().digest
        return value

    with pytest.raises(UntrustedAnswerError, match="policy"):
        lying(world, lie).check(draft())


def test_openapi_has_question_and_answer(world: World) -> None:
    post = world.http.get("/openapi.json").json()["paths"]["/policy/check"]["post"]
    assert "contract" in json.dumps(post["requestBody"])
    assert "PolicyAnswer" in json.dumps(post["responses"]["200"])


def test_the_stranger_of_these_tests_is_no_party() -> None:
    assert party("Stranger").did not in {each.id for each in contract().parties}
