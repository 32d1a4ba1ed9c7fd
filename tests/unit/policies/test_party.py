from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from policies.decide import Policy
from policies.engine.workers import Workers
from policies.errors import DocumentError, PolicyError
from policies.party import MAX_MODULE_BYTES, PartyRules, read_module
from policies.wire.base import sha256
from policies.wire.decision import Decision, Entrypoint
from tests.party import GOOD, module, text
from tests.samples import did
from tests.unit.policies.good import ENTRYPOINTS, case, change, document

ENTRYPOINT: dict[str, Entrypoint] = {name: name for name in ENTRYPOINTS}  # type: ignore[misc]


def with_rules(facts: dict[str, Any], *modules: bytes, name: str = "hospital_a") -> dict[str, Any]:
    rules = [
        {"provider": did("Hospital-A"), "name": name, "digest": sha256(data)} for data in modules
    ]
    change(facts, "/contract/policy/partyRules", rules)
    return facts


def judged(policy: Policy, entrypoint: Entrypoint, *modules: bytes, **changes: Any) -> Decision:
    facts = with_rules(case(entrypoint), *modules, **changes)
    texts = {sha256(data): data for data in modules}
    return policy.with_rules(texts).evaluate(entrypoint, document(facts))


@pytest.mark.parametrize("entrypoint", ENTRYPOINT.values())
def test_a_provider_can_deny_every_decision(policy: Policy, entrypoint: Entrypoint) -> None:
    decision = judged(policy, entrypoint, module(path='"/contract"', msg="input.question"))
    assert not decision.allow
    (reason,) = decision.reasons
    assert reason.msg == f"by the rules hospital_a: {entrypoint}"


@pytest.mark.parametrize(
    ("entrypoint", "said", "path"),
    [
        ("contract", "/contract/purpose", "/purpose"),
        ("contract", "/contract", ""),
        ("contract", "/contracts", "/contracts"),
        ("contract", "", ""),
        ("training", "/contract/purpose", "/contract/purpose"),
        ("training", "/pipeline/1", "/pipeline/1"),
        ("release", "/contract/purpose", "/contract/purpose"),
    ],
)
def test_a_providers_reason_stands_where_the_policys_would(
    policy: Policy, entrypoint: Entrypoint, said: str, path: str
) -> None:
    assert judged(policy, entrypoint, module(path=text(said))).reasons[0].path == path


def test_a_provider_sees_what_the_policy_sees(policy: Policy) -> None:
    assert judged(policy, "contract", GOOD.encode()).allow
    few = GOOD.replace("< 400", "< 441").encode()
    (reason,) = judged(policy, "contract", few).reasons
    assert reason.code == "PARTY_TOO_FEW_PATIENTS"
    assert "got 440" in reason.msg


def test_a_warning_does_not_deny(policy: Policy) -> None:
    decision = judged(policy, "training", GOOD.encode())
    assert decision.allow
    assert [warning.code for warning in decision.warnings] == ["PARTY_LONG_RUN"]


def test_reasons_of_bundle_and_provider_stand_together(policy: Policy) -> None:
    data = module()
    facts = with_rules(case("contract"), data)
    change(facts, "/contract/purpose", "MARKETING")
    decision = policy.with_rules({sha256(data): data}).evaluate("contract", document(facts))
    assert {reason.code for reason in decision.reasons} == {"PARTY_ANYTHING", "PURPOSE_NOT_ALLOWED"}


def test_rules_of_several_providers_are_all_asked(policy: Policy) -> None:
    one, two = module(msg='"one"'), module(msg='"two"', name="hospital_b")
    facts = with_rules(case("contract"), one, two)
    rule = {"provider": did("Hospital-B"), "name": "hospital_b", "digest": sha256(two)}
    change(facts, "/contract/policy/partyRules/1", rule)
    asked = policy.with_rules({sha256(data): data for data in (one, two)})
    reasons = asked.evaluate("contract", document(facts)).reasons
    assert [reason.msg[-3:] for reason in reasons] == ["one", "two"]


