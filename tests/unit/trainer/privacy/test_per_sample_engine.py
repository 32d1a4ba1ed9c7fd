"""Every known layer equals the functional oracle of torch, and the rest is refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.unit.trainer.privacy.models import SAMPLES, Attention, batch, loss
from trainer.privacy import engine as privacy_engine
from trainer.privacy import per_sample_engine
from trainer.privacy.clipping import Clipping
from trainer.privacy.engine import Precision, UnitBatch
from trainer.privacy.layers.registry import is_known, strategies
from trainer.privacy.layers.rule import Call, Ghost
from trainer.privacy.opacus_engine import OpacusEngine
from trainer.privacy.per_sample_engine import PerSampleEngine


def rows_of(model: nn.Module, data: UnitBatch) -> Tensor:
    """Return one gradient a sample by `torch.func`, `[samples, size]`."""
    state = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    rest = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}

    def one(state: dict[str, Tensor], sample: Tensor, target: Tensor) -> Tensor:
        return loss(functional_call(model, {**state, **rest}, sample[None]), target[None])[0]

    with sdpa_kernel(SDPBackend.MATH):
        found = vmap(grad(one), in_dims=(None, 0, 0))(state, data.inputs, data.targets)
    return torch.cat([found[name].flatten(1) for name in state], dim=1).detach()


def oracle(model: nn.Module, data: UnitBatch, *, bound: float) -> Tensor:
    rows = rows_of(model, data)
    total = torch.zeros(rows.shape[1])
    for unit in range(data.units):
        mean = rows[data.owner == unit].mean(0)
        total += mean * min(1.0, bound / float(mean.norm()))
    return total


def difference(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


class Own(nn.Module):
    """A layer that no rule knows, with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 4)
        self.scale = nn.Parameter(torch.linspace(0.5, 2.0, 4))

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.inner(x)
        return inner.tanh() * self.scale


