from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policies.accounting import plan_training
from policies.shapes import graph_parameters, output_shape
from policies.wire.pipeline import TrainDlConfig
from tests.described import ByHand, graph, graph_json, layer
from tests.training import Blobs, train_config
from trainer import predict
from trainer.loop import train
from trainer.models.described import DescribedNetwork
from trainer.models.errors import ModelRefused
from trainer.models.factory import BaseModel, build_model, read_base_model, write_model
from trainer.models.weights import write_weights
from trainer.privacy.errors import EngineRefused
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
    (layer("ELU", alpha=0.5)),
    *(layer(name) for name in ("ReLU", "GELU", "Sigmoid", "Tanh", "Flatten", "Identity")),
    (layer("LeakyReLU")),
]


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one["class"])
def test_every_layer_has_the_shape_and_the_weights_that_are_foretold(one: dict[str, Any]) -> None:
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
    assert tuple(network(torch.randn(2, 4, 8, 8)).shape[1:]) == output_shape(described, (4, 8, 8))
    assert sum(value.numel() for value in network.parameters()) == graph_parameters(described)


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
