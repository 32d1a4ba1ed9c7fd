from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

from tests.unit.trainer.data.dicom_maker import ct_head, series
from tests.unit.trainer.data.makers import save
from trainer.data.dicom import open_series
from trainer.data.errors import VolumeRefused
from trainer.data.volumes import find_patients, read_volume

IMAGE, MASK = ct_head()


def patient(root: Path, name: str = "p1") -> Path:
    series(root / name / f"{name}_ct", IMAGE)
    save(root / name / f"{name}_seg.nii.gz", MASK)
    return root


def test_a_series_is_read_in_hounsfield_units_and_upright_whatever_its_files_are_called(
    tmp_path: Path,
) -> None:
    grid = open_series(series(tmp_path / "ct", IMAGE), patient="p1")
    assert np.array_equal(grid.upright(), IMAGE.astype(np.float32))
    assert grid.spacing == (2.0, 2.0, 5.0)


def test_a_series_and_a_nifti_mask_lie_on_one_grid(tmp_path: Path) -> None:
    # The maker's last pixel lies at the origin, which is where the first voxel of `save` lies.
    (files,) = find_patients(patient(tmp_path), modalities=("ct",)).patients
    volume = read_volume(files)
    assert np.array_equal(volume.mask, MASK > 0)
    assert np.median(volume.image[0][volume.mask]) == 70


def test_loose_files_of_a_patient_folder_are_its_series(tmp_path: Path) -> None:
    series(tmp_path / "p1" / "study" / "head", IMAGE)
    (tmp_path / "p1" / "study" / "DICOMDIR").write_bytes(b"an index")
    save(tmp_path / "p1" / "p1_seg.nii.gz", MASK)
    (files,) = find_patients(tmp_path, modalities=("ct",)).patients
    assert np.array_equal(read_volume(files).image[0], IMAGE.astype(np.float32))


def test_a_pair_may_be_a_series_and_a_file(tmp_path: Path) -> None:
    series(tmp_path / "anna_image", IMAGE)
    save(tmp_path / "anna_label.nii.gz", MASK)
    (files,) = find_patients(tmp_path, modalities=("ct",)).patients
    assert files.patient == "anna"
    assert read_volume(files).mask.sum() == MASK.sum()


def test_nifti_and_dicom_of_one_head_are_the_same_volume(tmp_path: Path) -> None:
    patient(tmp_path)
    save(tmp_path / "p2" / "p2_ct.nii.gz", IMAGE)
    save(tmp_path / "p2" / "p2_seg.nii.gz", MASK)
    dicom, nifti = (read_volume(p) for p in find_patients(tmp_path, modalities=("ct",)).patients)
    assert np.array_equal(dicom.image, nifti.image)
    assert dicom.spacing == nifti.spacing


def test_a_mask_elsewhere_is_refused(tmp_path: Path) -> None:
    patient(tmp_path)
    moved = np.diag([2.0, 2.0, 5.0, 1.0])
    moved[0, 3] = 2
    save(tmp_path / "p1" / "p1_seg.nii.gz", MASK, affine=moved)
    (files,) = find_patients(tmp_path, modalities=("ct",)).patients
    with pytest.raises(VolumeRefused, match="do not lie at the same place"):
        read_volume(files)


def test_a_tilted_gantry_is_read(tmp_path: Path) -> None:
    def tilt(number: int, one: Dataset) -> None:
        x, y, z = one.ImagePositionPatient
        one.ImagePositionPatient = [x, y + 0.8 * number, z]

    grid = open_series(series(tmp_path / "ct", IMAGE, bend=tilt), patient="p1")
    assert np.array_equal(grid.upright(), IMAGE.astype(np.float32))


def _set(at: int, **fields: object) -> Callable[[int, Dataset], None]:
    def bend(number: int, one: Dataset) -> None:
        for name, value in fields.items():
            if number == at:
                setattr(one, name, value)

    return bend


def _without(name: str) -> Callable[[int, Dataset], None]:
    return lambda number, one: delattr(one, name) if number == 4 else None


def _compressed(number: int, one: Dataset) -> None:
    one.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    one.PixelData = encapsulate([b"no picture"])
    one["PixelData"].VR = "OB"


