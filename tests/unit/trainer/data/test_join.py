from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.trainer.data.makers import brats_patient, head
from trainer.data.arrays import ArrayDataset, write_arrays
from trainer.data.errors import DataError
from trainer.data.join import DirectoryJoin, open_dataset
from trainer.data.prepare import prepare
from trainer.data.preprocess import Recipe
from trainer.data.slices import SliceDataset


def provider(root: Path, name: str, *, patients: list[str], side: int = 16) -> SliceDataset:
    for number, patient in enumerate(patients):
        brats_patient(root / name, patient, image=head(number))
    recipe = Recipe(size=(side, side), min_tumour_pixels=2)
    prepare(root / name, root / f"{name}-set", recipe=recipe)
    return SliceDataset(root / f"{name}-set")


class NoPatients:
    patients: tuple[str, ...] = ()
    sample_shape = (1, 16, 16)

    def __len__(self) -> int:
        return 0

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
        raise IndexError(index)


def test_every_patient_of_every_provider_is_one_unit(tmp_path: Path) -> None:
    first = provider(tmp_path, "a", patients=["p1", "p2"])
    second = provider(tmp_path, "b", patients=["p3"])
    joined = DirectoryJoin({"icp": first, "brats": second})
    assert len(joined) == 3
    assert joined.patients == ("icp/p1", "icp/p2", "brats/p3")
    for index, (dataset, place) in enumerate([(first, 0), (first, 1), (second, 0)]):
        for got, expected in zip(joined.unit(index), dataset.unit(place), strict=True):
            assert np.array_equal(got, expected)
    for index in (-1, 3):
        with pytest.raises(IndexError):
            joined.unit(index)


def test_a_patient_in_two_data_sets_is_refused_by_name(tmp_path: Path) -> None:
    first = provider(tmp_path, "a", patients=["p1", "p2"])
    second = provider(tmp_path, "b", patients=["p2"])
    with pytest.raises(DataError, match="patient p2 is in icp and brats"):
        DirectoryJoin({"icp": first, "brats": second})


def test_different_shapes_are_refused(tmp_path: Path) -> None:
    first = provider(tmp_path, "a", patients=["p1"])
    second = provider(tmp_path, "b", patients=["p2"], side=24)
    with pytest.raises(DataError, match=r"b has \(1, 24, 24\), a has \(1, 16, 16\)"):
        DirectoryJoin({"a": first, "b": second})


def test_an_empty_provider_is_refused(tmp_path: Path) -> None:
    first = provider(tmp_path, "a", patients=["p1"])
    with pytest.raises(DataError, match="data set b is empty"):
        DirectoryJoin({"a": first, "b": NoPatients()})
    with pytest.raises(DataError, match="there is no data set"):
        DirectoryJoin({})


def test_records_without_names_join_by_number(tmp_path: Path) -> None:
    for name in ("a", "b"):
        image, label = np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2, np.uint8)
        write_arrays(tmp_path / name, image=image, label=label, classes=2)
    joined = DirectoryJoin({name: ArrayDataset(tmp_path / name) for name in ("a", "b")})
    assert joined.patients == ("a/0", "a/1", "b/0", "b/1")


def test_a_folder_opens_as_what_its_manifest_says(tmp_path: Path) -> None:
    image, label = np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2, np.uint8)
    write_arrays(tmp_path / "digits", image=image, label=label, classes=2)
    provider(tmp_path, "a", patients=["p1"])
    assert isinstance(open_dataset(tmp_path / "digits"), ArrayDataset)
    assert isinstance(open_dataset(tmp_path / "a-set"), SliceDataset)
