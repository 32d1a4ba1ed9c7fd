"""From a pipeline's model description and a base model to a network, and back to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor, nn

from policies.wire.graph import GraphModel
from policies.wire.models import Cnn, Mlp, Model, OnnxModel, UNet2d, UNet3d
from policies.wire.pipeline import TrainDlConfig
from trainer.models.cnn import build_cnn
from trainer.models.described import DescribedNetwork
from trainer.models.errors import ModelRefused
from trainer.models.graph import MAX_BYTES
from trainer.models.mlp import build_mlp
from trainer.models.onnx_model import open_onnx, write_onnx
from trainer.models.unet import UNet
from trainer.models.weights import (
    MAX_WEIGHTS_BYTES,
    load_weights,
    read_weights,
    write_weights,
)

WEIGHTS_FILE: Final = "model.safetensors"
ONNX_FILE: Final = "model.onnx"
_LIMITS: Final = {WEIGHTS_FILE: MAX_WEIGHTS_BYTES, ONNX_FILE: MAX_BYTES}


@dataclass(frozen=True)
class BaseModel:
    """A model file as it was read, not yet believed."""

    name: str
    """`model.safetensors` or `model.onnx`."""
    unverified_data: bytes


def read_base_model(folder: Path) -> BaseModel:
    """Read the one model file of a folder.

    Raises:
        ModelRefused: if the folder holds anything else or the file is too large.
    """
    found = sorted(path.name for path in folder.iterdir())
    if len(found) != 1 or found[0] not in _LIMITS:
        raise ModelRefused(f"base model: expected one of {', '.join(_LIMITS)}, got {found[:5]}")
    path = folder / found[0]
    size = path.stat().st_size
    if size > _LIMITS[path.name]:
        raise ModelRefused(f"{path.name}: {size} bytes, at most {_LIMITS[path.name]} are allowed")
    return BaseModel(path.name, path.read_bytes())


def build_model(config: Model, *, base: BaseModel | None) -> nn.Module:
    """Return the network that a pipeline describes, with the base weights in it.

    Without base weights a network starts from torch's own random initialisation.

    Raises:
        ModelRefused: if the base model is not one of this description.
    """
    match config:
        case UNet2d() | UNet3d():
            return _with_base(UNet(config), base)
        case Cnn():
            return _with_base(build_cnn(config), base)
        case Mlp():
            return _with_base(build_mlp(config), base)
        case GraphModel():
            return _with_base(DescribedNetwork(config), base)
        case OnnxModel():
            if base is None:
                raise ModelRefused("an onnx model needs a base model: it holds the graph")
            return open_onnx(_data(base, ONNX_FILE))


def write_model(
    weights: Mapping[str, Tensor], *, config: TrainDlConfig, base: BaseModel | None, folder: Path
) -> Path:
    """Write the trained model into a folder and return its path.

    Raises:
        ModelRefused: if the weights do not fit the base model.
    """
    if config.output == "onnx":
        if base is None:
            raise ModelRefused("an onnx model needs a base model: it holds the graph")
        path, data = folder / ONNX_FILE, write_onnx(_data(base, ONNX_FILE), weights)
    else:
        path, data = folder / WEIGHTS_FILE, write_weights(weights)
    path.write_bytes(data)
    return path


def _with_base(network: nn.Module, base: BaseModel | None) -> nn.Module:
    if base is not None:
        load_weights(network, read_weights(_data(base, WEIGHTS_FILE)))
    return network


def _data(base: BaseModel, name: str) -> bytes:
    if base.name != name:
        raise ModelRefused(f"base model: expected {name}, got {base.name}")
    return base.unverified_data
