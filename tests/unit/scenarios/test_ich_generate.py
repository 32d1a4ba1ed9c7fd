from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from clients.cli.play.scenario import find_scenario
from trainer.data.intensity import Window
from trainer.data.prepare import prepare
from trainer.data.volume_set import VolumeDataset
from trainer.data.volumes import Volume, find_patients, read_volume
from trainer.data.whole import VolumeRecipe

SCRIPT = Path(__file__).parents[3] / "scenarios" / "ich-ct" / "generate.py"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ich_generate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ich_generate"] = module
    spec.loader.exec_module(module)
    return module


def volumes(folder: Path) -> list[Volume]:
    found = find_patients(folder, modalities=("ct",))
    assert found.refused == ()
    return [read_volume(files) for files in found.patients]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_no_two_cohorts_share_a_patient(
    generate: ModuleType, tmp_path: Path
) -> None:
    seen: set[str] = set()
    for cohort in ("A", "B"):
        for name, seed in (("one", 7), ("two", 7), ("three", 8)):
            folder = tmp_path / f"{cohort}-{name}"
            generate.generate_cohort(folder, provider=cohort, patients=1, seed=seed)
        one, two, three = (contents(tmp_path / f"{cohort}-{n}") for n in ("one", "two", "three"))
        assert one == two
        assert one != three
        names = {name.split("/")[0] for name in one}
        assert seen.isdisjoint(names)
        seen |= names


def test_one_hospital_writes_dicom_and_the_others_nifti(
    generate: ModuleType, tmp_path: Path
) -> None:
    for cohort, kinds in (("A", {".dcm", ".gz"}), ("B", {".gz"}), ("C", {".gz"})):
        folder = generate.generate_cohort(tmp_path / cohort, provider=cohort, patients=1, seed=7)
        assert {path.suffix for path in folder.rglob("*.*") if path.is_file()} == kinds


def test_blood_is_brighter_than_brain_and_lies_inside_the_skull(
    generate: ModuleType, tmp_path: Path
) -> None:
    folder = generate.generate_cohort(tmp_path / "test", provider="test", patients=6, seed=7)
    for volume in volumes(folder):
        blood = volume.image[0][volume.mask]
        assert 50 < len(blood) < 30_000
        assert 50 < np.median(blood) < 85
        tissue = volume.image[0][(volume.image[0] > 0) & (volume.image[0] < 100) & ~volume.mask]
        assert 25 < np.median(tissue) < 40
        assert volume.image.min() <= -980
        assert volume.image.max() > 700


def test_dicom_and_nifti_of_one_patient_are_the_same_scan(
    generate: ModuleType, tmp_path: Path
) -> None:
    scanner = generate.SCANNERS["A"]
    image, mask = generate.make_patient(np.random.default_rng(3), scanner, healthy=False)
    for name, dicom in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        made = generate.Scanner(scanner.voxel, noise=0, blur=0, offset=0, dicom=dicom)
        generate._write(tmp_path / name, "ICH_0001", image, mask, made)
    (dicom_volume,), (nifti_volume,) = volumes(tmp_path / "a"), volumes(tmp_path / "b")
    assert np.array_equal(dicom_volume.image, nifti_volume.image)
    assert np.array_equal(dicom_volume.mask, mask > 0)
    assert dicom_volume.spacing == pytest.approx(nifti_volume.spacing, abs=1e-5)


def test_all_hospitals_patients_become_volumes_of_one_spacing(
    generate: ModuleType, tmp_path: Path
) -> None:
    recipe = VolumeRecipe(
        spacing=(5.0, 5.0, 5.0), modalities=("ct",), windows=(Window(40, 80), Window(80, 200))
    )
    for cohort in "AC":
        raw = generate.generate_cohort(tmp_path / cohort, provider=cohort, patients=2, seed=3)
        report = prepare(raw, tmp_path / f"{cohort}-set", recipe=recipe)
        assert report.refused == ()
        units = VolumeDataset(tmp_path / f"{cohort}-set")
        assert len(units) == 2
        assert units.sample_shape == (2,)
    shown = " ".join(find_scenario("ich-ct").recipe)
    assert shown == "--layout volumes --spacing 5 --modality ct --window brain --window subdural"


@pytest.mark.parametrize(("provider", "patients"), [("D", 3), ("A", 0), ("A", 1001)])
def test_unknown_cohorts_and_numbers_are_refused(
    generate: ModuleType, tmp_path: Path, provider: str, patients: int
) -> None:
    with pytest.raises(ValueError, match="expected"):
        generate.generate_cohort(tmp_path / "x", provider=provider, patients=patients, seed=7)
    assert list(tmp_path.iterdir()) == []
