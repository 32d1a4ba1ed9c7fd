"""What another policy would have said about decisions that were recorded."""

from __future__ import annotations

import pytest

from policies.bundle import Bundle, build, load_bundle
from policies.decide import Policy
from policies.errors import PolicyError
from policies.facts import TrainingFacts
from policies.impact import Replayable, reconsider
from policies.record import record
from policies.wire.base import canonical_json, sha256
from tests.unit.policies.good import NOW, RUN, training_case

SALT = b"s" * 32
BUDGET = "depa/pipeline/budget.rego"
PAIRS = "some pair in budgeted\n\tbudget := pair.budget\n\tlimit := pair.limit\n\t"
EXHAUSTED = f"{PAIRS}budget.tdcAfter > limit.total.microEpsilon"
CONFORMS = "depa/training/conforms.rego"
UNSPENT = "budget.tdcAfter * 10 <= tightest.totalMicroEpsilon * 9"


def changed(old: str, new: str, *, path: str = BUDGET) -> Bundle:
    text = load_bundle().files[path].decode()
    assert old in text
    return build({**load_bundle().files, path: text.replace(old, new).encode()})


def stricter() -> Bundle:
    """Return rules of which the one about budgets denies all that is spent, and is asked for it."""
    asked = changed(UNSPENT, "budget.tdcAfter <= 1", path=CONFORMS).files[CONFORMS]
    rule = changed(EXHAUSTED, f"{PAIRS}budget.tdcAfter > 1")
    return build({**rule.files, CONFORMS: asked})


def decided(facts: TrainingFacts, policy: Policy) -> Replayable:
    entry = record(
        policy.training(facts),
        facts,
        salt=SALT,
        decision_id="dec-1",
        pipeline=facts.pipeline.digest,
        run=RUN,
        decided_at=NOW,
    )
    return Replayable(entry, SALT, facts.canonical())


@pytest.fixture(scope="module")
def allowed() -> Replayable:
    return decided(training_case(), Policy.embedded())


@pytest.fixture(scope="module")
def denied() -> Replayable:
    facts = training_case()
    spent = [item.model_copy(update={"tdc_after": 19_000_000}) for item in facts.budgets]
    return decided(facts.model_copy(update={"budgets": tuple(spent)}), Policy.embedded())


def test_the_same_policy_changes_nothing(allowed: Replayable, denied: Replayable) -> None:
    same = Policy.embedded()
    found = reconsider([allowed, denied], old=same, new=same)
    assert [(one.before, one.after) for one in found] == [("allow", "allow"), ("deny", "deny")]
    assert not any(one.flipped or one.lost or one.gained for one in found)


def test_a_stricter_rule_denies_what_was_allowed(allowed: Replayable) -> None:
    (one,) = reconsider([allowed], old=Policy.embedded(), new=Policy.embedded(stricter()))
    assert (one.before, one.after, one.gained) == ("allow", "deny", ("BUDGET_EXHAUSTED",))
    assert one.flipped
    assert not one.newly_allowed


def test_a_weaker_rule_allows_what_was_denied(denied: Replayable) -> None:
    enough = f"{PAIRS}budget.tdcAfter > 99 * limit.total.microEpsilon"
    weaker = Policy.embedded(changed(EXHAUSTED, enough))
    (one,) = reconsider([denied], old=Policy.embedded(), new=weaker)
    assert (one.before, one.after, one.lost) == ("deny", "allow", ("BUDGET_EXHAUSTED",))
    assert one.newly_allowed


def test_the_amended_policy_is_no_mismatch_and_any_other_one_still_is(allowed: Replayable) -> None:
    facts = training_case()
    agreed = facts.contract.policy.model_copy(update={"id": "other"})
    contract = facts.contract.model_copy(update={"policy": agreed})
    foreign = decided(facts.model_copy(update={"contract": contract}), Policy.embedded())
    new = Policy.embedded(changed(EXHAUSTED, f"{EXHAUSTED} + 0"))
    mine, other = reconsider([allowed, foreign], old=Policy.embedded(), new=new)
    assert (mine.before, mine.after) == ("allow", "allow")
    assert (other.before, other.after) == ("deny", "deny")


def test_a_policy_that_cannot_be_evaluated_denies_everything(allowed: Replayable) -> None:
    broken = Policy.embedded(changed("package depa.pipeline", "package depa.pipeline\n\nx := {"))
    (one,) = reconsider([allowed], old=Policy.embedded(), new=broken)
    assert (one.after, one.gained) == ("deny", ("POLICY_ERROR",))


def test_decisions_of_a_third_policy_are_compared_under_the_two(allowed: Replayable) -> None:
    (one,) = reconsider([allowed], old=Policy.embedded(stricter()), new=Policy.embedded())
    assert (one.before, one.after) == ("deny", "allow")


def test_a_decision_that_does_not_come_out_as_recorded_is_an_error(denied: Replayable) -> None:
    lying = denied.entry.model_copy(update={"allow": True, "reasons": ()})
    with pytest.raises(PolicyError, match="recorded allow True"):
        reconsider(
            [Replayable(lying, SALT, denied.facts)], old=Policy.embedded(), new=Policy.embedded()
        )


def test_other_facts_than_recorded_are_an_error(allowed: Replayable) -> None:
    with pytest.raises(PolicyError, match="expected facts of"):
        reconsider(
            [Replayable(allowed.entry, SALT, allowed.facts + b" ")],
            old=Policy.embedded(),
            new=Policy.embedded(),
        )


@pytest.mark.parametrize("facts", [{}, {"contract": 1}, {"contract": {"policy": 1}}])
def test_facts_without_an_agreed_policy_are_an_error(
    allowed: Replayable, facts: dict[str, object]
) -> None:
    data = canonical_json(facts)
    update = {"policy": "sha256:" + "0" * 64, "input_digest": sha256(SALT + data)}
    item = Replayable(allowed.entry.model_copy(update=update), SALT, data)
    with pytest.raises(PolicyError, match="agreed policy"):
        reconsider([item], old=Policy.embedded(), new=Policy.embedded())
