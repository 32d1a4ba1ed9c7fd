"""Whatever numbers describe a network, its gradients are bounded sample by sample, exactly."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.trainer.models.test_networks import built, loss, norms
from trainer.privacy.clipping import Clipping
from trainer.privacy.engine import UnitBatch
from trainer.privacy.per_sample_engine import PerSampleEngine

SETTINGS = settings(max_examples=20, deadline=None)
UNETS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["unet2d", "unet3d"]),
        "inChannels": st.integers(1, 2),
        "outChannels": st.integers(1, 2),
        "levels": st.integers(2, 3),
        "channels": st.sampled_from([4, 8]),
    },
    optional={
        "norm": st.sampled_from(["group", "instance"]),
        "blocks": st.sampled_from(["plain", "residual"]),
        "supervision": st.sampled_from(["finest", "deep"]),
    },
)
CNNS = st.fixed_dictionaries(
    {
        "kind": st.just("cnn"),
        "shape": st.tuples(st.integers(1, 2), st.integers(20, 24), st.integers(20, 24)).map(list),
        "convolutions": st.lists(
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
        "hidden": st.lists(st.integers(1, 20), max_size=2),
        "classes": st.integers(2, 5),
        "activation": st.sampled_from(["relu", "tanh"]),
    },
    optional={"groups": st.just(2)},
)
MLPS = st.fixed_dictionaries(
    {
        "kind": st.just("mlp"),
        "inputs": st.integers(1, 40),
        "hidden": st.lists(st.integers(1, 20), max_size=3),
        "classes": st.integers(2, 5),
        "activation": st.sampled_from(["relu", "tanh"]),
    }
)


def sample_of(value: dict[str, Any]) -> tuple[int, ...]:
    match value["kind"]:
        case "unet2d":
            return (value["inChannels"], 8, 16)
        case "unet3d":
            return (value["inChannels"], 8, 8, 8)
        case "cnn":
            return tuple(value["shape"])
        case _:
            return (value["inputs"],)


def alone(inputs: torch.Tensor) -> UnitBatch:
    return UnitBatch(inputs, torch.zeros(1), torch.zeros(1).long(), 1)


@SETTINGS
@given(value=st.one_of(UNETS, CNNS, MLPS), seed=st.integers(0, 2**31))
def test_each_samples_norm_is_that_of_the_oracle(value: dict[str, Any], seed: int) -> None:
    model = built(value).train()
    inputs = torch.randn(2, *sample_of(value), generator=torch.Generator().manual_seed(seed))
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=1e9)
    found = torch.stack([engine.unit_sum(alone(inputs[at : at + 1])).norm() for at in range(2)])
    engine.close()
    expected = norms(model, inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@SETTINGS
@given(
    value=st.one_of(UNETS, CNNS, MLPS),
    clipping=st.sampled_from(list(Clipping)),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_no_sample_counts_for_more_than_the_bound(
    value: dict[str, Any], clipping: Clipping, scale: float
) -> None:
    model = built(value)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=0.1, clipping=clipping)
    inputs = scale * torch.randn(1, *sample_of(value), generator=torch.Generator().manual_seed(1))
    # In float64: the norm of many numbers in float32 is itself off by more than that.
    assert float(engine.unit_sum(alone(inputs)).double().norm()) <= 0.1 * (1 + 1e-6)