class Twice(nn.Module):
    """Uses one layer twice, and one weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(6, 6)
        self.left = nn.Linear(6, 6)
        self.right = nn.Linear(6, 6, bias=False)
        self.right.weight = self.left.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.again(x).tanh())
        right: Tensor = self.right(self.left(x).tanh())
        return right


def layers() -> dict[str, tuple[Callable[[], nn.Module], UnitBatch]]:
    image, volume, line = batch(4, 8, 9), batch(2, 4, 5, 6), batch(4, 11)
    return {
        "Linear": (lambda: nn.Linear(6, 4), batch(6)),
        "Linear over a sequence": (lambda: nn.Linear(6, 4, bias=False), batch(3, 6)),
        "Linear over a grid": (lambda: nn.Linear(6, 4), batch(2, 3, 6)),
        "Embedding": (lambda: nn.Embedding(9, 5, padding_idx=2), batch(7, words=9)),
        "Embedding of one word": (lambda: nn.Embedding(9, 5), batch(1, words=9)),
        "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), line),
        "Conv1d, strided": (lambda: nn.Conv1d(4, 6, 4, stride=3, dilation=2), line),
        "Conv2d": (lambda: nn.Conv2d(4, 6, 3, padding=1, bias=False), image),
        "Conv2d, odd": (
            lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2)),
            image,
        ),
        "Conv2d, grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), image),
        "Conv2d, one by one": (lambda: nn.Conv2d(4, 6, 1), image),
        "Conv2d, reflected": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), image),
        "Conv2d, same": (lambda: nn.Conv2d(4, 6, 3, padding="same"), image),
        "Conv3d": (lambda: nn.Conv3d(2, 3, 3, padding=1), volume),
        "Conv3d, odd": (lambda: nn.Conv3d(2, 3, (1, 2, 3), stride=(1, 2, 1)), volume),
        "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 3, 3, stride=2), line),
        "ConvTranspose2d": (
            lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
            image,
        ),
        "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 3, 2, stride=2), volume),
        "GroupNorm": (lambda: nn.GroupNorm(2, 4), image),
        "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, affine=True), image),
        "LayerNorm": (lambda: nn.LayerNorm([8, 9]), image),
        "LayerNorm over features": (lambda: nn.LayerNorm(9), image),
        "PReLU": (nn.PReLU, image),
        "PReLU by channel": (lambda: nn.PReLU(4), image),
        "attention": (Attention, batch(5, 6)),
        "a layer of its own": (Own, batch(6)),
        "a layer used twice": (Twice, batch(6)),
    }


@pytest.mark.parametrize("counts", [(1,) * SAMPLES, (2, 1, 3)], ids=["one each", "several each"])
@pytest.mark.parametrize("name", layers())
def test_a_layers_gradients_are_those_of_the_oracle(name: str, counts: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    make, given = layers()[name]
    model = make()
    samples = sum(counts)
    data = UnitBatch(
        inputs=given.inputs.repeat(2, *[1] * (given.inputs.dim() - 1))[:samples],
        targets=torch.zeros(samples),
        owner=torch.repeat_interleave(torch.tensor(counts)),
        units=len(counts),
    )
    expected = oracle(model, data, bound=0.7)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.7)
    for _ in range(2):
        assert difference(engine.unit_sum(data), expected) < 1e-4


@pytest.mark.parametrize("name", [name for name, (make, _) in layers().items() if is_known(make())])
def test_every_way_to_a_layers_gradients_gives_the_same(name: str) -> None:
    torch.manual_seed(1)
    make, data = layers()[name]
    layer = make()
    output = layer(data.inputs)
    call = Call(data.inputs, torch.randn_like(output))
    ways = strategies(layer, call)
    first = ways[0]
    assert not isinstance(first, Ghost)
    exact = {p: g.flatten(1) for p, g in first.gradients(layer, call)}
    weights = torch.linspace(0.1, 1.0, SAMPLES)
    for way in ways:
        if isinstance(way, Ghost):
            norms = torch.cat(list(exact.values()), dim=1).norm(dim=1)
            ghost = way.squared_norms(layer, call).sqrt()
            torch.testing.assert_close(ghost, norms, rtol=1e-4, atol=1e-5)
            # Rounded up: a ghost norm below the true one would let a unit count for too much.
            assert bool((ghost >= norms * (1 - 1e-6)).all())
            for parameter, total in way.weighted_sum(layer, call, weights):
                expected = (weights @ exact[parameter]).reshape(parameter.shape)
                torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-5)
        else:
            for parameter, found in way.gradients(layer, call):
                torch.testing.assert_close(found.flatten(1), exact[parameter], rtol=1e-4, atol=1e-5)


def simple() -> nn.Module:
    """Layers that Opacus knows too."""
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, stride=2, padding=1),
        nn.InstanceNorm2d(4, affine=True),
        nn.Flatten(),
        nn.Linear(4 * 16, 10),
        nn.LayerNorm(10),
        nn.Linear(10, 3),
    )


def unet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        nn.GroupNorm(2, 8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.InstanceNorm2d(8, affine=True),
        nn.PReLU(),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.Flatten(),
        nn.Linear(4 * 64, 10),
        nn.LayerNorm(10),
        nn.Linear(10, 3),
    )


@pytest.mark.parametrize("clipping", list(Clipping))
def test_all_ways_of_clipping_equal_those_on_opacus_gradients(clipping: Clipping) -> None:
    torch.manual_seed(2)
    model, data = simple(), batch(2, 8, 8)
    second = OpacusEngine(model, loss=loss, max_grad_norm=0.3, clipping=clipping)
    expected = second.unit_sum(data)
    second.close()
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.3, clipping=clipping)
    for _ in range(2):
        assert difference(engine.unit_sum(data), expected) < 1e-4


@pytest.mark.parametrize("clipping", list(Clipping))
@pytest.mark.parametrize("counts", [(1,), (9,)])
def test_no_unit_counts_for_more_than_the_bound(
    clipping: Clipping, counts: tuple[int, ...]
) -> None:
    torch.manual_seed(2)
    engine = PerSampleEngine(unet(), loss=loss, max_grad_norm=0.05, clipping=clipping)
    data = batch(2, 8, 8, counts=counts)
    for _ in range(2):
        assert float(engine.unit_sum(data).norm()) <= 0.05 * (1 + 1e-6)


def test_ghost_norms_are_used_where_they_are_cheaper() -> None:
    model = nn.Sequential(nn.Linear(3000, 800), nn.Tanh(), nn.Linear(800, 4))
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.05)
    data = batch(3000, counts=(1,) * 40)
    first, second = engine.unit_sum(data), engine.unit_sum(data)
    assert engine.ways["0"] == "ghost"
    assert difference(second, first) < 1e-4


def test_without_measuring_the_sums_of_two_engines_are_the_same_bits() -> None:
    torch.manual_seed(2)
    model, data = unet(), batch(2, 8, 8)
    sums = []
    for _ in range(2):
        engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.3, measure=False)
        engine.unit_sum(data)
        sums.append(engine.unit_sum(data))
        assert engine.ways == {}
        engine.close()
    assert torch.equal(*sums)


def test_large_samples_pass_through_in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    model, data = unet(), batch(2, 8, 8)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.3)
    whole = engine.unit_sum(data)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _model, inputs: seen.append(len(inputs[0])))
    monkeypatch.setattr(privacy_engine, "MAX_NUMBERS", 2 * 2 * 8 * 8)
    assert difference(engine.unit_sum(data), whole) < 1e-4
    assert seen == [2, 2, 1]


def test_bf16_keeps_the_bound_and_comes_close() -> None:
    torch.manual_seed(2)
    model, data = unet(), batch(2, 8, 8)
    exact = PerSampleEngine(model, loss=loss, max_grad_norm=0.3)
    expected = exact.unit_sum(data)
    exact.close()
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.3, precision=Precision.BF16)
    for _ in range(2):
        assert difference(engine.unit_sum(data), expected) < 0.1
    alone = batch(2, 8, 8, counts=(1,))
    assert float(engine.unit_sum(alone).norm()) <= 0.3 * (1 + 1e-6)


def test_weights_and_what_is_frozen_are_left_as_they_were() -> None:
    torch.manual_seed(2)
    model = unet()
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = batch(2, 8, 8)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.3)
    assert difference(engine.unit_sum(data), oracle(model, data, bound=0.3)) < 1e-4
    assert not model[0].weight.requires_grad
    assert all(p.requires_grad for p in model[1].parameters())
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_after_closing_the_model_is_an_ordinary_one() -> None:
    model, data = unet(), batch(2, 8, 8)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.3)
    engine.unit_sum(data)
    engine.close()
    loss(model(data.inputs), data.targets).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_unit_that_overflows_adds_nothing() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    data = batch(6)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.3)
    expected = engine.unit_sum(data.part(1, SAMPLES))
    data.inputs[0] = math.inf
    for _ in range(2):
        got = engine.unit_sum(data)
        assert difference(got, expected) < 1e-5


def test_small_parts_give_the_same_sum_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    model, data = unet(), batch(2, 8, 8, counts=(3, 1, 2, 2))
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.3)
    whole = engine.unit_sum(data)
    monkeypatch.setattr(per_sample_engine, "MAX_SAMPLES", 3)
    torch.testing.assert_close(engine.unit_sum(data), whole, rtol=1e-4, atol=1e-6)
