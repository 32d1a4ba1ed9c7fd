"""Allowed facts with any node gone or replaced: denied, with a reason, and nothing else raised."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.decide import Policy
from policies.errors import PolicyError
from tests.properties.mutations import EXCHANGEABLE, SAFE, changed, place
from tests.unit.policies.good import ENTRYPOINTS, case, change, document

POLICY = Policy.embedded()

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


TEXTS = {
    e: {p: at(GOOD[e], p) for p in pointers(GOOD[e]) if isinstance(at(GOOD[e], p), str)}
    for e in ENTRYPOINTS
}


def allows(entrypoint: Any, facts: dict[str, Any]) -> bool:
    """Return whether facts are allowed; an error denies, anything else fails the test."""
    try:
        decision = POLICY.evaluate(entrypoint, document(facts))
    except PolicyError:
        return False
    assert decision.allow != bool(decision.reasons)
    return decision.allow


def bent(
    entrypoint: str, pointer: str, value: Any = None, *, remove: bool = False
) -> dict[str, Any]:
    facts = copy.deepcopy(GOOD[entrypoint])
    change(facts, pointer, value, remove=remove)
    return facts


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_no_change_is_allowed_but_those_that_are_stated(entrypoint: str) -> None:
    allowed: dict[str, set[str]] = {kind: set() for kind in SAFE[entrypoint]}
    for pointer in pointers(GOOD[entrypoint]):
        if allows(entrypoint, bent(entrypoint, pointer, remove=True)):
            allowed["gone"].add(place(pointer))
        for kind, value in changed(at(GOOD[entrypoint], pointer)):
            if allows(entrypoint, bent(entrypoint, pointer, value)):
                allowed[kind].add(place(pointer))
    assert allowed == SAFE[entrypoint]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_facts_with_a_node_of_another_type_are_not_allowed(entrypoint: str) -> None:
    for pointer in pointers(GOOD[entrypoint]):
        good = at(GOOD[entrypoint], pointer)
        for value in WRONG_TYPES:
            if type(value) is not type(good) or value == -1:
                assert not allows(entrypoint, bent(entrypoint, pointer, value)), (pointer, value)


@given(somewhere=st.sampled_from(PLACES), value=JSON)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_replacement_raises_anything_but_a_policy_error(
    somewhere: tuple[str, str], value: Any
) -> None:
    allows(somewhere[0], bent(*somewhere, value))


@given(data=st.data(), entrypoint=st.sampled_from(ENTRYPOINTS))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_text_from_elsewhere_in_the_facts_is_allowed_only_where_stated(
    data: st.DataObject, entrypoint: str
) -> None:
    texts = TEXTS[entrypoint]
    pointer = data.draw(st.sampled_from(sorted(texts)))
    value = data.draw(st.sampled_from(sorted(set(texts.values()) - {texts[pointer]})))
    facts = bent(entrypoint, pointer, value)
    assert not allows(entrypoint, facts) or place(pointer) in EXCHANGEABLE[entrypoint]


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_bytes_raise_anything_but_a_policy_error(facts: bytes) -> None:
    try:
        decision = POLICY.evaluate("release", facts)
    except PolicyError:
        return
    assert not decision.allow
    assert decision.reasons
