"""`depa policy` against a running service: decisions made again, and none made by asking."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients.api.errors import RefusedError
from clients.cli import main
from clients.cli.tasks.bundles import SHIPPED
from policies.bundle import load_bundle
from policies.lint import read_folder
from tests.service.world import TDC, TDP_A, World, pipeline

GREEDY = {
    "epsilon": 9.0,
    "delta": 0.0005,
    "maxGradNorm": 0.5,
    "unit": "patient",
    "adjacency": "add-remove",
}
Depa = Callable[..., tuple[int, Any, Any]]


@pytest.fixture
def depa(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Depa:
    """Run `depa policy` as a party; return exit code, answer and problem."""

    def run(*words: object, name: str = TDC) -> tuple[int, Any, Any]:
        with monkeypatch.context() as scope:
            for module in ("replaying",):
                path = f"clients.cli.tasks.{module}"
                scope.setattr(f"{path}.connect", lambda *_: world.client(name))
                scope.setattr(f"{path}.time.time", world.clock)
            scope.setenv("DEPA_ROOT", world.root)
            code = main.run(["policy", *map(str, words), "--json"])
        said = capsys.readouterr()
        return code, *(json.loads(text) if text else None for text in (said.out, said.err))

    return run


def denied(world: World) -> str:
    """Submit a pipeline that is denied; return the decision's id."""
    with pytest.raises(RefusedError) as error:
        world.client().submit(pipeline(world.executed(), privacyParams=GREEDY))
    return str(error.value.problem.decision_id)


@pytest.mark.parametrize("name", [TDC, TDP_A])
def test_a_party_makes_a_decision_of_the_service_again(world: World, depa: Depa, name: str) -> None:
    code, answer, _ = depa("replay", denied(world), name=name)
    assert code == 0
    assert (answer["matches"], answer["allow"]) == (True, False)
    assert "EPSILON_EXCEEDED" in answer["codes"]
    assert any("9" in reason["msg"] for reason in answer["reasons"])


def test_a_stranger_s_decision_is_not_found(world: World, depa: Depa) -> None:
    code, answer, problem = depa("replay", "01890000-0000-7000-8000-000000000000")
    assert (code, answer) == (3, None)
    assert problem["exitCode"] == 3


def test_a_policy_is_tried_on_what_the_service_has_decided(
    world: World, depa: Depa, tmp_path: Path
) -> None:
    denied(world)
    digest = world.executed().digest()
    code, answer, _ = depa("diff", load_bundle().version, SHIPPED, "--replay", digest)
    assert code == 0
    assert answer["replay"]["flips"] == {}
    weaker = tmp_path / "rules"
    for path, data in read_folder(SHIPPED).items():
        (weaker / path).parent.mkdir(parents=True, exist_ok=True)
        (weaker / path).write_bytes(data.replace(b"> pair.limit.run.", b"> 99 * pair.limit.run."))
    code, answer, problem = depa("diff", load_bundle().version, weaker, "--replay", digest)
    assert answer["replay"]["newlyAllowed"] == 1
    assert (code, problem["exitCode"]) == (4, 4)
    assert "EPSILON_EXCEEDED" in problem["detail"]
