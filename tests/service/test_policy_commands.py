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
from policies.wire.contract import Contract
from tests.service.test_policy_check import draft, rows
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
            for module in ("asking", "replaying", "rules"):
                path = f"clients.cli.tasks.{module}.connect"
                scope.setattr(path, lambda *_: world.client(name))
            scope.setattr("clients.cli.tasks.replaying.time.time", world.clock)
            scope.setenv("DEPA_ROOT", world.root)
            code = main.run(["policy", *map(str, words), "--json"])
        said = capsys.readouterr()
        return code, *(json.loads(text) if text else None for text in (said.out, said.err))

    return run


def written(folder: Path, agreed: Contract, **train: Any) -> Path:
    """Write a pipeline as its author has it; return the file."""
    file = folder / "pipeline.json"
    file.write_text(json.dumps(pipeline(agreed, **train).to_json(), indent=2))
    return file


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
        (weaker / path).write_bytes(data.replace(b"> limit.run.", b"> 99 * limit.run."))
    code, answer, problem = depa("diff", load_bundle().version, weaker, "--replay", digest)
    assert answer["replay"]["newlyAllowed"] == 1
    assert (code, problem["exitCode"]) == (4, 4)
    assert "EPSILON_EXCEEDED" in problem["detail"]


def test_the_service_is_asked_and_nothing_comes_of_it(
    world: World, depa: Depa, tmp_path: Path
) -> None:
    agreed = world.executed()
    file, before = written(tmp_path, agreed), rows(world)
    code, answer, _ = depa("check", "--contract", agreed.digest(), "--pipeline", file, "--remote")
    assert code == 0
    assert (answer["allow"], answer["entrypoint"]) == (True, "training")
    assert answer["policy"] == load_bundle().digest
    assert 0 < answer["epsilon"] <= 8
    assert rows(world) == before


def test_what_the_service_denies_is_shown_with_its_place_and_remedy(
    world: World, depa: Depa, tmp_path: Path
) -> None:
    agreed = world.executed()
    file, before = written(tmp_path, agreed, privacyParams=GREEDY), rows(world)
    code, answer, problem = depa(
        "check", "--contract", agreed.digest(), "--pipeline", file, "--remote"
    )
    assert (code, answer) == (4, None)
    found = next(one for one in problem["reasons"] if one["code"] == "EPSILON_EXCEEDED")
    line = int(found["place"].removeprefix(f"{file}:"))
    assert file.read_text().splitlines()[line - 1].strip().startswith('"epsilon": 9.0')
    assert found["remedy"] == load_bundle().codes["EPSILON_EXCEEDED"].remedy
    assert rows(world) == before


def test_a_draft_is_judged_by_the_service_as_if_all_had_signed(
    world: World, depa: Depa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "draft.json"
    file.write_bytes(draft().canonical())
    code, answer, _ = depa("check", "--contract", file, "--remote")
    assert (code, answer["allow"], answer["entrypoint"]) == (0, True, "contract")


def test_a_stranger_is_told_nothing_of_a_contract(world: World, depa: Depa, tmp_path: Path) -> None:
    agreed = world.executed()
    code, answer, _ = depa("check", "--contract", agreed.digest(), "--remote", name="Stranger")
    assert (code, answer) == (3, None)
