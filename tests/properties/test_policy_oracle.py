"""The embedded engine against OPA itself, on thousands of bent inputs: the same answers."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from clients.api.opa import OpaEngine
from policies.bundle import load_bundle
from policies.decide import Policy
from policies.engine import RegorusEngine
from policies.errors import PolicyError
from policies.wire.base import canonical_json
from tests.opa_server import OpaServer, serving
from tests.oracle.opa import OpaFailed, Oracle, running_opa
from tests.unit.policies.good import ENTRYPOINTS, case

pytestmark = pytest.mark.slow

SEED: Final = 20261127
INPUTS: Final = 3000
"""For each entrypoint."""
IDENTICAL: Final = 0.99
VALUES: Final[list[Any]] = [
    *(None, True, False, 0, 1, -1, 7, 2**53 - 1, 2**53, -(2**53), 10**15, 0.5, 1e-6),
    *(
        "",
        "x",
        "sha256:" + "a" * 64,
        "SHA256:" + "A" * 64,
        "did:web:a",
        "Train_DL",
        "\u00e9",
    ),
    *([], ["x"], [[]], [None], {}, {"x": 1}, {"": {}}),
]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    with running_opa(load_bundle(), tmp_path_factory.mktemp("oracle")) as started:
        yield started


def good(entrypoint: str) -> dict[str, Any]:
    bundle = load_bundle()
    return {**case(entrypoint), "bundle": {"digest": bundle.digest, "version": bundle.version}}


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Return every container with every key or index in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, dict | list):
            yield from nodes(item)


def bend(facts: dict[str, Any], dice: random.Random) -> None:
    """Change one to three nodes: gone, of another type, another value, or there twice."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        parent, key = dice.choice(list(nodes(facts)))
        how = dice.randrange(6)
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif how in {2, 3}:
            parent[key] = near(parent[key], dice)
        else:
            parent[key] = copy.deepcopy(dice.choice(VALUES))


def near(value: Any, dice: random.Random) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return dice.choice((value + 1, value - 1, -value, 2 * value, value // 2, value * 1000))
    if isinstance(value, str):
        return dice.choice((value + "x", value[:-1], value.upper(), value[::-1]))
    if isinstance(value, list):
        return value[::-1] + value[:1]
    if isinstance(value, dict):
        return dict(list(value.items())[:-1])
    return value


def embedded(entrypoint: Any, facts: dict[str, Any]) -> Any:
    """Return what the embedded engine decides; None if it fails, which denies."""
    try:
        verdict = RegorusEngine().evaluate(
            load_bundle(), entrypoint=entrypoint, document=json.dumps(facts).encode()
        )
    except PolicyError:
        return None
    return verdict.to_json()


def asked(oracle: Oracle, entrypoint: str, facts: dict[str, Any]) -> Any:
    """Return what OPA decides; None if it fails, which denies."""
    try:
        return oracle.evaluate(f"depa.{entrypoint}.decision", facts)
    except OpaFailed:
        return None


def in_order(decision: Any) -> Any:
    if decision is None:
        return None
    lists = {key: sorted(map(canonical_json, decision[key])) for key in ("reasons", "warnings")}
    return {**decision, **lists}


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_opa_never_allows_what_is_denied_here_nor_the_other_way_round(
    oracle: Oracle, entrypoint: str
) -> None:
    dice, outcomes = random.Random(f"{SEED} {entrypoint}"), Counter[str]()  # noqa: S311
    start = good(entrypoint)
    for number in range(INPUTS):
        facts = copy.deepcopy(start)
        if number:
            bend(facts, dice)
        ours, theirs = embedded(entrypoint, facts), asked(oracle, entrypoint, facts)
        allowed = [decision is not None and decision["allow"] for decision in (ours, theirs)]
        assert allowed[0] == allowed[1], (number, ours, theirs)
        outcomes["allowed"] += allowed[0]
        outcomes["failed here"] += ours is None
        outcomes["failed there"] += theirs is None
        outcomes["identical"] += in_order(ours) == in_order(theirs)
    print(f"{entrypoint}: {INPUTS} inputs, {dict(outcomes)}")  # noqa: T201  (figures of the run)
    assert outcomes["allowed"] > 1
    assert outcomes["identical"] >= IDENTICAL * INPUTS


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_opa_behind_its_rest_api_decides_as_the_embedded_engine_does(
    oracle: Oracle, entrypoint: Any
) -> None:
    server = OpaServer(load_bundle(), evaluate=lambda _, path, value: oracle.evaluate(path, value))
    refused = {**case(entrypoint), "now": 1}
    with serving(server):
        engine = OpaEngine(server.url, seconds=60.0)
        for facts in map(canonical_json, (case(entrypoint), refused, {})):
            theirs = Policy(load_bundle(), engine).evaluate(entrypoint, facts)
            ours = Policy.embedded().evaluate(entrypoint, facts)
            assert theirs == ours.model_copy(update={"engine": "opa-1.20.2"})
        engine.close()


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_opa_decides_good_facts_as_they_are_decided_here(oracle: Oracle, entrypoint: Any) -> None:
    decision = Policy.embedded().evaluate(entrypoint, canonical_json(good(entrypoint)))
    assert decision.allow
    theirs = asked(oracle, entrypoint, good(entrypoint))
    assert theirs == embedded(entrypoint, good(entrypoint))
