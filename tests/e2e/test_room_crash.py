"""A clean room that does not come to its end: what it did is charged, nothing stays in clear."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from clients.cli.output import Output
from clients.cli.play import steps
from clients.cli.play.cast import Cast, gather, introduce, on_stage
from clients.cli.play.narrator import Step
from clients.cli.play.role import base_environment
from clients.cli.play.scenario import find_scenario
from tests.e2e.independent import Log, read_log

pytestmark = pytest.mark.slow
STEPS = 3000
"""More than a room can take before it is told to stop."""
TOTAL = 6
"""Epsilon that the scenario's contract grants this consumer over all runs."""
_MEMORY = Path("/dev/shm")  # noqa: S108 -- where clean rooms have their scratch folders


@dataclass(frozen=True)
class Stage:
    """A contract that is executed, its keys in the vaults, and the roles around it."""

    cast: Cast
    contract: str

    def submit(self, name: str, **train: Any) -> str:
        """Have a pipeline approved and return its run."""
        role = self.cast.consumer
        value = json.loads((role.home / "pipeline_config.json").read_bytes())
        value["pipeline"][-1]["config"] |= train
        pipeline = role.home / f"{name}.json"
        pipeline.write_text(json.dumps({**value, "name": name}))
        return str(role.depa("run", "submit", pipeline)["run"])

    def status(self, run: str) -> dict[str, Any]:
        runs = self.cast.consumer.depa("run", "list")["runs"]
        found: dict[str, Any] = next(item for item in runs if item["run"] == run)
        return found

    def log(self) -> Log:
        """Export the record, have it audited, and read it with independent code."""
        bundle = self.cast.folder / "bundle.json"
        bundle.unlink(missing_ok=True)
        provider = self.cast.providers[0]
        provider.depa("audit", "export", self.contract, "--out", bundle)
        root = json.loads((self.cast.stack / "stack.json").read_bytes())["root"]
        provider.depa("audit", "verify", bundle, "--root", root)
        return read_log(bundle)

    def booked(self, run: str) -> list[tuple[str, int]]:
        """Return the states of a run's bookings and what they charge its data set."""
        return [
            (entry.document["state"], entry.document["charges"][0]["microEpsilon"])
            for entry in self.log().of("budget-booking")
            if entry.document["run"] == run
        ]

    def report(self, run: str) -> dict[str, Any]:
        """Return the only report of a run."""
        (found,) = [e.document for e in self.log().of("run-report") if e.document["run"] == run]
        return dict(found)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    scenario = find_scenario("mnist")
    size = replace(scenario.sizes["tiny"], steps=STEPS)
    cast = gather(scenario, size, tmp_path_factory.mktemp("crash"))
    introduce(cast)
    with on_stage(cast, Output(quiet=True)) as opened:
        steps.make_data(cast, Step())
        opened.ready()
        steps.seal_and_upload(cast, Step())
        contract = steps.agree(cast, Step())
        steps.import_keys(cast, Step(), contract=contract)
        role, out = cast.consumer, cast.consumer.home / "pipeline_config.json"
        config = steps._config(cast)
        role.depa("run", "check", config, "--contract", contract, "--out", out)
        yield Stage(cast, contract)


