"""ONNX graphs that find masks: of pictures and of volumes, up and down, exactly as onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper
from torch import nn

from policies.accounting import plan_training
from policies.wire.datasets import ArraysDataset, SlicesDataset, VolumesDataset
from tests.graphs import Maker, volume_network
from tests.training import Volumes, train_config
from tests.unit.trainer.models.test_networks import loss, norms
from tests.unit.trainer.models.test_onnx_model import run
from trainer import predict
from trainer.loop import train
from trainer.models.errors import ModelRefused
from trainer.models.factory import ONNX_FILE, BaseModel, build_model, write_model
from trainer.models.onnx_model import OnnxNetwork, open_onnx, write_onnx
from trainer.privacy.engine import UnitBatch
from trainer.privacy.per_sample_engine import PerSampleEngine
from trainer.privacy.streams import Streams

VOLUME, PICTURE = (4, 8, 12), (8, 12)


def samples(sides: tuple[int, ...], count: int = 3) -> torch.Tensor:
    return torch.randn(count, 2, *sides, generator=torch.Generator().manual_seed(4))


def check_against_onnxruntime(maker: Maker) -> None:
    assert maker.sample is not None
    data, given = maker.data(), samples(maker.sample[1:])
    got = open_onnx(data).eval()(given).detach().numpy()
    np.testing.assert_allclose(got, run(data, given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sides", [VOLUME, PICTURE])
def test_the_network_computes_what_onnxruntime_computes(sides: tuple[int, ...]) -> None:
    check_against_onnxruntime(volume_network(sides))


@pytest.mark.parametrize("sides", [VOLUME, PICTURE])
@pytest.mark.parametrize(
    "how",
    [
        {"mode": "nearest"},
        {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
        {"mode": "nearest", "coordinate_transformation_mode": "pytorch_half_pixel"},
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ],
)
def test_every_way_of_resizing_is_that_of_onnxruntime(
    how: dict[str, str], sides: tuple[int, ...]
) -> None:
    maker = volume_network(sides)
    maker.nodes[9] = helper.make_node("Resize", ["g", "", "scales"], ["w"], **how)
    check_against_onnxruntime(maker)


@pytest.mark.parametrize(
    "how",
    [
        {"strides": [1, 2, 3], "pads": [0, 1, 1, 0, 1, 1], "kernel_shape": [1, 4, 5]},
        {"strides": [1, 2, 3], "pads": [0, 1, 0, 0, 1, 0], "output_padding": [0, 1, 2]},
        {"strides": [1, 2, 3], "dilations": [2, 1, 1], "pads": [1, 1, 1, 1, 1, 1]},
    ],
)
def test_transposed_convolutions_with_sides_of_their_own_are_those_of_onnxruntime(
    how: dict[str, list[int]],
) -> None:
    kernel = how.get("kernel_shape", [2, 3, 3])
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((2, 2, *kernel)).astype(np.float32)
    maker = Maker(
        nodes=[helper.make_node("ConvTranspose", ["x", "weight"], ["y"], group=2, **how)],
        arrays={"weight": weight},
        sample=(2, 3, 4, 5),
        answer=(4, "a", "b", "c"),  # type: ignore[arg-type]  # names stand for any number
    )
    check_against_onnxruntime(maker)


def test_a_network_for_volumes_has_the_layers_that_have_rules() -> None:
    kinds = {type(layer) for layer in open_onnx(volume_network().data()).layers}
    assert {nn.Conv3d, nn.ConvTranspose3d, nn.GroupNorm, nn.MaxPool3d, nn.AvgPool3d} <= kinds


@pytest.mark.parametrize("sides", [VOLUME, PICTURE])
def test_the_engine_finds_each_samples_norm_as_the_oracle_does(sides: tuple[int, ...]) -> None:
    model, inputs = open_onnx(volume_network(sides).data()), samples(sides)
    expected = norms(model, inputs)
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=1e9)
    for sample in range(len(inputs)):
        alone = UnitBatch(inputs[sample : sample + 1], torch.zeros(1), torch.zeros(1).long(), 1)
        got = engine.unit_sum(alone).norm()
        assert float((got - expected[sample]).abs() / expected[sample]) < 1e-4
    engine.close()


def test_a_network_for_volumes_trains_privately_and_comes_back_as_onnx(tmp_path: Path) -> None:
    maker = volume_network((4, 8, 8))
    base = BaseModel(ONNX_FILE, maker.data())
    stage = train_config(
        model={"kind": "onnx"},
        dataset={"kind": "volumes", "patch": [4, 8, 8], "channels": 2, "classes": 1},
        output="onnx",
    )
    model = build_model(stage.model, base=base)
    assert isinstance(model, OnnxNetwork)
    model.check_fit(stage.dataset)
    trained = train(
        model,
        Volumes(),
        stage,
        agreed=plan_training(stage, units=12),
        streams=Streams.unsafe_seeded(3),
        on_step=lambda _: None,
    )
    written = write_model(trained.weights, config=stage, base=base, folder=tmp_path).read_bytes()
    model.load_state_dict(trained.weights)
    given = samples((4, 8, 8))
    np.testing.assert_allclose(
        run(written, given), model.eval()(given).detach().numpy(), rtol=1e-4, atol=1e-5
    )
    assert not np.allclose(run(written, given), run(maker.data(), given), atol=1e-4)
    image, mask = Volumes().unit(2)
    found = predict.volume_masks(model, image, threshold=0.5, patch=(4, 8, 8))
    assert found.shape == mask.shape


def test_scales_are_never_written_back_as_weights() -> None:
    data = volume_network().data()
    model = open_onnx(data)
    assert "scales" not in model.initialisers(model.state_dict())
    assert write_onnx(data, model.state_dict())


def with_node(place: int, operator: str, inputs: list[str], **attributes: Any) -> Any:
    def change(maker: Maker) -> None:
        output = maker.nodes[place].output[0]
        maker.nodes[place] = helper.make_node(operator, inputs, [output], **attributes)

    return change


def with_scales(*scales: float) -> Callable[[Maker], None]:
    def change(maker: Maker) -> None:
        maker.arrays["scales"] = np.array(scales, dtype=np.float32)

    return change


def by_size(maker: Maker) -> None:
    maker.arrays["sizes"] = np.array([1, 8, 4, 8, 12], dtype=np.int64)
    maker.nodes[9] = helper.make_node("Resize", ["g", "", "", "sizes"], ["w"], mode="linear")


def in_one_dimension(maker: Maker) -> None:
    maker.nodes[3] = helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2], strides=[2])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_scales(1, 2, 2, 2, 2), "expected 1 for samples and channels"),
        (with_scales(2, 1, 2, 2, 2), "expected 1 for samples and channels|shape"),
        (with_scales(1, 1, 1.5, 2, 2), "whole numbers up to 8|shape"),
        (with_scales(1, 1, 9, 9, 9), "whole numbers up to 8|shape"),
        (with_node(9, "Resize", ["g", "", "scales"], mode="cubic"), "mode b'cubic'"),
        (
            with_node(9, "Resize", ["g", "", "scales"], mode="nearest", nearest_mode="ceil"),
            "nearest_mode b'ceil'",
        ),
        (with_node(9, "Resize", ["g", "", "scales"], mode="linear", antialias=1), "antialias"),
        (
            with_node(8, "ConvTranspose", ["g", "up.weight"], output_shape=[4, 8, 12]),
            "output_shape",
        ),
        (
            with_node(
                8, "ConvTranspose", ["g", "up.weight"], strides=[2] * 3, auto_pad="SAME_UPPER"
            ),
            "auto_pad",
        ),
        (
            with_node(8, "ConvTranspose", ["g", "up.weight"], output_padding=[40] * 3),
            "output_padding",
        ),
        (with_node(1, "InstanceNormalization", ["c", "own.scale", "near.bias"]), "shared weights"),
        (by_size, "leaves out an input"),
        (in_one_dimension, "strides has incorrect size"),
    ],
)
def test_a_graph_for_volumes_is_refused_for_anything_off_the_list(
    change: Callable[[Maker], None], says: str
) -> None:
    maker = volume_network()
    change(maker)
    with pytest.raises(ModelRefused, match=says):
        open_onnx(maker.data())


def test_layers_that_would_make_a_sample_too_large_are_refused_before_they_run() -> None:
    scales = np.array([1, 1, 8, 8, 8], dtype=np.float32)
    maker = Maker(
        nodes=[
            helper.make_node("Resize", ["x", "", "scales"], ["a"], mode="linear"),
            helper.make_node("Resize", ["a", "", "scales"], ["b"], mode="linear"),
            helper.make_node("Resize", ["b", "", "scales"], ["y"], mode="linear"),
        ],
        arrays={"scales": scales},
        sample=(2, 64, 64, 64),
        answer=(2, 32768, 32768, 32768),
    )
    with pytest.raises(ModelRefused, match="becomes too large: 70368744177664 numbers"):
        open_onnx(maker.data())


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (VolumesDataset(kind="volumes", patch=(4, 8, 8), channels=2), r"takes \[2, 4, 8, 12\]"),
        (VolumesDataset(kind="volumes", patch=(4, 8, 12), channels=2, classes=3), r"gives \[1, 4"),
        (SlicesDataset(kind="slices", size=(8, 12), channels=2), r"asks for \[2, 8, 12\]"),
        (ArraysDataset(kind="arrays", shape=(8,), classes=2), r"asks for \[8\]"),
    ],
)
def test_a_graph_that_does_not_fit_the_data_is_refused_with_both_shapes(
    dataset: Any, says: str
) -> None:
    network = open_onnx(volume_network().data())
    with pytest.raises(ModelRefused, match=says):
        network.check_fit(dataset)
    network.check_fit(VolumesDataset(kind="volumes", patch=(4, 8, 12), channels=2))
