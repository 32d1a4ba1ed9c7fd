"""One question stands before many rules: where it holds, none of them has anything to say.

The rules of `depa.pipeline` and `depa.standing` are asked only where it does not.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from typing import Any, Final

import pytest
from regorus import Engine

from policies.bundle import load_bundle
from tests.policy_load import contract_of, facts_of, pipeline_of
from tests.properties.test_policy_oracle import good, near, nodes

SEED: Final = 20261128
INPUTS: Final = 1500
GUARDS: Final = {
    "data.depa.training.conforms": ("data.depa.pipeline.deny", "data.depa.pipeline.warn"),
    "data.depa.contract.stands": ("data.depa.standing.deny",),
}


def large() -> dict[str, Any]:
    agreed = contract_of(0)
    return {**good("training"), **facts_of(agreed, pipeline_of(agreed)).to_json()}


def bend(facts: dict[str, Any], dice: random.Random) -> None:
    """Change one to three values a little, or to that of another place, or leave them out."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        parent, key = dice.choice(list(nodes(facts)))
        how = dice.randrange(8)
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif how == 2:
            other, place = dice.choice(list(nodes(facts)))
            parent[key] = copy.deepcopy(other[place])
        else:
            parent[key] = near(parent[key], dice)


@pytest.mark.parametrize("start", [good("training"), large()], ids=["two", "eight"])
def test_no_rule_says_anything_where_the_question_before_it_holds(start: dict[str, Any]) -> None:
    engine, counts = Engine(), Counter[str]()
    for path, text in load_bundle().rules.items():
        engine.add_policy(path, text)
    dice = random.Random(SEED)  # noqa: S311

    def value(rule: str) -> Any:
        return json.loads(engine.eval_rule_as_json(rule))

    for number in range(INPUTS):
        facts = copy.deepcopy(start)
        if number:
            bend(facts, dice)
        engine.set_input_json(json.dumps(facts))
        if value("data.depa.training.complete") is not True:
            continue
        for guard, behind in GUARDS.items():
            if value(guard) is not True:
                counts[f"{guard} does not hold"] += 1
                continue
            counts[f"{guard} holds"] += 1
            assert [value(rule) for rule in behind] == [[] for _ in behind], (number, guard)
    # Each question is answered both ways, so neither answer is a matter of course.
    assert len(counts) == 2 * len(GUARDS)
    assert min(counts.values()) > INPUTS // 50, counts
