import numpy as np
import pytest
import torch

from tests.training import Blobs, train_config
from trainer.batches import assemble
from trainer.privacy.csprng import SecureStream, UnsafeSeededStream


def test_samples_stand_with_their_units() -> None:
    units = Blobs(count=6)
    config = train_config(samplesPerUnit=2)
    batch = assemble(units, np.array([2, 3, 5]), config=config, stream=SecureStream())
    assert batch is not None
    assert batch.units == 3
    assert batch.owner.tolist() == [0, 0, 1, 2, 2]  # unit 3 has one sample, the others three
    for sample, owner in enumerate(batch.owner.tolist()):
        images, masks = units.unit([2, 3, 5][owner])
        same = [np.array_equal(image, batch.inputs[sample].numpy()) for image in images]
        assert any(same)
        assert np.array_equal(masks[same.index(True)], batch.targets[sample].numpy())


def test_nobody_drawn_is_no_batch() -> None:
    nobody = np.array([], dtype=np.int64)
    assert assemble(Blobs(), nobody, config=train_config(), stream=SecureStream()) is None


def test_augmentation_gives_a_unit_all_its_samples_and_moves_image_and_mask_alike() -> None:
    config = train_config(samplesPerUnit=5, augmentation={"flip": "both", "maxShift": 3})
    batch = assemble(Blobs(), np.array([0]), config=config, stream=UnsafeSeededStream(1))
    assert batch is not None
    assert len(batch.owner) == 5
    # The blob is twice as bright as its noise is wide, so that it still lies where the mask is.
    inside = batch.inputs[batch.targets > 0]
    assert float(inside.mean()) == pytest.approx(2, abs=0.2)
    assert len({tuple(mask.flatten().tolist()) for mask in batch.targets}) > 1


def test_a_part_of_a_batch_keeps_whole_units() -> None:
    config = train_config(samplesPerUnit=3)
    batch = assemble(Blobs(), np.arange(6), config=config, stream=SecureStream())
    assert batch is not None
    part = batch.part(1, 4)
    assert part.units == 3
    assert part.owner.min() == 0
    assert torch.bincount(part.owner).tolist() == [2, 3, 1]
