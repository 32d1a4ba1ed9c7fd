"""A provider's own rules: who may bring and read them, and that every decision asks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients.api.errors import NotFoundError, RefusedError, ServiceError
from clients.cli.errors import Refused, UsageError
from clients.cli.tasks.rules import upload_rules, write_rules
from contract_service.audit.tables import DocumentRow
from ledger.bundle import Bundle
from ledger.verify import verify_bundle
from policies.audit import audit
from policies.bundle import load_bundle
from policies.dossier import read_dossier
from policies.party import MAX_MODULE_BYTES, read_module
from policies.wire.base import sha256
from policies.wire.contract import Contract
from tests.party import GOOD, module
from tests.service.world import TDC, TDP_A, TDP_B, World, contract, party, running

TEXT = {"Content-Type": "text/plain"}
RULES = GOOD.encode()


@pytest.fixture
def world(empty_world: World) -> World:
    return empty_world


def named(data: bytes, *, name: str = "hospital_a", **changes: Any) -> Contract:
    """Return a contract under rules of its first provider."""
    rule = {"provider": party(TDP_A).did, "name": name, "digest": sha256(data), **changes}
    bundle = load_bundle()
    reference = {"id": "depa", "version": bundle.version, "digest": bundle.digest}
    return contract(policy=reference | {"partyRules": [rule]})


def test_rules_are_known_by_the_digest_of_their_text(world: World) -> None:
    taken = world.client(TDP_A).upload_rules(RULES)
    assert taken.digest == sha256(RULES)
    assert taken.name == "hospital_a"
    assert taken.codes == ("PARTY_LONG_RUN", "PARTY_TOO_FEW_PATIENTS")
    assert world.client(TDP_A).rules(taken.digest) == RULES
    assert world.client(TDP_B).upload_rules(RULES) == taken


def test_strangers_do_not_see_rules(world: World) -> None:
    digest = world.client(TDP_A).upload_rules(RULES).digest
    for name in (TDC, TDP_B):
        with pytest.raises(NotFoundError):
            world.client(name).rules(digest)
    assert world.request("GET", f"/policy/modules/{digest}", None).status_code == 401


def test_parties_of_a_contract_see_the_rules_that_it_names(world: World) -> None:
    digest = world.client(TDP_A).upload_rules(RULES).digest
    world.client(TDC).propose(named(RULES))
    for name in (TDC, TDP_B):
        assert world.client(name).rules(digest) == RULES
    with pytest.raises(NotFoundError):
        world.client("Stranger").rules(digest)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "0 lines"),
        (b"\xff", "not UTF-8"),
        (RULES + b"allow := true\n", "allow and decide nothing"),
        (RULES.replace(b"patients < 400", b"not patients > 400"), "negation"),
        (RULES.replace(b"patients < 400", b"time.now_ns() > 0"), "time.now_ns"),
        (RULES.replace(b"depa.party.", b"depa.training."), "0 lines"),
        (RULES + b"x := " + b"[\n" * 7000 + b"]\n" * 7000, "syntax"),
        (RULES + b"#" * MAX_MODULE_BYTES, "the limit is 32768"),
    ],
)
def test_unsound_rules_are_refused_and_not_kept(world: World, body: bytes, message: str) -> None:
    answer = world.request("POST", "/policy/modules", TDP_A, content=body, headers=TEXT)
    assert answer.status_code == 422
    assert any(message in problem["message"] for problem in answer.json()["problems"])
    digest = sha256(body)
    assert world.request("GET", f"/policy/modules/{digest}", TDP_A).status_code == 404


def test_a_body_of_another_type_or_size_is_refused(world: World) -> None:
    answer = world.request("POST", "/policy/modules", TDP_A, json={"rules": GOOD})
    assert answer.status_code == 415
    big = b"#" * (2 * 1024 * 1024)
    answer = world.request("POST", "/policy/modules", TDP_A, content=big, headers=TEXT)
    assert answer.status_code == 413
    assert world.request("POST", "/policy/modules", None, content=RULES, headers=TEXT).is_error


def test_a_party_cannot_fill_the_store(tmp_path: Path) -> None:
    with running(tmp_path / "small", rules_limit=1) as world:
        world.client(TDP_A).upload_rules(RULES)
        world.client(TDP_A).upload_rules(RULES)
        with pytest.raises(RefusedError, match="the limit is 1"):
            world.client(TDP_A).upload_rules(module())
        world.client(TDP_B).upload_rules(module())


@pytest.mark.parametrize(
    ("agreed", "pointer"),
    [
        (lambda: named(RULES), "/policy/partyRules/0/digest"),
        (lambda: named(module(), name="other_name"), "/policy/partyRules/0/name"),
    ],
)
def test_a_contract_whose_rules_are_not_here_is_refused(
    world: World, agreed: Callable[[], Contract], pointer: str
) -> None:
    world.client(TDP_A).upload_rules(module())
    with pytest.raises(ServiceError) as caught:
        world.client(TDC).propose(agreed())
    assert [problem.pointer for problem in caught.value.problem.problems] == [pointer]
    assert world.client(TDC).contracts().contracts == ()


def codes(error: ServiceError) -> set[str]:
    return {reason["code"] for reason in error.problem.reasons}


def asking(question: str) -> bytes:
    """Return rules that deny one of the questions."""
    return module(f'input.question == "{question}"')


def executed(world: World, data: bytes) -> Contract:
    world.client(TDP_A).upload_rules(data)
    rule = {"provider": party(TDP_A).did, "name": "hospital_a", "digest": sha256(data)}
    bundle = load_bundle()
    reference = {"id": "depa", "version": bundle.version, "digest": bundle.digest}
    return world.executed(policy=reference | {"partyRules": [rule]})


def test_rules_deny_a_pipeline_and_the_record_can_be_audited(world: World) -> None:
    agreed = executed(world, asking("training"))
    with pytest.raises(RefusedError) as caught:
        world.approved(agreed)
    assert codes(caught.value) == {"PARTY_ANYTHING"}
    findings = audited(world, agreed)
    assert "2 made again, 1 allow, 1 deny" in findings


def test_rules_that_say_nothing_let_a_run_through(world: World) -> None:
    agreed = executed(world, RULES)
    run = world.approved(agreed).run
    assert world.room(run).release().keys
    findings = audited(world, agreed)
    assert "4 made again, 4 allow, 0 deny" in findings


@pytest.mark.parametrize("question", ["attestation", "release"])
def test_rules_hold_keys_back(world: World, question: str) -> None:
    agreed = executed(world, asking(question))
    room = world.room(world.approved(agreed).run)
    with pytest.raises(RefusedError) as caught:
        room.release()
    assert codes(caught.value) == {"PARTY_ANYTHING"}
    assert world.vault.asked == []


def test_rules_that_are_gone_deny(world: World) -> None:
    agreed = executed(world, RULES)
    with world.app.state.services.context.database.write() as session:
        row = session.get_one(DocumentRow, sha256(RULES))
        row.content = b"package depa.party.hospital_a"
        session.add(row)
    with pytest.raises(RefusedError) as caught:
        world.approved(agreed)
    assert codes(caught.value) == {"PARTY_RULE_UNKNOWN"}


def test_rules_that_fail_deny_and_fail_again_for_an_auditor(world: World) -> None:
    failing = module("input.question == `training`\n\t1 % (count(input) - count(input)) == 0")
    agreed = executed(world, failing)
    with pytest.raises(RefusedError) as caught:
        world.approved(agreed)
    assert codes(caught.value) == {"PARTY_RULE_FAILED"}
    assert "2 made again, 1 allow, 1 deny" in audited(world, agreed)


def audited(world: World, agreed: Contract) -> str:
    """Return what an auditor finds about decisions."""
    log = verify_bundle(
        Bundle.parse(world.client().contract_bundle(agreed.digest())),
        root_fingerprint=world.root,
        at=int(world.clock()),
    )
    dossier = read_dossier(log, contract_digest=agreed.digest())
    found = audit(dossier, policies={load_bundle().digest: load_bundle()})
    return next(each.detail for each in found if each.title == "decisions")


def test_a_draft_brings_its_rules_along(world: World, tmp_path: Path) -> None:
    agreed, draft = named(RULES), tmp_path / "contract.json"
    with pytest.raises(Refused, match="nor at the service"):
        upload_rules(world.client(TDC), draft, agreed)
    write_rules(draft, [read_module(RULES)])
    upload_rules(world.client(TDC), draft, agreed)
    world.client(TDC).propose(agreed)
    assert world.client(TDP_A).rules(sha256(RULES)) == RULES


def test_rules_that_the_service_has_need_no_file(world: World, tmp_path: Path) -> None:
    world.client(TDC).upload_rules(RULES)
    upload_rules(world.client(TDC), tmp_path / "contract.json", named(RULES))


def test_two_modules_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    modules = [read_module(RULES), read_module(module())]
    with pytest.raises(UsageError, match="two modules of rules are called hospital_a"):
        write_rules(tmp_path / "contract.json", modules)
    assert list(tmp_path.iterdir()) == []


def test_rules_keep_a_contract_from_being_proposed(world: World) -> None:
    with pytest.raises(RefusedError) as caught:
        executed(world, asking("contract"))
    assert codes(caught.value) == {"PARTY_ANYTHING"}
    assert world.client().contracts().contracts == ()
