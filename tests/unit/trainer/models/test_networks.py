"""Networks by numbers: their size, their outputs, and that an engine bounds each sample of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from policies.parameters import parameters_of
from policies.wire.models import Model
from tests.training import train_config
from trainer.losses import build_loss, build_stage_loss
from trainer.models.factory import build_model
from trainer.privacy.engine import SampleLoss, UnitBatch
from trainer.privacy.per_sample_engine import PerSampleEngine

UNET: dict[str, Any] = {"inChannels": 1, "outChannels": 2, "levels": 3, "channels": 4, "groups": 2}
DEPA_CNN: dict[str, Any] = {
    "kind": "cnn",
    "shape": [1, 28, 28],
    "convolutions": [{"channels": 32, "pool": 2}, {"channels": 64, "pool": 2}],
    "hidden": [128],
    "classes": 10,
}
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "unet2d": ({"kind": "unet2d", **UNET}, (1, 12, 8)),
    "unet2d, instance": (
        {"kind": "unet2d", **UNET, "groups": 4, "norm": "instance"},
        (1, 12, 8),
    ),
    "unet2d, residual": ({"kind": "unet2d", **UNET, "blocks": "residual"}, (1, 12, 8)),
    "unet2d, deep": ({"kind": "unet2d", **UNET, "supervision": "deep"}, (1, 12, 8)),
    "unet3d": ({"kind": "unet3d", **UNET}, (1, 8, 8, 12)),
    "unet3d, all": (
        {
            "kind": "unet3d",
            **UNET,
            "groups": 4,
            "norm": "instance",
            "blocks": "residual",
            "supervision": "deep",
        },
        (1, 4, 8, 12),
    ),
    "cnn": (DEPA_CNN, (1, 28, 28)),
    "cnn, tanh and groups": (
        {
            "kind": "cnn",
            "shape": [2, 12, 9],
            "convolutions": [
                {"channels": 8, "kernel": 5, "padding": 2, "stride": 2},
                {"channels": 4, "pool": 2},
            ],
            "classes": 3,
            "activation": "tanh",
            "groups": 2,
        },
        (2, 12, 9),
    ),
    "mlp": ({"kind": "mlp", "inputs": 20, "hidden": [16, 8], "classes": 3}, (4, 5)),
}


def described(value: dict[str, Any]) -> Model:
    model: Model = TypeAdapter(Model).validate_json(json.dumps(value))
    return model


def built(value: dict[str, Any]) -> nn.Module:
    torch.manual_seed(3)
    return build_model(described(value), base=None)


def trained(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    del targets
    return outputs.flatten(1).square().mean(1) + outputs.flatten(1).mean(1).sin()


def norms(model: nn.Module, inputs: Tensor, *, of: SampleLoss = loss) -> Tensor:
    """Return the norm of each sample's gradient by `torch.func`."""
    state = {name: p.detach() for name, p in model.named_parameters()}

    def one(state: dict[str, Tensor], sample: Tensor) -> Tensor:
        return of(functional_call(model, state, sample[None]), sample[None])[0]

    found = vmap(grad(one), in_dims=(None, 0))(state, inputs)
    return torch.cat([rows.flatten(1) for rows in found.values()], dim=1).norm(dim=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_engine_finds_each_samples_norm_as_the_oracle_does(name: str) -> None:
    value, shape = NETWORKS[name]
    model = built(value).train()
    inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(7))
    expected = norms(model, inputs)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=1e9)
    for sample in range(3):
        alone = UnitBatch(inputs[sample : sample + 1], torch.zeros(1), torch.zeros(1).long(), 1)
        for _ in range(2):
            got = engine.unit_sum(alone).norm()
            assert float((got - expected[sample]).abs() / expected[sample]) < 1e-4


@pytest.mark.parametrize("channels", [8, 24])
def test_a_sample_of_a_large_network_does_not_count_for_more_either(channels: int) -> None:
    value = {"kind": "unet3d", **UNET, "channels": channels, "supervision": "deep"}
    model = built(value)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.01)
    data = UnitBatch(torch.randn(1, 1, 8, 8, 8), torch.zeros(1), torch.zeros(1).long(), 1)
    for _ in range(2):
        norm = float(engine.unit_sum(data).double().norm())
        assert 0.01 * (1 - 1e-6) <= norm <= 0.01 * (1 + 1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_sample_of_a_network_counts_for_more_than_the_bound(name: str) -> None:
    value, shape = NETWORKS[name]
    model = built(value)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.01)
    data = UnitBatch(torch.randn(1, *shape), torch.zeros(1), torch.zeros(1).long(), 1)
    assert float(engine.unit_sum(data).double().norm()) <= 0.01 * (1 + 1e-6)


