from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.trainer.data.makers import SPACING, head, lesion
from trainer.data.errors import DataError, VolumeRefused
from trainer.data.intensity import Window
from trainer.data.preprocess import Augmentation, Plane, Recipe, slice_volume
from trainer.data.volumes import Volume

RECIPE = Recipe(size=(32, 32), min_tumour_pixels=5)


def volume(seed: int = 0) -> Volume:
    image = head(seed)[None].astype(np.float32)
    return Volume("p1", image, lesion() > 0, SPACING)


def test_only_slices_with_enough_tumour_are_kept() -> None:
    slices = slice_volume(volume(), recipe=RECIPE)
    assert slices.image.shape == (4, 1, 32, 32)
    assert slices.mask.shape == (4, 1, 32, 32)
    assert slices.image.dtype == np.float16
    assert set(np.unique(slices.mask)) == {0, 1}
    assert (slices.mask.sum(axis=(1, 2, 3)) >= 5).all()


def test_more_slices_than_allowed_are_spread_over_the_tumour() -> None:
    slices = slice_volume(volume(), recipe=replace(RECIPE, max_slices=2))
    whole = slice_volume(volume(), recipe=RECIPE)
    assert np.array_equal(slices.image, whole.image[[0, 3]])


def test_negative_slices_have_no_tumour_and_come_only_when_asked_for() -> None:
    slices = slice_volume(volume(), recipe=replace(RECIPE, negative_slices=3))
    area = slices.mask.sum(axis=(1, 2, 3))
    assert len(area) == 7
    assert (area == 0).sum() == 3


@pytest.mark.parametrize(("plane", "count"), [(Plane.CORONAL, 8), (Plane.SAGITTAL, 6)])
def test_each_plane_cuts_across_its_own_axis(plane: Plane, count: int) -> None:
    recipe = replace(RECIPE, plane=plane, max_slices=99)
    assert len(slice_volume(volume(), recipe=recipe).image) == count


def test_proportions_in_millimetres_are_kept() -> None:
    # 9 slices of 5 mm are 45 mm high, 24 voxels of 2 mm are 48 mm wide.
    recipe = replace(RECIPE, plane=Plane.CORONAL, size=(48, 48), min_tumour_pixels=1)
    mask = slice_volume(volume(), recipe=recipe).mask[0, 0]
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    assert abs((rows[-1] - rows[0] + 1) - 4 * 5) <= 1
    assert abs((columns[-1] - columns[0] + 1) - 6 * 2) <= 1


def test_the_lesion_stays_where_it_is_drawn_from_front_to_back() -> None:
    mask = slice_volume(volume(), recipe=replace(RECIPE, size=(28, 28))).mask[0, 0]
    rows, columns = np.nonzero(mask)
    # Voxels y 10..17 of 28 from the back are rows 10..17 from the front; x 8..13 are padded by 2.
    assert (rows.min(), rows.max()) == (10, 17)
    assert (columns.min(), columns.max()) == (10, 15)


def test_intensities_are_scored_within_the_brain_and_zero_outside() -> None:
    recipe = replace(RECIPE, max_slices=512, negative_slices=512, percentiles=(0.0, 100.0))
    image = slice_volume(volume(), recipe=recipe).image.astype(np.float64)
    brain = image[image != 0]
    assert abs(brain.mean()) < 0.01
    assert abs(brain.std() - 1) < 0.01
    assert image[:, :, 0, 0].max() == 0


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(0.01, 100), seed=st.integers(0, 5))
def test_a_scanner_gain_changes_nothing(gain: float, seed: int) -> None:
    plain = volume(seed)
    louder = Volume("p1", plain.image * np.float32(gain), plain.mask, plain.spacing)
    first = slice_volume(plain, recipe=RECIPE).image.astype(np.float64)
    second = slice_volume(louder, recipe=RECIPE).image.astype(np.float64)
    assert np.abs(first - second).max() < 0.01


def test_one_bright_voxel_does_not_swamp_the_rest() -> None:
    spiked = volume()
    spiked.image[0, 12, 14, 4] = 30_000
    calm = slice_volume(volume(), recipe=RECIPE).image.astype(np.float64)
    scores = slice_volume(spiked, recipe=RECIPE).image.astype(np.float64)
    assert np.median(np.abs(scores - calm)) < 0.05


def test_augmented_copies_follow_seed_and_patient_only() -> None:
    recipe = replace(RECIPE, augmentation=Augmentation(copies=2, seed=3))
    first = slice_volume(volume(), recipe=recipe)
    again = slice_volume(volume(), recipe=recipe)
    other = slice_volume(replace(volume(), patient="p2"), recipe=recipe)
    assert first.image.shape == (12, 1, 32, 32)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image[4:], other.image[4:])
    assert np.array_equal(first.image[:4], other.image[:4])
    assert (first.mask.sum(axis=(1, 2, 3)) > 0).all()


def test_an_empty_mask_is_refused() -> None:
    empty = replace(volume(), mask=np.zeros_like(volume().mask))
    with pytest.raises(VolumeRefused, match="p1: the mask is empty"):
        slice_volume(empty, recipe=RECIPE)


def test_too_small_a_tumour_is_refused() -> None:
    with pytest.raises(VolumeRefused, match="no slice has 900 pixels of tumour"):
        slice_volume(volume(), recipe=replace(RECIPE, min_tumour_pixels=900))


def test_an_image_without_contrast_is_refused() -> None:
    flat = volume()
    flat.image[flat.image > 0] = 7
    recipe = replace(RECIPE, size=(28, 28))
    with pytest.raises(VolumeRefused, match="contrast"):
        slice_volume(Volume("p1", np.full_like(flat.image, 7), flat.mask, SPACING), recipe=recipe)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"size": (4, 64)}, "size"),
        ({"min_tumour_pixels": 0}, "min_tumour_pixels"),
        ({"max_slices": 0}, "max_slices"),
        ({"negative_slices": -1}, "negative_slices"),
        ({"percentiles": (99.0, 1.0)}, "percentiles"),
        ({"modalities": ("pet",)}, "modalities"),
        ({"modalities": ("ct",)}, "windows"),
        ({"windows": (Window(40, 80),)}, "windows"),
        ({"augmentation": Augmentation(copies=0)}, "augmentation.copies"),
    ],
)
def test_a_recipe_out_of_range_is_refused_by_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(DataError, match=field):
        replace(RECIPE, **change)  # type: ignore[arg-type]  # wrong on purpose
