from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from trainer.data.prepare import prepare
from trainer.data.preprocess import Recipe
from trainer.data.slices import SliceDataset
from trainer.data.volumes import Volume, find_patients, read_volume

SCRIPT = Path(__file__).parents[3] / "scenarios" / "mri-tumor-segmentation" / "generate.py"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mri_generate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mri_generate"] = module
    spec.loader.exec_module(module)
    return module


def volumes(folder: Path) -> list[Volume]:
    found = find_patients(folder)
    assert found.refused == ()
    return [read_volume(files) for files in found.patients]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.nii.gz")}


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
    generate: ModuleType, tmp_path: Path
) -> None:
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        generate.generate_cohort(tmp_path / name, provider="C", patients=3, seed=seed)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert set(contents(tmp_path / "one").values()).isdisjoint(
        contents(tmp_path / "three").values()
    )


def test_no_two_cohorts_share_a_patient(generate: ModuleType, tmp_path: Path) -> None:
    seen: set[str] = set()
    images: set[bytes] = set()
    for cohort in generate.COHORTS:
        folder = generate.generate_cohort(tmp_path / cohort, provider=cohort, patients=3, seed=7)
        names = {files.patient for files in find_patients(folder).patients}
        pictures = {path.read_bytes() for path in folder.rglob("*_flair.nii.gz")}
        assert len(names) == 3
        assert seen.isdisjoint(names)
        assert images.isdisjoint(pictures)
        seen |= names
        images |= pictures
    assert {"brain1", "brain2"} <= seen


def test_the_real_patients_stay_whole(generate: ModuleType, tmp_path: Path) -> None:
    generate.generate_cohort(tmp_path / "A", provider="A", patients=2, seed=7)
    for part in ("image", "label"):
        name = f"brain1_{part}.nii.gz"
        original = (SCRIPT.parent / "data" / name).read_bytes()
        assert (tmp_path / "A" / name).read_bytes() == original


def test_every_patient_has_a_visible_lesion_in_its_brain(
    generate: ModuleType, tmp_path: Path
) -> None:
    generate.generate_cohort(tmp_path / "D", provider="D", patients=24, seed=7)
    shares = []
    for volume in volumes(tmp_path / "D"):
        image, mask = volume.image[0], volume.mask
        brain = image > 0
        level = int(np.argmax(mask.sum(axis=(0, 1))))
        shares.append(mask[:, :, level].sum() / brain[:, :, level].sum())
        assert image[mask].mean() > 1.2 * image[brain & ~mask].mean()
        assert not mask[:, :, [0, -1]].all()
    assert np.median(shares) > 0.03
    assert min(shares) > 0.01


def test_scanners_differ(generate: ModuleType, tmp_path: Path) -> None:
    means = {}
    for provider in "BC":
        folder = generate.generate_cohort(
            tmp_path / provider, provider=provider, patients=6, seed=7
        )
        made = [one.image for one in volumes(folder) if one.patient.startswith("BraTS")]
        means[provider] = np.mean([image[image > 0].mean() for image in made])
    assert means["B"] > 1.5 * means["C"]


def test_every_made_and_real_patient_survives_preparation(
    generate: ModuleType, tmp_path: Path
) -> None:
    for provider in "AB":
        folder = generate.generate_cohort(
            tmp_path / provider, provider=provider, patients=12, seed=3
        )
        report = prepare(folder, tmp_path / f"{provider}-set", recipe=Recipe())
        assert report.refused == ()
        assert len(SliceDataset(tmp_path / f"{provider}-set")) == 12


@pytest.mark.parametrize(("provider", "patients"), [("E", 3), ("A", 0), ("A", 1001)])
def test_unknown_cohorts_and_numbers_are_refused(
    generate: ModuleType, tmp_path: Path, provider: str, patients: int
) -> None:
    with pytest.raises(ValueError, match="expected"):
        generate.generate_cohort(tmp_path / "x", provider=provider, patients=patients, seed=7)
    assert list(tmp_path.iterdir()) == []


def test_a_contact_sheet_can_be_looked_at(generate: ModuleType, tmp_path: Path) -> None:
    generate.generate_cohort(tmp_path / "C", provider="C", patients=2, seed=7)
    generate.contact_sheet(tmp_path / "C", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
