from pathlib import Path

import pytest
import torch

from policies.wire.models import UNet2d
from tests.graphs import network
from tests.training import train_config
from trainer.models.errors import ModelRefused
from trainer.models.factory import BaseModel, build_model, read_base_model, write_model
from trainer.models.onnx_model import OnnxNetwork
from trainer.models.unet import UNet
from trainer.models.weights import read_weights, write_weights

ONNX = {
    "model": {"kind": "onnx"},
    "output": "onnx",
    "dataset": {"kind": "arrays", "shape": [1, 12, 12], "classes": 3},
    "taskType": "classification",
    "metrics": ["accuracy"],
    "loss": {"class": "CrossEntropyLoss"},
}


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_a_unet_returns_logits_of_the_images_size(levels: int) -> None:
    config = UNet2d(kind="unet2d", in_channels=2, out_channels=3, levels=levels)
    assert UNet(config)(torch.randn(2, 2, 16, 24)).shape == (2, 3, 16, 24)


def test_a_unets_sample_does_not_see_the_others() -> None:
    model = build_model(train_config().model, base=None)
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-5)


def test_base_weights_are_loaded(tmp_path: Path) -> None:
    config = train_config()
    model = build_model(config.model, base=None)
    write_model(model.state_dict(), config=config, base=None, folder=tmp_path)
    again = build_model(config.model, base=read_base_model(tmp_path))
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    config = train_config()
    other = UNet(UNet2d(kind="unet2d", in_channels=1, out_channels=1, levels=3))
    write_model(other.state_dict(), config=config, base=None, folder=tmp_path)
    with pytest.raises(ModelRefused, match="weights: "):
        build_model(config.model, base=read_base_model(tmp_path))


def test_weights_of_another_shape_are_refused() -> None:
    config = train_config()
    state = build_model(config.model, base=None).state_dict()
    state["head.weight"] = torch.zeros(1, 4, 3, 3)
    base = BaseModel("model.safetensors", write_weights(state))
    with pytest.raises(ModelRefused, match=r"head.weight is \[1, 4, 3, 3\]"):
        build_model(config.model, base=base)


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ModelRefused, match="a holds a number that is not finite"):
        read_weights(write_weights({"a": torch.tensor([float("nan")])}))


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"\xff" * 64, b"\x08" + b"\x00" * 7 + b"{}"])
def test_a_file_that_is_no_safetensors_is_refused(data: bytes) -> None:
    with pytest.raises(ModelRefused):
        build_model(train_config().model, base=BaseModel("model.safetensors", data))


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "weights.pkl", "custom.py"])
def test_a_base_model_of_another_format_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelRefused, match=f"expected one of .*got .*{name}"):
        read_base_model(tmp_path)


def test_a_base_model_with_company_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / "more").write_bytes(b"x")
    with pytest.raises(ModelRefused, match="base model"):
        read_base_model(tmp_path)


def test_an_onnx_base_becomes_a_network_and_a_trained_file(tmp_path: Path) -> None:
    config = train_config(**ONNX)
    base = BaseModel("model.onnx", network().data())
    model = build_model(config.model, base=base)
    assert isinstance(model, OnnxNetwork)
    path = write_model(model.state_dict(), config=config, base=base, folder=tmp_path)
    assert path.name == "model.onnx"
    assert isinstance(build_model(config.model, base=read_base_model(tmp_path)), OnnxNetwork)


def test_a_base_model_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ModelRefused, match=r"expected model\.safetensors, got model\.onnx"):
        build_model(train_config().model, base=BaseModel("model.onnx", b""))
    with pytest.raises(ModelRefused, match="needs a base model"):
        build_model(train_config(**ONNX).model, base=None)