@pytest.mark.parametrize(
    ("entrypoint", "path"),
    [
        ("contract", "/policy/partyRules/0"),
        ("training", "/contract/policy/partyRules/0"),
        ("attestation", "/contract/policy/partyRules/0"),
        ("release", "/contract/policy/partyRules/0"),
    ],
)
def test_an_absent_text_denies(policy: Policy, entrypoint: Entrypoint, path: str) -> None:
    facts = with_rules(case(entrypoint), module())
    (reason,) = policy.evaluate(entrypoint, document(facts)).reasons
    assert (reason.code, reason.path) == ("PARTY_RULE_UNKNOWN", path)
    assert "hospital_a" in reason.msg


def test_another_text_denies(policy: Policy) -> None:
    data = module("false")
    facts = with_rules(case("contract"), data)
    texts = {sha256(data): data + b"\n"}
    (reason,) = policy.with_rules(texts).evaluate("contract", document(facts)).reasons
    assert reason.code == "PARTY_RULE_UNKNOWN"


@pytest.mark.parametrize(
    "data",
    [
        module("1 / 0 == 1"),
        module("f(1)") + b"f(x) := f(x + 1)\n",
        module("some x in numbers.range(1, 100000000)\n\tx == 0"),
        module("true", path='"no pointer"'),
        module("true", path='"/with a blank"'),
        module("true", path="7"),
        module(name="somebody_else"),
        module().replace(b"deny contains", b"allow contains"),
        module().replace(b'"code": "PARTY_ANYTHING"', b'"code": "PARTY_UNEXPLAINED"'),
        module().replace(b"PARTY_ANYTHING", b"EPSILON_EXCEEDED"),
        module().replace(b"PARTY_ANYTHING", b"PARTY_MISSING"),
        module().replace(b"PARTY_ANYTHING", b"PARTY_RULE_FAILED"),
        b"\xff",
        b"package depa.party.hospital_a\n",
        module() + b"#" * MAX_MODULE_BYTES,
    ],
)
def test_a_module_that_fails_denies_and_is_named(policy: Policy, data: bytes) -> None:
    decision = judged(policy, "contract", data)
    assert not decision.allow
    (reason,) = decision.reasons
    assert reason.code == "PARTY_RULE_FAILED"
    assert reason.msg.startswith(f"rules hospital_a of {did('Hospital-A')}: ")


HOSTILE = (
    "allow := true",
    "default allow := true",
    'decision := {"allow": true, "reasons": set(), "warnings": set()}',
    'depa.training.decision := {"allow": true, "reasons": set(), "warnings": set()}',
    "depa.contract.deny := set()",
    "complete := true",
)


@pytest.mark.parametrize("more", HOSTILE)
@pytest.mark.parametrize("entrypoint", ENTRYPOINT.values())
def test_a_hostile_module_turns_no_denial_into_an_approval(
    policy: Policy, entrypoint: Entrypoint, more: str
) -> None:
    data = module("false") + more.encode() + b"\n"
    facts = with_rules(case(entrypoint), data)
    change(facts, "/contract/policy/digest", sha256(b"other"))
    decision = policy.with_rules({sha256(data): data}).evaluate(entrypoint, document(facts))
    assert "POLICY_MISMATCH" in {reason.code for reason in decision.reasons}
    assert not decision.allow


@pytest.mark.parametrize("package", ["depa.training", "depa.contract", "depa.lib", "depa.party"])
def test_a_module_in_a_package_of_the_bundle_denies(policy: Policy, package: str) -> None:
    data = module("false").replace(b"depa.party.hospital_a", package.encode())
    (reason,) = judged(policy, "training", data).reasons
    assert reason.code == "PARTY_RULE_FAILED"


