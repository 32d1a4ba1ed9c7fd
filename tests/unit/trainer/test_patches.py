from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from policies.wire.datasets import VolumesDataset
from policies.wire.pipeline import TrainDlConfig
from tests.training import train_config
from trainer.batches import assemble
from trainer.patches import draw_patches
from trainer.privacy.csprng import UnsafeSeededStream

PATCH = (4, 8, 8)


def dataset(around_mask: float = 0.5) -> VolumesDataset:
    return VolumesDataset(kind="volumes", patch=PATCH, around_mask=around_mask)


def numbered(*sides: int) -> NDArray[np.float32]:
    """A volume whose voxels say where they are."""
    return np.arange(1, np.prod(sides) + 1, dtype=np.float32).reshape(1, *sides)


@settings(max_examples=40, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 9),
    share=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_patch_is_a_piece_of_the_volume_with_its_own_piece_of_the_mask(
    sides: tuple[int, int, int], seed: int, share: float
) -> None:
    image = numbered(*sides)
    mask = (image % 7 == 0).astype(np.float32)
    stream = UnsafeSeededStream(seed)
    for part, truth in draw_patches(image, mask, config=dataset(share), count=3, stream=stream):
        assert part.shape == truth.shape == (1, *PATCH)
        assert np.array_equal(truth > 0, (part % 7 == 0) & (part > 0))
        inside = tuple(min(a, b) for a, b in zip(sides, PATCH, strict=True))
        assert np.count_nonzero(part) == np.prod(inside)
        step = np.diff(part[0, : inside[0], : inside[1], : inside[2]], axis=2)
        assert (step == 1).all()


def test_patches_around_the_mask_all_hold_some_of_it() -> None:
    mask = np.zeros((1, 10, 40, 40), dtype=np.float32)
    mask[0, 9, 39, 0] = mask[0, 3, 20, 20] = 1
    drawn = list(
        draw_patches(
            numbered(10, 40, 40), mask, config=dataset(1), count=60, stream=UnsafeSeededStream(1)
        )
    )
    assert all(truth.any() for _, truth in drawn)
    corners = [bool(truth[0, -1, -1, 0]) for _, truth in drawn]
    assert 15 < sum(corners) < 45


def test_without_a_share_for_the_mask_patches_lie_anywhere() -> None:
    mask = np.zeros((1, 10, 40, 40), dtype=np.float32)
    mask[0, 3, 20, 20] = 1
    drawn = draw_patches(
        numbered(10, 40, 40), mask, config=dataset(0), count=200, stream=UnsafeSeededStream(2)
    )
    assert sum(bool(truth.any()) for _, truth in drawn) < 60


def test_a_patient_without_a_mask_gives_patches_too() -> None:
    image = numbered(4, 8, 8)
    (drawn,) = draw_patches(
        image, np.zeros_like(image), config=dataset(1), count=1, stream=UnsafeSeededStream(3)
    )
    assert np.array_equal(drawn[0], image)


class Heads:
    """Patients with one volume each, of different sizes."""

    def __len__(self) -> int:
        return 5

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng(index)
        sides = (5 + index, 12, 9)
        image = rng.random((1, 1, *sides), dtype=np.float32)
        return image, (image > 0.5).astype(np.float32)


class OneSwapped(Heads):
    """The same, with other data of one patient."""

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        image, mask = super().unit(index)
        return (1 - image, 1 - mask) if index == 2 else (image, mask)


def volumes_config(**changes: object) -> TrainDlConfig:
    return train_config(
        model={"kind": "unet3d", "inChannels": 1, "outChannels": 1, "levels": 2, "channels": 4},
        dataset={"kind": "volumes", "patch": list(PATCH), "channels": 1, "classes": 1},
        **changes,
    )


@pytest.mark.parametrize("samples", [1, 3])
def test_a_unit_contributes_as_many_patches_as_asked_for(samples: int) -> None:
    config = volumes_config(samplesPerUnit=samples)
    batch = assemble(Heads(), np.arange(5), config=config, stream=UnsafeSeededStream(4))
    assert batch is not None
    assert batch.inputs.shape == (5 * samples, 1, *PATCH)
    assert batch.targets.shape == (5 * samples, 1, *PATCH)
    assert batch.owner.bincount().tolist() == [samples] * 5


def test_a_units_patches_do_not_depend_on_the_data_of_others() -> None:
    config = volumes_config(
        augmentation={"flip": "both", "maxShift": 2, "intensity": 0.1}, samplesPerUnit=2
    )
    chosen = np.arange(5)
    plain = assemble(Heads(), chosen, config=config, stream=UnsafeSeededStream(5))
    other = assemble(OneSwapped(), chosen, config=config, stream=UnsafeSeededStream(5))
    assert plain is not None
    assert other is not None
    same = plain.owner != 2
    assert (plain.inputs[same] == other.inputs[same]).all()
    assert (plain.targets[same] == other.targets[same]).all()
    assert (plain.inputs[~same] != other.inputs[~same]).any()


def test_intensity_changes_the_image_within_its_bounds_and_never_the_mask() -> None:
    plain = volumes_config(samplesPerUnit=1, augmentation={"flip": "none"})
    changed = volumes_config(samplesPerUnit=1, augmentation={"flip": "none", "intensity": 0.1})
    one = assemble(Heads(), np.arange(5), config=plain, stream=UnsafeSeededStream(6))
    two = assemble(Heads(), np.arange(5), config=changed, stream=UnsafeSeededStream(6))
    assert one is not None
    assert two is not None
    assert (one.targets == two.targets).all()
    difference = (one.inputs - two.inputs).abs()
    assert 0 < difference.max() <= 0.2
