from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from policies.masking import MAX_SHOWN, SHOWN, marks, mask
from policies.wire.base import sha256
from policies.wire.decision import Entrypoint, Mark, Reason
from tests.unit.policies.good import TOKEN, case, change, training_case

ENTRYPOINTS = get_args(Entrypoint)


def texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(texts, value.values()))
    if isinstance(value, list):
        return set().union(*map(texts, value))
    return {value} if isinstance(value, str) else set()


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_a_record_shows_of_texts_only_digests_and_what_a_closed_list_has(
    entrypoint: Entrypoint,
) -> None:
    shown = mask(entrypoint, case(entrypoint))
    assert shown is not None
    rules = SHOWN[entrypoint].values()
    enumerated = {text for rule in rules if isinstance(rule, frozenset) for text in rule}
    for value in shown.values():
        if isinstance(value, str):
            assert value in enumerated or value.startswith("sha256:")
    hidden = texts(case(entrypoint)) - enumerated
    for text in hidden:
        if text and not text.startswith("sha256:"):
            assert json.dumps(text) not in json.dumps(shown)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_every_listed_field_is_a_field_of_the_facts(entrypoint: Entrypoint) -> None:
    facts = case(entrypoint)
    if entrypoint == "release":
        assert facts["request"]["token"] == sha256(TOKEN)
    shown = mask(entrypoint, facts)
    assert shown is not None
    found = {"/".join("*" if part.isdigit() else part for part in p.split("/")) for p in shown}
    assert found == set(SHOWN[entrypoint])


def test_numbers_asked_and_granted_stand_side_by_side() -> None:
    shown = mask("training", training_case().to_json())
    assert shown is not None
    assert shown["/pipeline/stages/1/privacy/microEpsilon"] == 8_000_000
    assert shown["/contract/privacy/0/run/microEpsilon"] == 8_000_000
    assert shown["/budgets/0/tdcAfter"] == 8_000_000


@pytest.mark.parametrize(
    ("entrypoint", "pointer", "value"),
    [
        ("contract", "/executed", "yes"),
        ("contract", "/executed", 1),
        ("contract", "/now", True),
        ("contract", "/now", 1.5),
        ("contract", "/now", "2026"),
        ("contract", "/signatures", {"of": "somebody"}),
        ("training", "/contract/privacy/0/unit", "patient Jane Doe"),
        ("training", "/pipeline/stages/1/steps", None),
        ("attestation", "/expected/nonce", "a nonce as it stands"),
        ("release", "/run/state", "a state with a secret"),
        ("release", "/request/token", TOKEN.decode()),
    ],
)
def test_a_field_of_another_kind_hides_all_facts(
    entrypoint: Entrypoint, pointer: str, value: Any
) -> None:
    facts = case(entrypoint)
    change(facts, pointer, value)
    assert mask(entrypoint, facts) is None


def test_more_fields_than_a_record_has_room_for_hide_all_facts() -> None:
    facts = case("contract")
    facts["signatures"] *= MAX_SHOWN
    assert mask("contract", facts) is None


@pytest.mark.parametrize("facts", [None, [], "text", {}, {"contract": 1, "signatures": 2}])
def test_what_are_no_facts_show_none(facts: Any) -> None:
    assert not mask("contract", facts)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("", ""),
        ("/pipeline/1/config/privacyParams/epsilon", "/pipeline/1/config/privacyParams/epsilon"),
        ("/datasets/Jane Doe", ""),
        ("/datasets/did:x509:0", ""),
        ("/a" * 17, ""),
        ("/" + "a" * 65, ""),
        ("text", ""),
        ("/a\n", ""),
    ],
)
def test_a_pointer_that_could_hold_text_is_cut(path: str, kept: str) -> None:
    reason = Reason(code="SOME_CODE", path=path, msg="expected 1, got 2")
    assert marks([reason, reason]) == (Mark(code="SOME_CODE", path=kept),)
