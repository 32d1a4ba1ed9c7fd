"""Whatever numbers describe a network, its gradients are bounded sample by sample, exactly."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from torch import Tensor

from policies.shapes import graph_parameters, output_shape
from policies.wire.graph import GraphModel
from tests.described import graph, layer, step
from tests.unit.trainer.models.test_networks import built, loss, norms
from trainer.models.described import DescribedNetwork
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

CHANNELS, SIDES = 4, (8, 6, 4)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[GraphModel, tuple[int, ...]]:
    """Return a graph of random layers for pictures or for volumes, and the shape of a sample."""
    sides = draw(st.sampled_from([2, 3]))
    shape: tuple[int, ...] = (CHANNELS, *SIDES[:sides])
    entries: dict[str, Any] = {}
    steps: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 5))):
        one = draw(layers(sides))
        name = f"l{number}"
        steps.append(step([name], ["x" if not number else f"y{number - 1}"], f"y{number}"))
        entries[name] = one
        described = graph(
            {
                "kind": "graph",
                "layers": entries,
                "inputs": ["x"],
                "forward": steps,
                "output": f"y{number}",
            }
        )
        try:
            after = output_shape(described, shape)
        except ValueError:
            reject()
        # Nothing is left to normalise of a single number.
        assume(prod(after[1:]) > 1 and prod(after) < 4000)
    assume(graph_parameters(described))
    return described, shape


@st.composite
def layers(draw: st.DrawFn, sides: int) -> dict[str, Any]:
    channels = {"inChannels": CHANNELS, "outChannels": CHANNELS}
    kernel = draw(st.integers(1, 3))
    stride, groups = draw(st.integers(1, 2)), draw(st.sampled_from([1, 2]))
    weights = {**channels, "kernelSize": kernel, "stride": stride, "groups": groups}
    windows = {"kernelSize": kernel, "stride": stride, "padding": draw(st.integers(0, kernel // 2))}
    linear = "bilinear" if sides == 2 else "trilinear"
    found: dict[str, Any] = draw(
        st.sampled_from(
            [
                layer(f"Conv{sides}d", **weights, padding=1, bias=draw(st.booleans())),
                layer(f"ConvTranspose{sides}d", **weights, outputPadding=stride - 1),
                layer("GroupNorm", numGroups=2, numChannels=CHANNELS),
                layer(f"InstanceNorm{sides}d", numFeatures=CHANNELS, affine=True),
                layer(f"MaxPool{sides}d", **windows),
                layer(f"AvgPool{sides}d", **windows),
                layer(f"AdaptiveAvgPool{sides}d", outputSize=3),
                layer("Upsample", scaleFactor=2, mode=draw(st.sampled_from(["nearest", linear]))),
                layer(draw(st.sampled_from(["ELU", "GELU", "Tanh", "LeakyReLU", "Identity"]))),
            ]
        )
    )
    return found


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


def drawn(*shape: int, seed: int) -> Tensor:
    """Return numbers of float64: in float32 the oracle itself can be off by a hundredth."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def alone(inputs: Tensor) -> UnitBatch:
    return UnitBatch(inputs, torch.zeros(1), torch.zeros(1).long(), 1)


@SETTINGS
@given(value=st.one_of(UNETS, CNNS, MLPS), seed=st.integers(0, 2**31))
def test_each_samples_norm_is_that_of_the_oracle(value: dict[str, Any], seed: int) -> None:
    model = built(value).train().double()
    inputs = drawn(2, *sample_of(value), seed=seed)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=1e9)
    found = torch.stack([engine.unit_sum(alone(inputs[at : at + 1])).norm() for at in range(2)])
    engine.close()
    torch.testing.assert_close(found.double(), norms(model, inputs), rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(made=graphs(), seed=st.integers(0, 2**31))
def test_a_random_graph_has_the_shapes_the_weights_and_the_norms_that_are_foretold(
    made: tuple[GraphModel, tuple[int, ...]], seed: int
) -> None:
    described, shape = made
    torch.manual_seed(seed)
    model = DescribedNetwork(described).train().double()
    inputs = drawn(2, *shape, seed=seed)
    assert tuple(model(inputs).shape[1:]) == output_shape(described, shape)
    assert sum(one.numel() for one in model.parameters()) == graph_parameters(described)
    expected = norms(model, inputs)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=1e9)
    found = torch.stack([engine.unit_sum(alone(inputs[at : at + 1])).norm() for at in range(2)])
    engine.close()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


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
