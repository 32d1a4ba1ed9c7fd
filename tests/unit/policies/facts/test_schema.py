from __future__ import annotations

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from policies.facts.schema import DIALECT, FACTS, input_schema, places, provider_schema
from tests.unit.policies.good import ENTRYPOINTS, case, change

BUNDLE = {"bundle": {"digest": "sha256:" + "0" * 64, "version": "1.0.0"}}


def validator(entrypoint: Any) -> Draft202012Validator:
    return Draft202012Validator(input_schema(entrypoint))


def paths(value: Any, at: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = {at}
    if isinstance(value, dict):
        for name, item in value.items():
            found |= paths(item, (*at, name))
    elif isinstance(value, list):
        for item in value:
            found |= paths(item, (*at, "*"))
    return found


def pointers(value: Any, at: str = "") -> list[str]:
    if isinstance(value, dict):
        return [p for name, item in value.items() for p in pointers(item, f"{at}/{name}")]
    if isinstance(value, list):
        return [p for index, item in enumerate(value) for p in pointers(item, f"{at}/{index}")]
    return [at]


def test_every_entrypoint_has_a_schema() -> None:
    assert set(FACTS) == set(ENTRYPOINTS)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_a_schema_is_one_of_its_dialect_and_accepts_good_facts(entrypoint: str) -> None:
    schema = input_schema(entrypoint)  # type: ignore[arg-type]  # one of the four names
    assert schema["$schema"] == DIALECT
    Draft202012Validator.check_schema(schema)
    validator(entrypoint).validate(case(entrypoint) | BUNDLE)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_a_schema_refuses_a_field_of_another_type_and_null(entrypoint: str) -> None:
    check = validator(entrypoint)
    for pointer in pointers(case(entrypoint)):
        for wrong in (None, {"x": 1}, 0.5):
            facts = copy.deepcopy(case(entrypoint)) | BUNDLE
            change(facts, pointer, wrong)
            assert not check.is_valid(facts), (pointer, wrong)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
@pytest.mark.parametrize("bend", [{"question": "x"}, {"now": -1}, {"now": 2**53}, {"bundle": {}}])
def test_a_schema_is_closed_and_bounded(entrypoint: str, bend: dict[str, Any]) -> None:
    assert not validator(entrypoint).is_valid(case(entrypoint) | BUNDLE | bend)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_a_schema_asks_for_everything_that_is_always_there(entrypoint: str) -> None:
    for name in case(entrypoint):
        facts = copy.deepcopy(case(entrypoint)) | BUNDLE
        del facts[name]
        assert not validator(entrypoint).is_valid(facts), name


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_good_facts_stand_at_places_of_the_schema(entrypoint: Any) -> None:
    known = places(input_schema(entrypoint))
    assert paths(case(entrypoint) | BUNDLE) <= set(known)
    assert known["contract", "attestation", "hostData"] == {"*"}
    assert known["now",] == set()


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_a_provider_sees_the_facts_of_each_question_and_which_it_is(entrypoint: Any) -> None:
    schema = provider_schema()
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    facts = case(entrypoint) | BUNDLE
    assert check.is_valid(facts | {"question": entrypoint})
    assert not check.is_valid(facts)
    assert not check.is_valid(facts | {"question": "attest"})
    seen = {place for place in places(input_schema(entrypoint)) if place[:1] != ("prepared",)}
    assert seen < set(places(schema))
