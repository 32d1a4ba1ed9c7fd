from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from tests.unit.trainer.data.makers import SHAPE, brats_patient, head, save
from trainer.data.errors import DataError
from trainer.data.manifest import read_manifest
from trainer.data.prepare import prepare, processes
from trainer.data.preprocess import Recipe
from trainer.data.slices import SliceDataset

RECIPE = Recipe(size=(16, 16), min_tumour_pixels=3)


def cohort(root: Path) -> Path:
    for number in range(3):
        brats_patient(root, f"p{number}", image=head(number))
    brats_patient(root, "p7", mask=np.zeros(SHAPE, np.uint8))
    save(root / "p8" / "p8_flair.nii.gz", head())
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_bad_volumes_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    report = prepare(cohort(tmp_path / "in"), tmp_path / "out", recipe=RECIPE)
    assert [entry.patient for entry in report.manifest.patients] == ["p0", "p1", "p2"]
    refused = [str(one) for one in report.refused]
    assert refused == ["p7: the mask is empty", "p8: mask missing"]
    assert read_manifest(tmp_path / "out") == report.manifest
    assert len(SliceDataset(tmp_path / "out")) == 3


def test_processes_change_nothing_but_the_time(tmp_path: Path) -> None:
    source = cohort(tmp_path / "in")
    prepare(source, tmp_path / "one", recipe=RECIPE)
    report = prepare(source, tmp_path / "two", recipe=RECIPE, jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert [str(one) for one in report.refused] == ["p7: the mask is empty", "p8: mask missing"]


def test_a_set_with_nothing_left_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    brats_patient(tmp_path / "in", "p7", mask=np.zeros(SHAPE, np.uint8))
    with pytest.raises(DataError, match=r"no patient is left of 1: p7: the mask is empty"):
        prepare(tmp_path / "in", tmp_path / "out", recipe=RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_folder_is_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="exists"):
        prepare(cohort(tmp_path / "in"), tmp_path / "out", recipe=RECIPE)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_manifest_holds_counts_and_parameters_only(tmp_path: Path) -> None:
    report = prepare(cohort(tmp_path / "in"), tmp_path / "out", recipe=RECIPE)
    document = report.manifest.to_json()
    assert set(document) == {
        "version", "layout", "patients", "channels", "size", "recipe",
    }  # fmt: skip
    assert set(document["patients"][0]) == {"patient", "slices"}
    assert document["recipe"] == RECIPE.to_json()


def most_threads() -> int:
    return max(pool["num_threads"] for pool in threadpool_info())


def test_processes_compute_with_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with processes(2) as pool:
        assert pool.submit(most_threads).result() == 1