def started(stage: Stage, run: str, *, step: int = 1) -> subprocess.Popen[str]:
    """Start a clean room and return its deployer when it has trained so far."""
    role = stage.cast.consumer
    own = {"DEPA_HOME": str(role.home), "DEPA_PASSPHRASE": role.passphrase}
    process = subprocess.Popen(
        [sys.executable, "-m", "clients.cli.main", "run", "deploy", run, "--local"],
        env={**base_environment(), **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step ") and int(line.split()[1].partition("/")[0]) >= step:
            return process
    raise AssertionError(f"the room did not begin to train, it ended with {process.wait()}")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    with process:
        said = process.stderr.read() if process.stderr is not None else ""
        return process.wait(), said


def room_of(deployer: int) -> int:
    """Return the process id of a deployer's clean room."""
    return child_of(deployer, b"trainer.run")


def child_of(process: int, module: bytes) -> int:
    """Return the process id of a process's child that runs a module."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == process and module in command:
            return int(folder.name)
    raise AssertionError(f"{process} has no child that runs {module!r}")


def left_of(run: str) -> list[Path]:
    return list(_MEMORY.glob(f"depa-{run}-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_room_that_is_told_to_stop_reports_what_it_spent(
    stage: Stage, number: signal.Signals
) -> None:
    run = stage.submit(f"stopped by {number.name}", privacyParams=_privacy(stage, epsilon=0.5))
    process = started(stage, run)
    # As from a terminal, everybody in the foreground is told; and a second time, impatiently.
    room = room_of(process.pid)
    os.kill(room, number)
    os.kill(room, number)
    code, said = ended(process)
    assert code == 4, said
    assert "the run failed: stopped" in said
    assert not left_of(run)
    report = stage.report(run)
    assert (report["state"], report["reason"]) == ("failed", "stopped")
    assert 0 < report["spent"]["steps"] < STEPS
    assert "model" not in report
    (reserved, whole), (settled, charged) = stage.booked(run)
    assert (reserved, settled) == ("reserved", "settled")
    assert 0 < charged == report["spent"]["microEpsilon"] < whole


def test_a_deployer_that_is_told_to_stop_lets_its_room_report(stage: Stage) -> None:
    run = stage.submit("deployer stopped", privacyParams=_privacy(stage, epsilon=0.5))
    process = started(stage, run)
    process.terminate()
    code, said = ended(process)
    assert code == 130, said
    assert not left_of(run)
    report = stage.report(run)
    assert report["state"] == "failed"
    assert 0 < report["spent"]["steps"] < STEPS


def test_a_model_that_its_store_refuses_is_paid_for(stage: Stage) -> None:
    private = _privacy(stage, epsilon=0.5)
    run = stage.submit("store refuses", steps=4, privacyParams=private)
    taken = stage.cast.blobs / f"{run}.sealed"
    taken.write_bytes(b"somebody was here before")
    problem = stage.cast.consumer.refused("run", "deploy", run, "--local", code=4)
    assert taken.name in problem["detail"]
    assert not left_of(run)
    report = stage.report(run)
    assert report["state"] == "failed"
    assert report["spent"]["steps"] == 4
    assert "model" not in report
    (_, whole), (settled, charged) = stage.booked(run)
    assert (settled, charged) == ("settled", whole)


def test_a_killed_room_is_charged_in_full_and_the_rest_of_the_budget_is_left(
    stage: Stage,
) -> None:
    run = stage.submit("killed")
    process = started(stage, run)
    assert left_of(run)
    os.kill(room_of(process.pid), signal.SIGKILL)
    code, said = ended(process)
    assert code == 128 + signal.SIGKILL, said
    assert not left_of(run)
    assert stage.status(run)["state"] in {"released", "training"}
    stage.cast.consumer.depa("run", "abandon", run)
    (_, whole), (settled, charged) = stage.booked(run)
    assert (settled, charged) == ("settled", whole)
    assert 2_500_000 < whole <= 3_000_000
    small = stage.submit("what is left", steps=2, privacyParams=_privacy(stage, epsilon=0.5))
    stage.cast.consumer.depa("run", "deploy", small, "--local")
    assert stage.status(small)["state"] == "completed"


def test_a_killed_training_goes_on_and_costs_what_one_costs_that_was_not_killed(
    stage: Stage,
) -> None:
    # So many that the deployer hears of step 60 long before the last one.
    steps = 1_000
    run = stage.submit("training killed", steps=steps, privacyParams=_privacy(stage, epsilon=0.5))
    process = started(stage, run, step=60)
    worker = child_of(room_of(process.pid), b"trainer.worker")
    os.kill(worker, signal.SIGKILL)
    code, said = ended(process)
    assert code == 0, said
    assert "restarts 1" in said
    assert not left_of(run)
    report = stage.report(run)
    assert (report["state"], report["restarts"]) == ("completed", 1)
    assert report["spent"]["steps"] == steps
    (_, whole), (settled, charged) = stage.booked(run)
    assert (settled, charged) == ("settled", whole)


def test_a_killed_deployer_takes_its_room_along(stage: Stage) -> None:
    run = stage.submit("deployer killed", privacyParams=_privacy(stage, epsilon=0.5))
    with started(stage, run) as process:
        room = room_of(process.pid)
        assert left_of(run)
        process.kill()
        process.wait()
        # The caretaker removes the folder only when the room has ended.
        while left_of(run):
            pass
    stat = Path(f"/proc/{room}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"
    stage.cast.consumer.depa("run", "abandon", run)
    assert stage.status(run)["state"] == "failed"


def test_runs_that_were_killed_leave_no_budget_for_another(stage: Stage) -> None:
    """Composed, six runs of epsilon 3 cost more than 6."""
    role = stage.cast.consumer
    value = json.loads((role.home / "pipeline_config.json").read_bytes())
    for number in range(6):
        pipeline = role.home / f"again-{number}.json"
        pipeline.write_text(json.dumps({**value, "name": f"again {number}"}))
        code, result, said = role._run(("run", "submit", pipeline))
        if code != 0:
            break
        with started(stage, result["run"]) as process:
            os.kill(room_of(process.pid), signal.SIGKILL)
        role.depa("run", "abandon", result["run"])
    assert code == 4, said
    reasons = {one["code"]: one["msg"] for one in json.loads(said.splitlines()[-1])["reasons"]}
    assert set(reasons) == {"BUDGET_EXHAUSTED"}
    assert f"at most {TOTAL} granted" in reasons["BUDGET_EXHAUSTED"]
    stage.log()


def _privacy(stage: Stage, *, epsilon: float) -> dict[str, Any]:
    pipeline = json.loads((stage.cast.consumer.home / "pipeline_config.json").read_bytes())
    return {**pipeline["pipeline"][-1]["config"]["privacyParams"], "epsilon": epsilon}
