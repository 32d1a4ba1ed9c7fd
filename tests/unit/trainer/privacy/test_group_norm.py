"""Group normalisation goes back by a way of its own, which must be as right and as strict."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainer.privacy.engine import Precision, UnitBatch
from trainer.privacy.errors import EngineRefused
from trainer.privacy.layers.group_norm import statistics_of
from trainer.privacy.per_sample_engine import PerSampleEngine

SAMPLES, BOUND = 3, 0.5


class Normalised(nn.Module):
    """A convolution whose output is normalised, twice by the same layer."""

    def __init__(self, *, spoil: bool = False, frozen: bool = False) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.norm.weight.requires_grad_(not frozen)
        self._spoil = spoil

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        y: Tensor = self.norm(x)
        if self._spoil:
            with torch.no_grad():
                x.mul_(2.0)
        y = self.norm(y.relu_() + 0.1)
        return y


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.float() - targets).square().flatten(1).mean(1)


def batch() -> UnitBatch:
    torch.manual_seed(3)
    inputs, targets = torch.randn(SAMPLES, 2, 6, 5), torch.randn(SAMPLES, 4, 6, 5)
    return UnitBatch(inputs, targets, torch.arange(SAMPLES), SAMPLES)


def clipped_one_by_one(model: nn.Module, data: UnitBatch) -> Tensor:
    """Return the clipped sum by autograd alone, one sample at a time."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    total = torch.zeros(sum(p.numel() for p in parameters))
    for one in range(SAMPLES):
        value = loss(model(data.inputs[one : one + 1]), data.targets[one : one + 1]).sum()
        flat = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])
        total += flat * min(1.0, BOUND / float(flat.norm()))
    return total


@pytest.mark.parametrize(
    "make",
    [
        Normalised,
        lambda: Normalised(frozen=True),
        lambda: nn.Sequential(nn.GroupNorm(2, 2), Normalised()),
        lambda: nn.Sequential(Normalised(), nn.InstanceNorm2d(4, affine=True)),
    ],
    ids=["used twice", "with a frozen scale", "also first", "beside instance normalisation"],
)
def test_gradients_are_those_of_each_sample_alone(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(4)
    model, data = make(), batch()
    expected = clipped_one_by_one(model, data)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=BOUND)
    for _ in range(2):
        torch.testing.assert_close(engine.unit_sum(data), expected, rtol=1e-4, atol=1e-6)


def test_gradients_in_half_the_bits_are_near() -> None:
    torch.manual_seed(4)
    model, data = Normalised(), batch()
    expected = clipped_one_by_one(model, data)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=BOUND, precision=Precision.BF16)
    assert (engine.unit_sum(data) - expected).norm() < 0.05 * expected.norm()


def test_an_input_that_was_changed_in_place_is_refused() -> None:
    # Autograd's own check is gone with the node that it belonged to.
    engine = PerSampleEngine(Normalised(spoil=True), loss=loss, max_grad_norm=BOUND)
    with pytest.raises(EngineRefused, match="input of a GroupNorm was changed in place"):
        engine.unit_sum(batch())


def test_the_detour_is_taken_where_autograd_keeps_what_it_needs() -> None:
    """The name of autograd's node is no promise: if it changes, this says so."""
    output = nn.GroupNorm(2, 4)(torch.randn(1, 4, 3, requires_grad=True))
    assert statistics_of(nn.GroupNorm(2, 4), output) is not None
    assert statistics_of(nn.GroupNorm(2, 4), output.detach()) is None
    assert statistics_of(nn.LayerNorm(3), output) is None
