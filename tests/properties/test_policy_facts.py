"""Allowed facts with any node gone or replaced: denied, with a reason, and nothing else raised."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.decide import Policy
from policies.errors import PolicyError
from tests.unit.policies.good import ENTRYPOINTS, case, change, document

POLICY = Policy.embedded()

# The texts that the rules of an entrypoint do not judge, so that another one is allowed: names and
# versions by which nothing is compared, and what another entrypoint judges. Everything here is
# under a digest that is judged, that of the contract or of the pipeline.
_TERMS = {
    "/contract/policy/version",
    "/contract/baseModels/0/id",
    "/contract/models/0",
    "/contract/attestation/authorities/0",
    "/contract/attestation/hostData/0",
    "/contract/attestation/compliance/0",
    "/contract/baseModels/0/key/name",
}
_KEYS = {"/contract/datasets/0/key/name", "/contract/datasets/1/key/name"}
UNJUDGED = {
    "contract": _TERMS | _KEYS,
    "training": (
        _TERMS
        | _KEYS
        | {
            "/pipeline/stages/0/path",
            "/pipeline/stages/1/path",
            "/pipeline/stages/1/metrics/0/name",
        }
    )
    - {"/contract/baseModels/0/id", "/contract/models/0"},
    "attestation": {"/contract/policy/version", "/claims/measurement"},
    # A base model that is read is compared with the key that is asked for.
    "release": _TERMS - {"/contract/baseModels/0/id", "/contract/baseModels/0/key/name"},
}

# Limits and clocks may change within bounds without changing the answer; no other type and
# nothing below zero may.
WRONG_TYPES: list[Any] = [None, "x", [], {"x": None}, True, -1]
GOOD = {entrypoint: case(entrypoint) for entrypoint in ENTRYPOINTS}


def pointers(value: Any, at: str = "") -> list[str]:
    found = [at] if at else []
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else []
    )
    for key, item in items:
        found += pointers(item, f"{at}/{key}")
    return found


PLACES = [(e, pointer) for e in ENTRYPOINTS for pointer in pointers(GOOD[e])]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def at(facts: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        facts = facts[int(part)] if isinstance(facts, list) else facts[part]
    return facts


def allows(entrypoint: Any, facts: dict[str, Any]) -> bool:
    """Return whether facts are allowed; an error denies, anything else fails the test."""
    try:
        decision = POLICY.evaluate(entrypoint, document(facts))
    except PolicyError:
        return False
    assert decision.allow != bool(decision.reasons)
    return decision.allow


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_facts_without_any_one_of_their_nodes_are_not_allowed(entrypoint: str) -> None:
    for pointer in pointers(GOOD[entrypoint]):
        facts = copy.deepcopy(GOOD[entrypoint])
        change(facts, pointer, remove=True)
        assert not allows(entrypoint, facts) or fewer(entrypoint, pointer), pointer


def fewer(entrypoint: str, pointer: str) -> bool:
    """Tell whether less in this list asks for less, or trusts less, and so may be allowed."""
    lists = {
        "contract": ["/contract/baseModels/", "/contract/models/"],
        "training": ["/pipeline/stages/1/baseWeights/", "/pipeline/stages/1/metrics/"],
        "attestation": [],
        "release": ["/contract/baseModels/", "/contract/models/", "/request/keys/"],
    }
    parent, _, last = pointer.rpartition("/")
    return last.isdigit() and f"{parent}/" in lists[entrypoint]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_facts_with_a_node_of_another_type_are_not_allowed(entrypoint: str) -> None:
    for pointer in pointers(GOOD[entrypoint]):
        good = at(GOOD[entrypoint], pointer)
        for value in WRONG_TYPES:
            if type(value) is not type(good) or value == -1:
                facts = copy.deepcopy(GOOD[entrypoint])
                change(facts, pointer, value)
                assert not allows(entrypoint, facts), (pointer, value)


@given(place=st.sampled_from(PLACES), value=JSON)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_replacement_raises_anything_but_a_policy_error(
    place: tuple[str, str], value: Any
) -> None:
    entrypoint, pointer = place
    facts = copy.deepcopy(GOOD[entrypoint])
    change(facts, pointer, value)
    allows(entrypoint, facts)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
@pytest.mark.parametrize("other", ["other", "sha256:latest", "True"])
def test_another_text_is_allowed_nowhere_but_where_texts_are_not_judged(
    entrypoint: str, other: str
) -> None:
    allowed = set()
    for pointer in pointers(GOOD[entrypoint]):
        if isinstance(at(GOOD[entrypoint], pointer), str):
            facts = copy.deepcopy(GOOD[entrypoint])
            change(facts, pointer, other)
            if allows(entrypoint, facts):
                allowed.add(pointer)
    assert allowed == UNJUDGED[entrypoint]


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_bytes_raise_anything_but_a_policy_error(facts: bytes) -> None:
    try:
        decision = POLICY.evaluate("release", facts)
    except PolicyError:
        return
    assert not decision.allow
    assert decision.reasons
