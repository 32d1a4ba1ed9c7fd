from __future__ import annotations

from policies.decide import Policy
from tests.policy_load import contract_of, facts_of, pipeline_of


def test_what_decisions_are_timed_with_has_its_size_and_is_allowed(policy: Policy) -> None:
    first, second = contract_of(1), contract_of(2)
    assert first.digest() != second.digest()
    for contract in (first, second):
        pipeline = pipeline_of(contract)
        assert 10_500 < len(contract.canonical()) < 11_500
        assert 5_500 < len(pipeline.canonical()) < 6_500
        decision = policy.training(facts_of(contract, pipeline))
        assert decision.allow, decision
        assert not decision.warnings
