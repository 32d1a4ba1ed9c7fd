from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.trainer.data.dicom_maker import ct_head, series
from tests.unit.trainer.data.makers import save
from trainer.data.errors import DataError, VolumeRefused
from trainer.data.intensity import Window
from trainer.data.join import DirectoryJoin, open_dataset
from trainer.data.manifest import VolumesManifest, read_manifest
from trainer.data.prepare import prepare
from trainer.data.preprocess import Recipe, slice_volume
from trainer.data.volume_set import VolumeDataset
from trainer.data.volumes import Volume
from trainer.data.whole import VolumeRecipe, whole_volume

IMAGE, MASK = ct_head()
BRAIN = Window(40, 80)
RECIPE = VolumeRecipe(spacing=(5.0, 4.0, 4.0), modalities=("ct",), windows=(BRAIN,))


def volume(image: np.ndarray = IMAGE) -> Volume:  # type: ignore[type-arg]  # of any dtype
    return Volume("p1", image[None].astype(np.float32), MASK > 0, (2.0, 2.0, 5.0))


def test_a_volume_is_resampled_and_cut_to_the_head() -> None:
    made = whole_volume(volume(), recipe=RECIPE)
    # 20 of 24 voxels of 2 mm are head from left to right, 24 of 28 from front to back.
    assert made.image.shape == (1, 9, 12, 10)
    assert made.mask.shape == (1, 9, 12, 10)
    assert made.mask.sum() == 3 * 2 * 2
    assert np.ptp(np.nonzero(made.mask[0])[0]) == 2


def test_depth_runs_up_and_rows_run_from_the_front_back() -> None:
    recipe = replace(RECIPE, spacing=(5.0, 2.0, 2.0))
    _, depth, rows, columns = np.nonzero(whole_volume(volume(), recipe=recipe).mask)
    assert (depth.min(), depth.max()) == (3, 5)
    # Voxels y 8..11 of 28 from the back, of which 2 are air on each side.
    assert (rows.min(), rows.max()) == (28 - 1 - 11 - 2, 28 - 1 - 8 - 2)
    assert (columns.min(), columns.max()) == (14 - 2, 17 - 2)


def test_each_window_is_a_channel_from_0_to_1() -> None:
    recipe = replace(RECIPE, spacing=(5.0, 2.0, 2.0), windows=(BRAIN, Window(600, 2800)))
    made = whole_volume(volume(), recipe=recipe)
    brain, bone = made.image.astype(np.float64)
    inside = made.mask[0] > 0
    assert brain[inside].mean() == pytest.approx(70 / 80, abs=1e-3)
    assert bone[inside].mean() == pytest.approx((70 + 800) / 2800, abs=1e-3)
    assert brain.max() == 1
    assert brain.min() == 0


def test_slices_of_a_ct_are_windowed_and_padded_with_air() -> None:
    recipe = Recipe(
        size=(64, 64), min_tumour_pixels=3, modalities=("ct",), windows=(BRAIN, Window(40, 400))
    )
    made = slice_volume(volume(), recipe=recipe)
    assert made.image.shape == (3, 2, 64, 64)
    assert made.image[:, :, 0, 0].max() == 0
    assert made.image[:, 0][made.mask[:, 0] > 0].mean() == pytest.approx(70 / 80, abs=0.06)


def test_what_lies_below_air_is_air() -> None:
    padded = IMAGE.copy()
    padded[IMAGE < -900] = -3024
    plain = whole_volume(volume(), recipe=RECIPE)
    assert np.allclose(whole_volume(volume(padded), recipe=RECIPE).image, plain.image, atol=0.01)


def test_a_healthy_patient_has_an_empty_mask_and_stays() -> None:
    healthy = replace(volume(), mask=np.zeros(IMAGE.shape, dtype=bool))
    assert whole_volume(healthy, recipe=RECIPE).mask.sum() == 0


def test_nothing_but_air_is_refused() -> None:
    with pytest.raises(VolumeRefused, match="nothing but air"):
        whole_volume(volume(np.full(IMAGE.shape, -1000)), recipe=RECIPE)


