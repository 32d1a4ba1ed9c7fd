from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policies.accounting import plan_training
from policies.shapes import graph_parameters, output_shape
from policies.wire.graph import GraphModel
from policies.wire.pipeline import TrainDlConfig
from tests.described import ByHand, graph, graph_json, layer, step, volume_graph_json
from tests.training import Blobs, Volumes, train_config
from tests.unit.trainer.models.test_networks import loss, norms
from trainer import predict
from trainer.loop import train
from trainer.models.described import DescribedNetwork
from trainer.models.errors import ModelRefused
from trainer.models.factory import BaseModel, build_model, read_base_model, write_model
from trainer.models.weights import write_weights
from trainer.privacy.engine import UnitBatch
from trainer.privacy.errors import EngineRefused
from trainer.privacy.per_sample_engine import PerSampleEngine
from trainer.privacy.streams import Streams


def config(**changes: Any) -> TrainDlConfig:
    return train_config(**{"model": graph_json(), **changes})


def same_as_by_hand() -> tuple[DescribedNetwork, ByHand]:
    described, by_hand = DescribedNetwork(graph()), ByHand()
    described.load_state_dict(by_hand.described_weights())
    return described, by_hand


def test_a_graph_computes_what_the_network_written_by_hand_does() -> None:
    described, by_hand = same_as_by_hand()
    images = torch.randn(5, 1, 8, 16)
    torch.testing.assert_close(described(images), by_hand(images))


def test_a_graph_learns_what_the_network_written_by_hand_does() -> None:
    described, by_hand = same_as_by_hand()
    images = torch.randn(3, 1, 8, 8)
    for network in (described, by_hand):
        network(images).square().sum().backward()
    gradients = {name: value.grad for name, value in described.named_parameters()}
    wanted = ByHand()
    wanted.load_state_dict({name: value.grad for name, value in by_hand.named_parameters()})
    for name, value in wanted.described_weights().items():
        torch.testing.assert_close(gradients[name], value)


def alone(one: dict[str, Any]) -> GraphModel:
    return graph(
        {
            "kind": "graph",
            "layers": {"one": one},
            "inputs": ["x"],
            "forward": [step(["one"], ["x"], "y")],
            "output": "y",
        }
    )


