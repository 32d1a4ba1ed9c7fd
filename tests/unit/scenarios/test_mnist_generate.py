from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainer.data.arrays import ArrayDataset

ROOT = Path(__file__).parents[3]


def digits(out: Path, *, seed: int) -> tuple[ArrayDataset, ArrayDataset]:
    script = ROOT / "scenarios" / "mnist" / "generate.py"
    command = [sys.executable, str(script), "--out", str(out), "--seed", str(seed)]
    subprocess.run(command, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=-3)
    return ArrayDataset(out / "train"), ArrayDataset(out / "test")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ArrayDataset, ArrayDataset]:
    return digits(tmp_path_factory.mktemp("digits"), seed=7)


def pictures(dataset: ArrayDataset) -> set[bytes]:
    return {dataset.unit(index)[0].tobytes() for index in range(len(dataset))}


def test_the_parts_have_the_documented_sizes_and_share_no_picture(
    parts: tuple[ArrayDataset, ArrayDataset],
) -> None:
    train, test = parts
    assert (len(train), len(test)) == (4000, 1000)
    assert train.sample_shape == test.sample_shape == (1, 28, 28)
    assert len(pictures(train) & pictures(test)) == 0


def test_all_ten_digits_are_in_both_parts(parts: tuple[ArrayDataset, ArrayDataset]) -> None:
    for part in parts:
        labels = np.concatenate([part.unit(index)[1] for index in range(len(part))])
        counts = np.bincount(labels, minlength=10)
        assert counts.min() > 0.08 * len(part)


def test_the_seed_decides_the_parts(
    parts: tuple[ArrayDataset, ArrayDataset], tmp_path: Path
) -> None:
    same, _ = digits(tmp_path / "same", seed=7)
    other, _ = digits(tmp_path / "other", seed=8)
    assert pictures(same) == pictures(parts[0])
    assert pictures(other) != pictures(parts[0])
