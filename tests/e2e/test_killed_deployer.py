"""The deployer of a clean room is killed in the middle of training."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clients.cli.output import Output
from clients.cli.play import steps
from clients.cli.play.cast import Cast, gather, introduce, on_stage
from clients.cli.play.narrator import Step
from clients.cli.play.role import base_environment
from clients.cli.play.scenario import find_scenario

pytestmark = pytest.mark.slow
_MEMORY = Path("/dev/shm")  # noqa: S108 -- where clean rooms have their scratch folders


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cast, str]]:
    """A contract that is executed, its keys in the vaults."""
    scenario = find_scenario("mnist")
    size = replace(scenario.sizes["tiny"], steps=400)
    cast = gather(scenario, size, tmp_path_factory.mktemp("killed"))
    introduce(cast)
    with on_stage(cast, Output(quiet=True)) as opened:
        steps.make_data(cast, Step())
        opened.ready()
        steps.seal_and_upload(cast, Step())
        contract = steps.agree(cast, Step())
        steps.import_keys(cast, Step(), contract=contract)
        yield cast, contract


def deploying(cast: Cast, run: str) -> subprocess.Popen[str]:
    """Start the deployer, and return it when the room has begun to train."""
    own = {"DEPA_HOME": str(cast.consumer.home), "DEPA_PASSPHRASE": cast.consumer.passphrase}
    process = subprocess.Popen(
        [sys.executable, "-m", "clients.cli.main", "run", "deploy", run, "--local"],
        env={**base_environment(), **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step "):
            return process
    raise AssertionError(f"the room did not begin to train, it ended with {process.wait()}")


def room_of(deployer: int) -> int:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == deployer and b"trainer.run" in command:
            return int(stat.parent.name)
    raise AssertionError("the deployer has no room")


def left_of(run: str) -> list[Path]:
    return list(_MEMORY.glob(f"depa-{run}-*"))


def state_of(cast: Cast, run: str) -> str:
    runs = cast.consumer.depa("run", "list")["runs"]
    return str(next(item for item in runs if item["run"] == run)["state"])


def test_a_killed_deployer_takes_its_room_along(stage: tuple[Cast, str]) -> None:
    cast, contract = stage
    run = steps.submit(cast, Step(), contract=contract)
    with deploying(cast, run) as process:
        room = room_of(process.pid)
        assert left_of(run)
        process.kill()
        process.wait()
        # The caretaker holds the deployer's end of a pipe; the room is gone when its output ends.
        while left_of(run):
            pass
    stat = Path(f"/proc/{room}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"
    cast.consumer.depa("run", "abandon", run)
    assert state_of(cast, run) == "failed"
