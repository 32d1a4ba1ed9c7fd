from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.unit.trainer.data.makers import SHAPE, brats_patient, head, lesion, save
from trainer.data.errors import DataError, VolumeRefused
from trainer.data.volumes import find_patients, read_volume


def read_only(root: Path) -> object:
    found = find_patients(root)
    if found.refused:
        raise found.refused[0]
    (files,) = found.patients
    return read_volume(files)


def test_both_layouts_are_found_side_by_side_and_sorted(tmp_path: Path) -> None:
    brats_patient(tmp_path, "BraTS20_Training_002")
    brats_patient(tmp_path, "BraTS20_Training_001")
    save(tmp_path / "anna_image.nii", head())
    save(tmp_path / "anna_label.nii.gz", lesion())
    (tmp_path / "name_mapping.csv").write_text("x")
    found = find_patients(tmp_path)
    names = [files.patient for files in found.patients]
    assert names == ["BraTS20_Training_001", "BraTS20_Training_002", "anna"]
    assert found.refused == ()


def test_modalities_become_channels_in_the_order_asked_for(tmp_path: Path) -> None:
    folder = brats_patient(tmp_path, "p1", modalities=("flair", "t2"))
    save(folder / "p1_t1ce.nii.gz", np.where(head() > 0, 900, 0).astype(np.int16))
    (files,) = find_patients(tmp_path, modalities=("t1ce", "flair")).patients
    volume = read_volume(files)
    assert volume.image.shape == (2, *SHAPE)
    assert volume.image[0].max() == 900
    assert np.array_equal(volume.mask, lesion() > 0)


def test_a_left_handed_volume_is_turned_to_ras(tmp_path: Path) -> None:
    flipped = np.diag([-2.0, 2.0, 5.0, 1.0])
    save(tmp_path / "p1_image.nii.gz", head(), affine=flipped)
    save(tmp_path / "p1_label.nii.gz", lesion(), affine=flipped)
    (files,) = find_patients(tmp_path).patients
    volume = read_volume(files)
    assert np.array_equal(volume.mask, (lesion() > 0)[::-1])
    assert volume.spacing == (2.0, 2.0, 5.0)


@pytest.mark.parametrize("modalities", [(), ("flair", "flair"), ("../flair",)])
def test_unknown_modalities_are_refused(tmp_path: Path, modalities: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="modalities"):
        find_patients(tmp_path, modalities=modalities)


def test_a_folder_without_volumes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no volumes"):
        find_patients(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        find_patients(tmp_path / "missing")


def test_a_missing_mask_or_channel_is_named(tmp_path: Path) -> None:
    save(tmp_path / "p1" / "p1_flair.nii.gz", head())
    save(tmp_path / "p2" / "p2_seg.nii.gz", lesion())
    save(tmp_path / "p3_image.nii.gz", head())
    reasons = [str(one) for one in find_patients(tmp_path).refused]
    assert reasons == ["p1: mask missing", "p2: flair missing", "p3: mask missing"]


def test_two_volumes_of_one_name_are_both_refused(tmp_path: Path) -> None:
    brats_patient(tmp_path, "p1")
    save(tmp_path / "p1_image.nii.gz", head())
    save(tmp_path / "p1_label.nii.gz", lesion())
    found = find_patients(tmp_path)
    assert found.patients == ()
    assert [one.patient for one in found.refused] == ["p1", "p1"]


def _truncate(folder: Path) -> None:
    path = folder / "p1_flair.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])


def _flip_a_byte(folder: Path) -> None:
    path = folder / "p1_flair.nii.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _claim_a_huge_shape(folder: Path) -> None:
    path = folder / "p1_flair.nii.gz"
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[42:48] = np.array([32000, 32000, 32000], np.int16).tobytes()
    path.write_bytes(gzip.compress(bytes(data)))


def _flatten(folder: Path) -> None:
    path = folder / "p1_flair.nii.gz"
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[312:328] = bytes(16)  # srow_z of the affine
    path.write_bytes(gzip.compress(bytes(data)))


def _colours(folder: Path) -> None:
    colour = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, np.eye(4)), folder / "p1_flair.nii.gz")


BREAKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty file": (lambda f: (f / "p1_flair.nii.gz").write_bytes(b"") and None, "is empty"),
    "no gzip": (lambda f: (f / "p1_seg.nii.gz").write_text("hello" * 99) and None, "no NIfTI"),
    "truncated": (_truncate, "p1_flair.nii.gz is damaged"),
    "flipped byte": (_flip_a_byte, "damaged|not finite|no NIfTI"),
    "huge": (_claim_a_huge_shape, "the limit is"),
    "colours": (_colours, "not numbers"),
    "4D": (
        lambda f: save(f / "p1_flair.nii.gz", np.ones((*SHAPE, 2), np.int16)),
        "has 4 dimensions",
    ),
    "nan": (
        lambda f: save(f / "p1_flair.nii.gz", np.full(SHAPE, np.nan, np.float32)),
        "not finite",
    ),
    "infinite in float32": (
        lambda f: save(f / "p1_flair.nii.gz", np.full(SHAPE, 1e300)),
        "not finite",
    ),
    "constant": (lambda f: save(f / "p1_flair.nii.gz", np.ones(SHAPE, np.int16)), "is empty"),
    "other shape": (
        lambda f: save(f / "p1_seg.nii.gz", np.ones((9, 9, 9), np.uint8)),
        "shapes differ",
    ),
    "other place": (
        lambda f: save(f / "p1_seg.nii.gz", lesion(), affine=np.diag([2.0, 2.0, 4.0, 1.0])),
        "do not lie at the same place",
    ),
    "no labels": (
        lambda f: save(f / "p1_seg.nii.gz", np.full(SHAPE, 0.5, np.float32)),
        "no labels",
    ),
    "flat voxels": (_flatten, "impossible voxel size"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_volume_is_refused_by_name(tmp_path: Path, name: str) -> None:
    break_it, reason = BREAKS[name]
    break_it(brats_patient(tmp_path, "p1"))
    with pytest.raises(VolumeRefused, match=reason) as refused:
        read_only(tmp_path)
    assert refused.value.patient == "p1"
    assert "\n" not in str(refused.value)
