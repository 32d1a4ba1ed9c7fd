import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from policies.wire.losses import Dice
from policies.wire.models import UNet2d
from trainer.losses import build_loss
from trainer.models.unet import UNet
from trainer.privacy import opacus_engine
from trainer.privacy.engine import UnitBatch
from trainer.privacy.errors import EngineRefused
from trainer.privacy.opacus_engine import OpacusEngine
from trainer.privacy.plain_engine import PlainEngine

LOSS = build_loss(Dice.model_validate({"class": "DiceLoss"}))


def unet() -> UNet:
    torch.manual_seed(3)
    return UNet(
        UNet2d(kind="unet2d", in_channels=1, out_channels=1, levels=3, channels=4, groups=2)
    )


def batch(counts: list[int], *, seed: int = 1, side: int = 8) -> UnitBatch:
    generator = torch.Generator().manual_seed(seed)
    samples = sum(counts)
    return UnitBatch(
        inputs=torch.randn(samples, 1, side, side, generator=generator),
        targets=(torch.rand(samples, 1, side, side, generator=generator) > 0.7).float(),
        owner=torch.repeat_interleave(torch.tensor(counts, dtype=torch.int64)),
        units=len(counts),
    )


def sample_gradients(model: nn.Module, data: UnitBatch) -> Tensor:
    """Per-sample gradients by the functional transforms of torch, `[samples, size]`."""
    state = {name: value.detach() for name, value in model.named_parameters()}

    def one(state: dict[str, Tensor], image: Tensor, mask: Tensor) -> Tensor:
        return LOSS(functional_call(model, state, image[None]), mask[None])[0]

    rows = vmap(grad(one), in_dims=(None, 0, 0))(state, data.inputs, data.targets)
    return torch.cat([rows[name].flatten(1) for name in state], dim=1).detach()


def oracle(model: nn.Module, data: UnitBatch, *, bound: float) -> Tensor:
    total = torch.zeros(sum(p.numel() for p in model.parameters()))
    rows = sample_gradients(model, data)
    for unit in range(data.units):
        mean = rows[data.owner == unit].mean(dim=0)
        total += mean * min(1.0, bound / float(mean.norm()))
    return total


@pytest.mark.parametrize("bound", [0.01, 1.0, 100.0])
def test_the_sum_is_that_of_the_functional_oracle(bound: float) -> None:
    model, data = unet(), batch([2, 1, 3, 2])
    expected = oracle(model, data, bound=bound)
    engine = OpacusEngine(model, loss=LOSS, max_grad_norm=bound)
    got = engine.unit_sum(data)
    assert float((got - expected).norm() / expected.norm()) < 1e-4


def test_a_patient_with_many_slices_counts_for_no_more_than_the_bound() -> None:
    engine = OpacusEngine(unet(), loss=LOSS, max_grad_norm=0.05)
    for counts in ([1], [30]):
        assert float(engine.unit_sum(batch(counts)).norm()) <= 0.05 * (1 + 1e-6)


def test_removing_a_patient_changes_the_sum_by_no_more_than_the_bound() -> None:
    engine = OpacusEngine(unet(), loss=LOSS, max_grad_norm=0.02)
    data = batch([3, 2, 4, 1])
    everybody = engine.unit_sum(data)
    without_last = engine.unit_sum(data.part(0, 3))
    assert float((everybody - without_last).norm()) <= 0.02 * (1 + 1e-4)


def test_the_sum_of_two_batches_is_the_sum_of_their_sums() -> None:
    engine = OpacusEngine(unet(), loss=LOSS, max_grad_norm=0.1)
    data = batch([2, 2, 1, 3])
    apart = engine.unit_sum(data.part(0, 2)) + engine.unit_sum(data.part(2, 4))
    torch.testing.assert_close(engine.unit_sum(data), apart, rtol=1e-4, atol=1e-6)


def test_small_parts_give_the_same_sum_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OpacusEngine(unet(), loss=LOSS, max_grad_norm=0.1)
    data = batch([2, 5, 1, 3, 1])
    whole = engine.unit_sum(data)
    monkeypatch.setattr(opacus_engine, "_MAX_SAMPLES", 2)
    torch.testing.assert_close(engine.unit_sum(data), whole, rtol=1e-4, atol=1e-6)


def test_an_empty_batch_gives_zeros() -> None:
    engine = OpacusEngine(unet(), loss=LOSS, max_grad_norm=0.1)
    empty = UnitBatch(
        inputs=torch.zeros(0, 1, 8, 8),
        targets=torch.zeros(0, 1, 8, 8),
        owner=torch.zeros(0, dtype=torch.int64),
        units=0,
    )
    assert engine.unit_sum(empty).equal(torch.zeros(engine.size))


def test_a_patient_whose_gradient_is_not_finite_counts_as_zero() -> None:
    engine = OpacusEngine(unet(), loss=LOSS, max_grad_norm=0.1)
    data = batch([1, 2, 1])
    others = engine.unit_sum(data.part(0, 1)) + engine.unit_sum(data.part(2, 3))
    data.inputs[1] = math.inf
    torch.testing.assert_close(engine.unit_sum(data), others, rtol=1e-4, atol=1e-6)


def test_gradients_of_one_step_do_not_reach_the_next() -> None:
    engine = OpacusEngine(unet(), loss=LOSS, max_grad_norm=0.1)
    first, second = batch([2, 1]), batch([1, 1], seed=2)
    expected = engine.unit_sum(second)
    engine.unit_sum(first)
    assert engine.unit_sum(second).equal(expected)


def test_frozen_layers_are_left_out() -> None:
    model = unet()
    for parameter in model.down.parameters():
        parameter.requires_grad_(False)
    engine = OpacusEngine(model, loss=LOSS, max_grad_norm=0.1)
    assert engine.size == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert engine.unit_sum(batch([1, 2])).shape == (engine.size,)


def test_a_model_without_anything_to_train_is_refused() -> None:
    model = unet().requires_grad_(False)
    with pytest.raises(EngineRefused, match="no trainable parameters"):
        OpacusEngine(model, loss=LOSS, max_grad_norm=0.1)


def test_batch_normalisation_is_refused_with_the_reason_and_the_remedy() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    with pytest.raises(EngineRefused) as caught:
        OpacusEngine(model, loss=LOSS, max_grad_norm=0.1)
    assert "1 (BatchNorm2d) mixes the samples of a batch" in str(caught.value)
    assert "2 (BatchNorm2d)" in str(caught.value)
    assert "GroupNorm" in caught.value.hint


def test_running_statistics_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2, track_running_stats=True))
    with pytest.raises(EngineRefused, match="statistics of the data unnoised"):
        OpacusEngine(model, loss=LOSS, max_grad_norm=0.1)


def test_a_parameter_outside_known_layers_is_refused() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(EngineRefused, match=r"Odd\) has no per-sample gradient"):
        OpacusEngine(Odd(), loss=LOSS, max_grad_norm=0.1)


def test_a_loss_over_the_whole_batch_is_refused() -> None:
    def coupled(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs - targets) ** 2).mean()

    engine = OpacusEngine(unet(), loss=coupled, max_grad_norm=0.1)
    with pytest.raises(EngineRefused, match="expected one value a sample"):
        engine.unit_sum(batch([1, 1]))


def test_the_engine_without_privacy_sums_the_same_means_unclipped() -> None:
    model, data = unet(), batch([2, 1, 70])
    expected = oracle(model, data, bound=math.inf)
    got = PlainEngine(model, loss=LOSS).unit_sum(data)
    assert float((got - expected).norm() / expected.norm()) < 1e-4
