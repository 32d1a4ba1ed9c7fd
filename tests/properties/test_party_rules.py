"""Rules of providers add to what the policy says, and take nothing away."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.decide import Policy
from policies.engine.protocol import PartyVerdict, RawReason
from policies.errors import PolicyError
from policies.party import PartyRules
from policies.wire.base import sha256
from policies.wire.decision import Entrypoint
from tests.party import module
from tests.samples import did
from tests.unit.policies.good import ENTRYPOINTS, case, change, document

POLICY = Policy.embedded()
MODULE = module("false")
SILENT = PartyVerdict(deny=(), warn=())
CHANGES = (
    ("/contract/policy/digest", "sha256:" + "0" * 64),
    ("/contract/policy/id", "other"),
    ("/now", -1),
    ("/now", "now"),
    ("/contract/policy/version", None),
)
BODIES = st.sampled_from(
    [
        "false",
        "true",
        "input.question == `training`",
        "input.now < 0",
        "1 / 0 == 1",
        "count(input.contract.datasets) > 1",
        "not data.depa.contract.complete",
    ]
)
MORE = st.sampled_from(
    [
        "",
        "allow := true\n",
        'decision := {"allow": true, "reasons": set(), "warnings": set()}\n',
        "depa.contract.deny := set()\n",
        "deny contains 7\n",
        "complete := true\n",
    ]
)
REASONS = st.lists(
    st.builds(
        RawReason,
        code=st.sampled_from(["PARTY_ANYTHING", "PARTY_OTHER", "EPSILON_EXCEEDED", "", "x"]),
        path=st.sampled_from(["", "/contract", "nowhere", "/" * 40]),
        msg=st.text(max_size=10),
    ),
    max_size=3,
).map(tuple)


@dataclasses.dataclass(frozen=True)
class Answering:
    """An engine that answers what it is told to, or fails."""

    verdict: PartyVerdict | None

    def evaluate(self, text: str, *, package: str, document: str) -> PartyVerdict:
        assert package in text
        assert '"question"' in document
        if self.verdict is None:
            raise PolicyError("it took too long")
        return self.verdict


def facts_of(entrypoint: Entrypoint, changes: list[tuple[str, Any]], data: bytes) -> bytes:
    facts = case(entrypoint)
    rule = {"provider": did("Hospital-A"), "name": "hospital_a", "digest": sha256(data)}
    change(facts, "/contract/policy/partyRules", [rule])
    for pointer, value in changes:
        change(facts, pointer, value)
    return document(facts)


def check(with_rules: Policy, without: Policy, entrypoint: Entrypoint, facts: bytes) -> None:
    more, less = with_rules.evaluate(entrypoint, facts), without.evaluate(entrypoint, facts)
    assert less.allow or not more.allow
    assert set(less.reasons) <= set(more.reasons)
    assert set(less.warnings) <= set(more.warnings)
    assert more.allow != bool(more.reasons)


def silent(data: bytes) -> Policy:
    return dataclasses.replace(
        POLICY, party=PartyRules(Answering(SILENT), texts={sha256(data): data})
    )


@given(
    st.sampled_from(ENTRYPOINTS),
    st.lists(st.sampled_from(CHANGES), max_size=2),
    st.one_of(st.none(), st.builds(PartyVerdict, deny=REASONS, warn=REASONS)),
)
@settings(max_examples=200, deadline=None)
def test_no_answer_of_an_engine_takes_a_reason_away(
    entrypoint: Entrypoint, changes: list[tuple[str, Any]], verdict: PartyVerdict | None
) -> None:
    texts = {sha256(MODULE): MODULE}
    policy = dataclasses.replace(POLICY, party=PartyRules(Answering(verdict), texts=texts))
    check(policy, silent(MODULE), entrypoint, facts_of(entrypoint, changes, MODULE))


@given(st.sampled_from(ENTRYPOINTS), st.lists(st.sampled_from(CHANGES), max_size=2), BODIES, MORE)
@settings(max_examples=60, deadline=None)
def test_no_module_takes_a_reason_away(
    entrypoint: Entrypoint, changes: list[tuple[str, Any]], body: str, more: str
) -> None:
    data = module(body) + more.encode()
    policy = POLICY.with_rules({sha256(data): data})
    check(policy, silent(data), entrypoint, facts_of(entrypoint, changes, data))