def _flat(number: int, one: Dataset) -> None:
    one.PixelSpacing = [0, 2]


BENDS: dict[str, tuple[Callable[[int, Dataset], None], str]] = {
    "two series": (_set(4, SeriesInstanceUID="1.2.3"), "holds 2 series, of 8, 1 slices"),
    "two patients": (_set(4, PatientID="P2"), "more than one patient"),
    "two slices at one place": (_set(4, ImagePositionPatient=[-46, -54, 15]), "at the same place"),
    "a slice out of place": (_set(8, ImagePositionPatient=[-46, -54, 47]), "a slice missing"),
    "a slice aside": (_set(4, ImagePositionPatient=[-36, -54, 20]), "above one another"),
    "another size": (_set(4, Rows=14, Columns=48), "pixels"),
    "turned": (_set(4, ImageOrientationPatient=[0, 1, 0, -1, 0, 0]), "turned or scaled"),
    "scaled": (_set(4, PixelSpacing=[1, 1]), "turned or scaled"),
    "no place": (_without("ImagePositionPatient"), "has no ImagePositionPatient"),
    "no slope": (_without("RescaleSlope"), "no Hounsfield units"),
    "several frames": (
        _set(4, NumberOfFrames=2),
        "holds 2 frames and does not say where each lies",
    ),
    "colours": (_set(4, PhotometricInterpretation="MONOCHROME1"), "no grey image"),
    "compressed": (_compressed, "is compressed .JPEG Lossless"),
    "flat": (_flat, "impossible voxel size"),
}


@pytest.mark.parametrize("name", BENDS)
def test_a_bent_series_is_refused_by_name(tmp_path: Path, name: str) -> None:
    bend, reason = BENDS[name]
    folder = series(tmp_path / "ct", IMAGE, bend=bend)
    with pytest.raises(VolumeRefused, match=reason) as refused:
        open_series(folder, patient="p1").upright()
    assert refused.value.patient == "p1"
    assert "\n" not in str(refused.value)
    assert "P1" not in str(refused.value)


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    folder = series(tmp_path / "ct", IMAGE)
    (folder / "005.dcm").unlink()
    reason = r"10.00 mm from 006.dcm to 004.dcm, elsewhere 5.00: a slice missing\?"
    with pytest.raises(VolumeRefused, match=reason):
        open_series(folder, patient="p1")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (_cut, "005.dcm is damaged"),
    "cut in the header": (lambda p: p.write_bytes(p.read_bytes()[:160]), "005.dcm"),
    "empty": (lambda p: p.write_bytes(b""), "005.dcm is no DICOM file"),
    "something else": (lambda p: p.write_text("hello" * 99), "005.dcm is no DICOM file"),
    "garbage": (lambda p: p.write_bytes(bytes(128) + b"DICM" + b"\xff" * 500), "005.dcm"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_damaged_slice_is_refused_by_name(tmp_path: Path, name: str) -> None:
    break_it, reason = BREAKS[name]
    folder = series(tmp_path / "ct", IMAGE)
    break_it(folder / "005.dcm")
    with pytest.raises(VolumeRefused, match=reason) as refused:
        open_series(folder, patient="p1").upright()
    assert "\n" not in str(refused.value)


def test_a_single_slice_and_an_empty_folder_are_no_volume(tmp_path: Path) -> None:
    folder = series(tmp_path / "ct", IMAGE[:, :, :1])
    with pytest.raises(VolumeRefused, match="1 slice, expected at least 2"):
        open_series(folder, patient="p1")
    (tmp_path / "none").mkdir()
    with pytest.raises(VolumeRefused, match="holds no DICOM files"):
        open_series(tmp_path / "none", patient="p1")


def test_the_affine_is_that_of_the_same_head_as_nifti(tmp_path: Path) -> None:
    grid = open_series(series(tmp_path / "ct", IMAGE), patient="p1")
    save(tmp_path / "ct.nii.gz", IMAGE)
    affine = nib.load(tmp_path / "ct.nii.gz").affine
    assert np.allclose(grid.upright_affine, affine, atol=1e-4)
