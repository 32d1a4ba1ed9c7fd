"""`depa risk RUN` against a running service: what is weighed is what the log proves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from clients.cli import main
from policies import accounting
from policies.risk import assess
from tests.service.world import TDP_A, World, spent

Weigh = Callable[[str], tuple[int, Any]]


@pytest.fixture
def weigh(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Weigh:
    """Run `depa risk` as a provider; return exit code and answer or problem."""

    def run(run: str) -> tuple[int, Any]:
        with monkeypatch.context() as scope:
            scope.setattr("clients.cli.tasks.mechanisms.connect", lambda *_: world.client(TDP_A))
            scope.setattr("clients.cli.tasks.record.time.time", world.clock)
            scope.setenv("DEPA_ROOT", world.root)
            code = main.run(["risk", run, "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out or said.err)

    return run


def test_a_provider_weighs_a_run_by_its_report_on_the_log(world: World, weigh: Weigh) -> None:
    agreed = world.executed()
    run = world.approved(agreed).run
    room = world.room(run)
    room.release()
    room.client.report(run, *room.report())
    code, answer = weigh(run)
    assert code == 0
    units = sum(dataset.units for dataset in agreed.datasets)
    event = accounting.event_from_json(spent().event)
    wanted = assess([event], adjacency="add-remove", delta=0.0005, units=units).to_json()
    assert {name: answer[name] for name in wanted} == wanted
    assert answer["unit"] == "patient"


def test_a_run_that_has_not_reported_is_not_found(world: World, weigh: Weigh) -> None:
    run = world.approved(world.executed()).run
    code, problem = weigh(run)
    assert code == 3
    assert "holds no report" in problem["detail"]


def test_a_run_that_spent_nothing_has_no_risk_to_weigh(world: World, weigh: Weigh) -> None:
    run = world.approved(world.executed()).run
    room = world.room(run)
    room.release()
    empty = {"spent": None, "model": None, "datasets": ()}
    room.client.report(run, *room.report(state="failed", reason="altered", **empty))
    code, problem = weigh(run)
    assert code == 3
    assert "spent nothing" in problem["detail"]