def test_a_spacing_that_makes_too_many_voxels_is_refused() -> None:
    with pytest.raises(VolumeRefused, match="voxels along one side"):
        whole_volume(
            replace(volume(), spacing=(2.0, 2.0, 90.0)), recipe=replace(RECIPE, spacing=(0.1,) * 3)
        )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"spacing": (0.0, 1.0, 1.0)}, "spacing"),
        ({"windows": ()}, "windows"),
        ({"windows": (BRAIN,) * 9}, "windows"),
        ({"modalities": ("ct", "flair")}, "modalities"),
        ({"modalities": ("flair",)}, "windows"),
    ],
)
def test_a_recipe_out_of_range_is_refused_by_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(DataError, match=field):
        replace(RECIPE, **change)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("text", ["", "brains", "40", "40:", "nan:80", "40:0", "1e9:80"])
def test_a_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="windows"):
        Window.parse(text)


def test_windows_have_names() -> None:
    assert Window.parse("brain") == Window(40, 80)
    assert Window.parse("-600:1500") == Window(-600, 1500)


def cohort(root: Path) -> Path:
    for number in range(2):
        series(root / f"p{number}" / f"p{number}_ct", IMAGE)
        save(root / f"p{number}" / f"p{number}_seg.nii.gz", MASK)
    cut = series(root / "p7" / "p7_ct", IMAGE) / "005.dcm"
    cut.write_bytes(cut.read_bytes()[:-300])
    save(root / "p7" / "p7_seg.nii.gz", MASK)
    return root


def test_a_folder_of_series_becomes_a_set_of_volumes(tmp_path: Path) -> None:
    report = prepare(cohort(tmp_path / "in"), tmp_path / "out", recipe=RECIPE)
    reasons = [str(one) for one in report.refused]
    assert len(reasons) == 1
    assert reasons[0].startswith("p7: 005.dcm is damaged")
    manifest = read_manifest(tmp_path / "out")
    assert isinstance(manifest, VolumesManifest)
    assert manifest == report.manifest
    assert [entry.shape for entry in manifest.patients] == [(9, 12, 10)] * 2
    assert manifest.recipe["windows"] == [{"centre": 40, "width": 80}]
    units = open_dataset(tmp_path / "out")
    assert isinstance(units, VolumeDataset)
    image, mask = units.unit(1)
    assert image.shape == (1, 1, 9, 12, 10)
    assert mask.shape == (1, 1, 9, 12, 10)
    assert units.spacing == (5.0, 4.0, 4.0)
    made = whole_volume(volume(), recipe=RECIPE)
    assert np.array_equal(image[0], made.image.astype(np.float32))
    assert np.array_equal(mask[0], made.mask)


def test_two_processes_write_the_same_volumes(tmp_path: Path) -> None:
    source = cohort(tmp_path / "in")
    prepare(source, tmp_path / "one", recipe=RECIPE)
    prepare(source, tmp_path / "two", recipe=RECIPE, jobs=2)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_volumes_of_two_spacings_are_not_joined(tmp_path: Path) -> None:
    source = cohort(tmp_path / "in")
    prepare(source, tmp_path / "a", recipe=RECIPE)
    prepare(source, tmp_path / "b", recipe=replace(RECIPE, spacing=(5.0, 2.0, 2.0)))
    sets = {name: open_dataset(tmp_path / name) for name in "ab"}
    with pytest.raises(DataError, match="spacings differ"):
        DirectoryJoin(sets)


def test_a_volume_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path) -> None:
    prepare(cohort(tmp_path / "in"), tmp_path / "out", recipe=RECIPE)
    path = tmp_path / "out" / "p1.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="out/p1"):
        VolumeDataset(tmp_path / "out")
    path.unlink()
    with pytest.raises(DataError, match=r"files differ from the manifest: p1\.safetensors"):
        VolumeDataset(tmp_path / "out")