@pytest.mark.parametrize(
    ("one", "shape", "says"),
    [
        (layer("AvgPool3d", kernelSize=3, padding=1), (4, 3, 2, 2), "without padding"),
        (layer("MaxPool3d", kernelSize=5, padding=1), (4, 2, 4, 4), "a window of 5 does not fit"),
        (layer("AvgPool2d", kernelSize=5, padding=1), (4, 2, 2), "a window of 5 does not fit"),
        (layer("GroupNorm", numGroups=4, numChannels=4), (4, 1, 1), "single number a group"),
        (layer("GroupNorm", numGroups=4, numChannels=4), (4,), "single number a group"),
        (layer("InstanceNorm2d", numFeatures=4), (4, 1, 1), "single number a channel"),
        (layer("InstanceNorm3d", numFeatures=4), (4, 1, 1, 1), "single number a channel"),
    ],
)
def test_what_pytorch_does_not_take_is_refused_before_anything_runs(
    one: dict[str, Any], shape: tuple[int, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        output_shape(alone(one), shape)
    with pytest.raises((RuntimeError, ValueError)):
        DescribedNetwork(alone(one)).train()(torch.randn(1, *shape))


@pytest.mark.parametrize(
    ("one", "shape"),
    [
        (layer("AvgPool3d", kernelSize=3, padding=1), (4, 3, 3, 3)),
        (layer("MaxPool3d", kernelSize=3, padding=1), (4, 2, 2, 2)),
        (layer("AvgPool2d", kernelSize=3, padding=1), (4, 2, 2)),
        (layer("GroupNorm", numGroups=2, numChannels=4), (4, 1, 1)),
        (layer("GroupNorm", numGroups=4, numChannels=4), (4, 1, 2)),
    ],
)
def test_what_pytorch_takes_at_the_edge_has_the_shape_foretold(
    one: dict[str, Any], shape: tuple[int, ...]
) -> None:
    found = DescribedNetwork(alone(one)).train()(torch.randn(1, *shape))
    assert tuple(found.shape[1:]) == output_shape(alone(one), shape)


def test_a_sample_of_a_graph_does_not_see_the_others() -> None:
    network, images = DescribedNetwork(graph()), torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("private", [True, False])
def test_a_graph_trains_and_its_weights_come_back(tmp_path: Path, private: bool) -> None:
    stage = config() if private else config(isPrivate=False, privacyParams=None)
    model = build_model(stage.model, base=None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = train(
        model,
        Blobs(),
        stage,
        agreed=plan_training(stage, units=12) if private else None,
        streams=Streams.unsafe_seeded(3),
        on_step=lambda _: None,
    )
    assert trained.steps == 4
    assert all(not torch.equal(trained.weights[name], before[name]) for name in before)
    path = write_model(trained.weights, config=stage, base=None, folder=tmp_path)
    assert path.name == "model.safetensors"
    again = build_model(stage.model, base=read_base_model(tmp_path))
    for name, value in trained.weights.items():
        assert torch.equal(again.state_dict()[name], value)


def test_weights_of_another_graph_are_refused() -> None:
    base = BaseModel("model.safetensors", write_weights(ByHand().state_dict()))
    with pytest.raises(ModelRefused, match="weights: missing"):
        build_model(graph(), base=base)


def test_a_graph_with_batch_statistics_is_refused_in_a_private_run() -> None:
    document = graph_json()
    document["submodules"]["Block"]["layers"]["norm"] = layer("BatchNorm2d", numFeatures="$out_ch")
    stage = config(model=document)
    with pytest.raises(EngineRefused, match=r"norm \(BatchNorm2d\) mixes the samples of a batch"):
        train(
            build_model(stage.model, base=None),
            Blobs(),
            stage,
            agreed=plan_training(stage, units=12),
            streams=Streams.unsafe_seeded(3),
            on_step=lambda _: None,
        )


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_masks_of_a_graph_that_gives_probabilities_are_cut_there(threshold: float) -> None:
    document = graph_json()
    document["forward"][3]["ops"] += [layer("Sigmoid")]
    described, by_hand = DescribedNetwork(graph(document)), ByHand()
    described.load_state_dict(by_hand.described_weights())
    images = np.random.default_rng(2).standard_normal((4, 1, 8, 8)).astype(np.float32)
    cut = predict.masks(described, images, threshold=threshold)
    assert (cut == predict.masks(by_hand, images, threshold=threshold)).mean() > 0.99


EVERY = [
    (layer("Conv2d", inChannels=4, outChannels=2, kernelSize=3, stride=2, dilation=2, groups=2)),
    (layer("Linear", inFeatures=8, outFeatures=3, bias=False)),
    (layer("GroupNorm", numGroups=2, numChannels=4, affine=False)),
    (layer("LayerNorm", normalizedShape=[8, 8])),
    (layer("InstanceNorm2d", numFeatures=4, affine=True)),
    (layer("BatchNorm2d", numFeatures=4)),
    (layer("MaxPool2d", kernelSize=3, padding=1)),
    (layer("AvgPool2d", kernelSize=2, stride=1)),
    (layer("AdaptiveAvgPool2d", outputSize=3)),
    (layer("Upsample", scaleFactor=3)),
    (layer("ConvTranspose2d", inChannels=4, outChannels=2, kernelSize=4, stride=2, padding=1)),
    (layer("ELU", alpha=0.5)),
    *(layer(name) for name in ("ReLU", "GELU", "Sigmoid", "Tanh", "Flatten", "Identity")),
    (layer("LeakyReLU")),
]


OF_VOLUMES = [
    layer(
        "Conv3d",
        inChannels=4,
        outChannels=2,
        kernelSize=3,
        stride=2,
        padding=2,
        dilation=2,
        groups=2,
    ),
    layer("ConvTranspose3d", inChannels=4, outChannels=6, kernelSize=3, stride=2, padding=1),
    layer(
        "ConvTranspose3d",
        inChannels=4,
        outChannels=6,
        kernelSize=2,
        stride=3,
        outputPadding=2,
        groups=2,
        bias=False,
    ),
    layer("Linear", inFeatures=8, outFeatures=3),
    layer("GroupNorm", numGroups=2, numChannels=4),
    layer("LayerNorm", normalizedShape=[4, 6, 7, 8]),
    layer("InstanceNorm3d", numFeatures=4, affine=True),
    layer("BatchNorm3d", numFeatures=4),
    layer("MaxPool3d", kernelSize=3, padding=1),
    layer("AvgPool3d", kernelSize=2, stride=1),
    layer("AdaptiveAvgPool3d", outputSize=3),
    layer("Upsample", scaleFactor=3),
    layer("Upsample", scaleFactor=2, mode="trilinear"),
    layer("Flatten"),
]


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one["class"])
def test_every_layer_has_the_shape_and_the_weights_that_are_foretold(one: dict[str, Any]) -> None:
    as_foretold(one, (4, 8, 8))


@pytest.mark.parametrize("one", OF_VOLUMES, ids=lambda one: one["class"])
def test_every_layer_for_volumes_has_the_shape_that_is_foretold(one: dict[str, Any]) -> None:
    as_foretold(one, (4, 6, 7, 8))


def as_foretold(one: dict[str, Any], shape: tuple[int, ...]) -> None:
    described = graph(
        {
            "kind": "graph",
            "layers": {"one": one},
            "inputs": ["x"],
            "forward": [{"ops": ["one"], "inputs": ["x"], "output": "y"}],
            "output": "y",
        }
    )
    network = DescribedNetwork(described)
    assert tuple(network(torch.randn(2, *shape)).shape[1:]) == output_shape(described, shape)
    assert sum(value.numel() for value in network.parameters()) == graph_parameters(described)


def test_the_engine_finds_each_volumes_norm_as_the_oracle_does() -> None:
    model = DescribedNetwork(graph(volume_graph_json()))
    inputs = torch.randn(3, 2, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    expected = norms(model, inputs)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=1e9)
    for sample in range(3):
        alone = UnitBatch(inputs[sample : sample + 1], torch.zeros(1), torch.zeros(1).long(), 1)
        got = engine.unit_sum(alone).norm()
        assert float((got - expected[sample]).abs() / expected[sample]) < 1e-4
    engine.close()


def test_a_graph_for_volumes_trains_on_patches_and_its_weights_come_back(tmp_path: Path) -> None:
    patches = {"kind": "volumes", "patch": [4, 8, 8], "channels": 2, "classes": 1}
    stage = config(model=volume_graph_json(), dataset=patches)
    model = build_model(stage.model, base=None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = train(
        model,
        Volumes(),
        stage,
        agreed=plan_training(stage, units=12),
        streams=Streams.unsafe_seeded(3),
        on_step=lambda _: None,
    )
    assert trained.steps == 4
    assert all(not torch.equal(trained.weights[name], before[name]) for name in before)
    write_model(trained.weights, config=stage, base=None, folder=tmp_path)
    again = build_model(stage.model, base=read_base_model(tmp_path))
    image, mask = Volumes().unit(2)
    found = predict.volume_masks(again, image, threshold=0.5, patch=(4, 8, 8))
    assert found.shape == mask.shape


def test_batch_statistics_of_volumes_are_refused_in_a_private_run() -> None:
    document = volume_graph_json()
    document["layers"]["norm"] = layer("BatchNorm3d", numFeatures=4)
    assert graph(document).coupled == ("norm (BatchNorm3d)",)
    model = DescribedNetwork(graph(document))
    with pytest.raises(EngineRefused, match=r"norm \(BatchNorm3d\) mixes the samples of a batch"):
        PerSampleEngine(model, loss=loss, max_grad_norm=1.0)


@pytest.mark.parametrize(
    ("name", "wanted"), [("Add", lambda a, b: a + b), ("Mul", lambda a, b: a * b)]
)
def test_values_are_combined(name: str, wanted: Any) -> None:
    described = graph(
        {
            "kind": "graph",
            "inputs": ["x"],
            "forward": [
                {"ops": [layer("Tanh")], "inputs": ["x"], "output": "t"},
                {"ops": [layer(name)], "inputs": ["x", "t"], "output": "y"},
            ],
            "output": "y",
        }
    )
    x = torch.randn(2, 3)
    torch.testing.assert_close(DescribedNetwork(described)(x), wanted(x, torch.tanh(x)))
