from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from trainer.devices import choose_device, use_processors
from trainer.memory import processes_killed_for_memory
from trainer.privacy.engine import UnitBatch


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("quota", "expected"), [("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 1)]
)
def test_a_container_uses_no_more_threads_than_its_processors(
    tmp_path: Path, quota: str, expected: int
) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(quota + "\n")
    assert use_processors(quota=path) == expected


@pytest.mark.parametrize("quota", ["max 100000", "", "nonsense"])
def test_without_a_limit_all_processors_are_used(tmp_path: Path, quota: str) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(quota)
    assert use_processors(quota=path) == len(os.sched_getaffinity(0))
    assert use_processors(quota=tmp_path / "none") == len(os.sched_getaffinity(0))


def test_whoever_sets_the_number_of_threads_is_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert use_processors(quota=tmp_path / "none") == 1


@pytest.mark.parametrize("there", [True, False])
def test_an_accelerator_is_used_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device().type == ("cuda" if there else "cpu")


def test_a_batch_moves_as_a_whole_and_is_cut_where_it_is() -> None:
    batch = UnitBatch(torch.ones(4, 2), torch.ones(4), torch.tensor([0, 0, 1, 2]), units=3)
    moved = batch.to(torch.device("meta"))
    assert {moved.inputs.device.type, moved.targets.device.type, moved.owner.device.type} == {
        "meta"
    }
    assert moved.units == 3
    assert batch.part(1, 3).owner.tolist() == [0, 1]


def test_kills_for_memory_are_counted_by_the_kernel(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("pgfault 12\noom_kill 3\nnr_free_pages 7\n")
    assert processes_killed_for_memory(counters) == 3
    assert processes_killed_for_memory(tmp_path / "none") == 0
    assert processes_killed_for_memory() >= 0