def test_the_cnn_of_depas_mnist_has_its_weights() -> None:
    assert parameters_of(described(DEPA_CNN)) == 225_034
    assert built(DEPA_CNN)(torch.randn(2, 1, 28, 28)).shape == (2, 10)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["unet2d", "unet3d"]),
    inside=st.integers(1, 4),
    outside=st.integers(1, 3),
    levels=st.integers(2, 4),
    channels=st.sampled_from([4, 8, 12]),
    norm=st.sampled_from(["group", "instance"]),
    blocks=st.sampled_from(["plain", "residual"]),
    supervision=st.sampled_from(["finest", "deep"]),
)
def test_the_number_of_a_unet_is_that_of_the_network(
    kind: str, inside: int, outside: int, **options: Any
) -> None:
    value = {"kind": kind, "inChannels": inside, "outChannels": outside, **options}
    assert parameters_of(described(value)) == trained(built(value))


@settings(max_examples=40, deadline=None)
@given(
    channels=st.integers(1, 3),
    sides=st.tuples(st.integers(24, 40), st.integers(24, 40)),
    convolutions=st.lists(
        st.fixed_dictionaries(
            {
                "channels": st.sampled_from([4, 8]),
                "kernel": st.integers(1, 3),
                "stride": st.integers(1, 2),
                "padding": st.integers(1, 2),
            },
            optional={"pool": st.just(2)},
        ),
        min_size=1,
        max_size=2,
    ),
    hidden=st.lists(st.integers(1, 20), max_size=2),
    groups=st.sampled_from([None, 2]),
)
def test_the_number_of_a_cnn_is_that_of_the_network(
    channels: int,
    sides: tuple[int, int],
    convolutions: list[dict[str, int]],
    hidden: list[int],
    groups: int | None,
) -> None:
    value: dict[str, Any] = {
        "kind": "cnn",
        "shape": [channels, *sides],
        "convolutions": convolutions,
        "hidden": hidden,
        "classes": 3,
    }
    model = built(value | ({"groups": groups} if groups else {}))
    config = described(value | ({"groups": groups} if groups else {}))
    assert parameters_of(config) == trained(model)
    assert model(torch.randn(2, channels, *sides)).shape == (2, 3)


@settings(max_examples=20, deadline=None)
@given(inputs=st.integers(1, 50), hidden=st.lists(st.integers(1, 20), max_size=3))
def test_the_number_of_an_mlp_is_that_of_the_network(inputs: int, hidden: list[int]) -> None:
    value = {"kind": "mlp", "inputs": inputs, "hidden": hidden, "classes": 4}
    assert parameters_of(described(value)) == trained(built(value))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("unet")])
def test_a_unet_returns_logits_of_the_samples_size_when_it_is_used(name: str) -> None:
    value, shape = NETWORKS[name]
    outputs = built(value).eval()(torch.randn(2, *shape))
    assert outputs.shape == (2, 2, *shape[1:])


def deep() -> tuple[nn.Module, SampleLoss, SampleLoss]:
    value = {**NETWORKS["unet2d, deep"][0], "outChannels": 1, "levels": 2}
    config = train_config(model=value, loss={"class": "DiceLoss"}, baseWeights=None)
    model = build_model(config.model, base=None)
    return model, build_stage_loss(config), build_loss(config.loss)


def test_deep_supervision_is_the_mean_of_the_levels_losses_for_each_sample() -> None:
    model, every, one = deep()
    inputs = torch.randn(3, 1, 8, 8)
    targets = (inputs > 0).float()
    outputs = model.train()(inputs)
    assert outputs.shape == (3, 2, 8, 8)
    expected = (one(outputs[:, :1], targets) + one(outputs[:, 1:], targets)) / 2
    torch.testing.assert_close(every(outputs, targets), expected)
    torch.testing.assert_close(model.eval()(inputs), outputs[:, :1])


def test_the_coarser_level_of_deep_supervision_knows_nothing_finer_than_its_resolution() -> None:
    model, _, _ = deep()
    coarse = model.train()(torch.randn(1, 1, 8, 8))[0, 1]
    blocks = coarse.reshape(4, 2, 4, 2)
    assert torch.equal(blocks, blocks[:, :1, :, :1].expand_as(blocks))


def test_a_stage_with_one_output_has_its_loss_as_it_is() -> None:
    config = train_config(loss={"class": "DiceLoss"})
    outputs, targets = torch.randn(3, 1, 8, 8), torch.ones(3, 1, 8, 8)
    expected = build_loss(config.loss)(outputs, targets)
    torch.testing.assert_close(build_stage_loss(config)(outputs, targets), expected)