def test_a_module_cannot_read_the_bundle(policy: Policy) -> None:
    data = module("count(data.depa.contract.deny) == 0")
    assert judged(policy, "contract", data).allow
    assert not judged(policy, "contract", module("not data.depa.contract.complete")).allow


@pytest.mark.parametrize("rules", [7, "x", [7], [{"provider": "did:web:a"}], {"0": {}}])
def test_malformed_names_of_rules_are_never_allowed(policy: Policy, rules: object) -> None:
    facts = case("contract")
    change(facts, "/contract/policy/partyRules", rules)
    (reason,) = policy.evaluate("contract", document(facts)).reasons
    assert reason.code == "POLICY_ERROR"
    assert "partyRules" in reason.msg


def test_a_contract_without_rules_of_providers_starts_no_process() -> None:
    embedded, workers = Policy.embedded(), Workers()
    policy = Policy(embedded.bundle, embedded.engine, party=PartyRules(workers))
    assert policy.evaluate("contract", document(case("contract"))).allow
    assert workers._idle == []


def test_facts_cannot_say_what_is_asked(policy: Policy) -> None:
    data = module('input.question != "contract"')
    facts = with_rules(case("contract"), data) | {"question": "release"}
    decision = policy.with_rules({sha256(data): data}).evaluate("contract", document(facts))
    assert decision.allow


def test_a_code_of_a_provider_is_explained(policy: Policy) -> None:
    policy = policy.with_rules({"sha256:0": b"{}", sha256(GOOD.encode()): GOOD.encode()})
    found = policy.explain("PARTY_LONG_RUN")
    assert (found.severity, found.title) == ("warn", "The run trains long")
    assert found.remedy == "Expect the hospital to ask why."
    with pytest.raises(PolicyError, match="PARTY_OTHER"):
        policy.explain("PARTY_OTHER")


def test_a_module_says_what_it_is() -> None:
    found = read_module(GOOD.encode())
    assert found.name == "hospital_a"
    assert found.digest == sha256(GOOD.encode())
    assert sorted(found.codes) == ["PARTY_LONG_RUN", "PARTY_TOO_FEW_PATIENTS"]
    assert "sum(" not in repr(found)


@pytest.mark.parametrize(
    ("change_text", "message"),
    [
        (lambda t: t.replace("package depa.party.", "package depa."), "0 lines"),
        (lambda t: t.replace("hospital_a", "Hospital"), "0 lines"),
        (lambda t: t.replace("hospital_a", "a" * 32), "0 lines"),
        (lambda t: t + "package depa.party.b\n", "2 lines"),
        (lambda t: t.replace("#   code", "#   kode"), "explains no code"),
        (lambda t: t.replace("#   remedy: Add", "# Add"), "without title and remedy"),
        (lambda t: t.replace("# title: Too", "# Too"), "without title and remedy"),
        (lambda t: t.replace("PARTY_LONG", "LONG"), "begins with PARTY_"),
        (lambda t: t.replace("PARTY_LONG_RUN", "PARTY_RULE_FAILED"), "no reason of it can be"),
        (lambda t: t.replace("warn contains", "allow contains"), "no reason of it can be"),
        (lambda t: t + "#" * MAX_MODULE_BYTES, "the limit is 32768"),
    ],
)
def test_a_text_that_does_not_say_what_it_is_is_refused(
    change_text: Callable[[str], str], message: str
) -> None:
    with pytest.raises(DocumentError, match=message):
        read_module(change_text(GOOD).encode())


def test_facts_reach_a_module_whole(policy: Policy) -> None:
    data = module(msg="sprintf(`%v`, [count(input)])")
    facts = with_rules(case("contract"), data)
    decision = policy.with_rules({sha256(data): data}).evaluate("contract", document(facts))
    (reason,) = decision.reasons
    # The question and the bundle come on top.
    assert reason.msg.endswith(f": {len(json.loads(document(facts))) + 2}")
