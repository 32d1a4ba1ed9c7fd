"""A service that dies during a release loses nothing that it acknowledged, and no budget."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients.api.errors import RefusedError
from contract_service.keybroker import release
from tests.service.crash import killed, record_of, spent
from tests.service.vault import Clock
from tests.service.world import Room, World, pipeline, running
from tests.simulator import NOW

STEPS = [step.__name__ for step in release.STEPS]
MARKED = STEPS.index("mark_vault_asked") + 1
"""From here on the mark is durable."""
RESERVED = STEPS.index("decide_and_reserve") + 1
ASKED = STEPS.index("ask_vaults") + 1


@dataclass(frozen=True)
class Scene:
    """A service whose approved run has a clean room with a token, ready to be asked for keys."""

    folder: Path
    contract: str
    dataset: str
    run: str
    capability: str
    token: str

    def copy(self, folder: Path) -> Scene:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Scene(folder, self.contract, self.dataset, self.run, self.capability, self.token)

    def room(self, world: World) -> Room:
        return world.room_with(self.run, self.capability)

    def ask(self, world: World) -> object:
        return self.room(world).release(self.token)


@pytest.fixture(scope="module")
def scene(executed: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = shutil.copytree(executed, tmp_path_factory.mktemp("scene") / "copy")
    with running(folder) as world:
        agreed = world.executed()
        run = world.client().submit(pipeline(agreed)).run
        room = world.room(run)
        return Scene(
            folder,
            agreed.digest(),
            agreed.datasets[0].digest,
            run,
            room.capability,
            room.token(),
        )


@pytest.mark.parametrize("step", range(len(STEPS) + 1))
def test_a_crash_before_any_step_of_a_release_loses_neither_key_nor_budget(
    scene: Scene, tmp_path: Path, step: int
) -> None:
    here = scene.copy(tmp_path)
    killed(here.folder, here.ask, arm=str(step))
    with running(here.folder) as world:
        record = record_of(world, here.contract)
        released = [item for item in record.releases if item.document.allowed]
        states = [item.document.state for item in record.bookings]
        state = world.client().run(here.run).state
        charged = spent(world, here.contract, here.dataset)
        asked = bool(world.vault.asked)
        assert asked == (step >= ASKED)
        assert len(released) == (step >= MARKED)
        if step < RESERVED:
            assert (state, states, charged) == ("approved", [], 0)
        elif step < MARKED:
            assert (state, states, charged) == ("failed", ["reserved", "returned"], 0)
        else:
            assert (state, states) == (
                "releasing" if step <= len(STEPS) - 1 else "released",
                ["reserved"],
            )
            assert charged > 0


@pytest.mark.parametrize("step", [s for s in range(len(STEPS) + 1) if not RESERVED <= s < MARKED])
def test_the_same_request_after_a_crash_gets_keys_and_receipts(
    scene: Scene, tmp_path: Path, step: int
) -> None:
    here = scene.copy(tmp_path)
    killed(here.folder, here.ask, arm=str(step))
    with running(here.folder) as world:
        answer = here.room(world).release(here.token)
        assert len(answer.keys) == 3
        kinds = {
            item.leaf_hash: item.kind
            for item in world.client().contract_status(here.contract).statements
        }
        assert [kinds[each.leaf_hash] for each in answer.receipts] == [
            "pipeline-decision",
            "budget-booking",
            "key-release",
        ]
        record = record_of(world, here.contract)
        assert sum(item.document.allowed for item in record.releases) == 1


@pytest.mark.parametrize("step", range(RESERVED, MARKED))
def test_a_run_whose_reservation_was_returned_gets_no_keys(
    scene: Scene, tmp_path: Path, step: int
) -> None:
    here = scene.copy(tmp_path)
    killed(here.folder, here.ask, arm=str(step))
    with running(here.folder) as world:
        with pytest.raises(RefusedError):
            here.room(world).release(here.token)
        assert world.vault.asked == []


@pytest.mark.parametrize("step", range(MARKED, len(STEPS) + 1))
def test_a_run_that_crashed_after_the_mark_is_charged_in_full_when_nobody_reports(
    scene: Scene, tmp_path: Path, step: int
) -> None:
    here = scene.copy(tmp_path)
    killed(here.folder, here.ask, arm=str(step))
    with running(here.folder) as world:
        reserved = spent(world, here.contract, here.dataset)
    with running(here.folder, clock=Clock(NOW.timestamp() + 86_400)) as world:
        assert world.client().run(here.run).state == "failed"
        assert spent(world, here.contract, here.dataset) == reserved > 0
        record = record_of(world, here.contract)
        assert [b.document.state for b in record.bookings] == ["reserved", "settled"]


def test_no_key_leaves_while_the_ledger_cannot_take_the_release(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = scene.copy(tmp_path)
    with running(here.folder) as world:
        world.stop_log()
        with pytest.raises(Exception, match="log"):
            here.ask(world)
        assert world.vault.asked == []


@pytest.mark.parametrize("arm", ["before registering", "before remembering"])
def test_a_crash_on_the_way_to_the_ledger_owes_it_nothing_after_the_restart(
    scene: Scene, tmp_path: Path, arm: str
) -> None:
    here = scene.copy(tmp_path)
    killed(here.folder, here.ask, arm=arm)
    with running(here.folder) as world:
        record = record_of(world, here.contract)
        assert [b.document.state for b in record.bookings] == ["reserved", "returned"]
        indexes = [item.index for item in record.decisions]
        assert len(indexes) == len(set(indexes)) == 4
