"""What couples the samples of a batch is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.unit.trainer.privacy.models import Attention, Spoiled, batch, loss
from trainer.privacy.errors import EngineRefused
from trainer.privacy.per_sample_engine import PerSampleEngine


class Centred(nn.Module):
    """Subtracts the mean of the batch without being called a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y - y.mean(dim=0, keepdim=True)


class Turned(nn.Module):
    """Gives a layer the features first and the samples second."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        turned: Tensor = self.second(self.first(x).T[..., None])
        return turned[..., 0].T


def batch_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Divide by a sum over the batch, as a batch-wise Dice does."""
    del targets
    return outputs.flatten(1).square().sum(1) / outputs.square().sum()


def mean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs, torch.zeros_like(outputs) + targets.mean())


@pytest.mark.parametrize(
    ("model", "given", "wrong"),
    [
        (nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), loss, "mixes the samples of a batch"),
        (
            nn.Sequential(
                nn.Unflatten(1, (2, 3)),
                nn.InstanceNorm1d(2, affine=True, track_running_stats=True),
            ),
            loss,
            "keeps statistics",
        ),
        (Centred(), loss, "output for one sample changes"),
        (nn.Linear(6, 4), batch_loss, "loss for one sample changes"),
        (nn.Linear(6, 4), mean_loss, "expected one value a sample"),
        (nn.ReLU(), loss, "no trainable parameters"),
        (Spoiled(), loss, "changed in place"),
        (Turned(), loss, "Linear gives \\[5, 3, 1\\] for 3 samples"),
        (nn.Sequential(nn.Unflatten(1, (1, 6)), Attention(dropout=0.1)), loss, "drops at random"),
        (
            nn.Sequential(nn.Unflatten(1, (1, 6)), Attention(batch_first=False)),
            loss,
            "output for one sample",
        ),
    ],
)
def test_what_couples_samples_is_refused_with_the_reason(
    model: nn.Module, given: Callable[[Tensor, Tensor], Tensor], wrong: str
) -> None:
    with pytest.raises(EngineRefused, match=wrong):
        PerSampleEngine(model, loss=given, max_grad_norm=1.0).unit_sum(batch(6))
