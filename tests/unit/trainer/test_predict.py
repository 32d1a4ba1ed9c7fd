import numpy as np
import pytest
import torch
from torch import nn

from policies.wire.models import UNet2d
from tests.training import Blobs
from trainer import predict
from trainer.metrics.masks import overlap
from trainer.models.unet import UNet


class Bright(nn.Module):
    """Finds what is bright."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - 1) * 10


def test_all_slices_of_a_patient_are_one_case() -> None:
    found = list(predict.cases(Bright(), Blobs(count=3), threshold=0.5))
    assert [case[0].shape[0] for case in found] == [1, 2, 3]
    assert all(case[0].dtype == case[1].dtype == np.bool_ for case in found)
    assert overlap("dice_score", found).value > 0.9


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_the_threshold_is_one_of_the_probability(threshold: float) -> None:
    images = np.random.default_rng(1).standard_normal((70, 1, 8, 8)).astype(np.float32)
    probability = torch.sigmoid(Bright()(torch.from_numpy(images))).numpy()
    found = predict.masks(Bright(), images, threshold=threshold)
    assert (found == (probability >= threshold)).mean() > 0.999


def test_prediction_leaves_no_gradients_behind() -> None:
    model = UNet(UNet2d(kind="unet2d", in_channels=1, out_channels=1, levels=2))
    predict.logits(model, np.zeros((3, 1, 8, 8), dtype=np.float32))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_classes_are_those_of_the_largest_logit() -> None:
    class Digits:
        def __len__(self) -> int:
            return 4

        def unit(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            row = np.zeros((1, 3), dtype=np.float32)
            row[0, index % 3] = 1.0
            return row, np.array([index % 3])

    found, truth = predict.classes(nn.Identity(), Digits())
    assert found.tolist() == truth.tolist() == [0, 1, 2, 0]
