"""Small described graphs with one of each kind of step, for tests to bend."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.wire.graph import GraphModel


def layer(kind: str, **params: Any) -> dict[str, Any]:
    return {"class": kind, "params": params}


def step(ops: list[Any], inputs: list[str], output: str) -> dict[str, Any]:
    return {"ops": ops, "inputs": inputs, "output": output}


def conv(inside: int | str, outside: int | str) -> dict[str, Any]:
    return layer("Conv2d", inChannels=inside, outChannels=outside, kernelSize=3, padding=1)


def graph_json() -> dict[str, Any]:
    """Return a U-Net of two levels: [1, 8, 8] in, logits [1, 8, 8] out."""
    leaky = layer("LeakyReLU", negativeSlope=0.1)
    block = {
        "layers": {
            "conv": conv("$in_ch", "$out_ch"),
            "norm": layer("GroupNorm", numGroups=2, numChannels="$out_ch"),
        },
        "inputs": ["x"],
        "forward": [step(["conv", "norm", leaky], ["x"], "y")],
        "output": "y",
    }
    up = {
        "layers": {"conv": conv("$in_ch", "$out_ch")},
        "inputs": ["deep", "skip"],
        "forward": [
            step([layer("Upsample", scaleFactor=2, mode="bilinear"), "conv"], ["deep"], "wide"),
            step([layer("Concat", dim=1)], ["wide", "skip"], "joined"),
        ],
        "output": "joined",
    }
    return {
        "kind": "graph",
        "submodules": {"Block": block, "Up": up},
        "layers": {
            "first": {"submodule": "Block", "params": {"in_ch": 1, "out_ch": 4}},
            "pool": layer("MaxPool2d", kernelSize=2, stride=2),
            "deep": {"submodule": "Block", "params": {"in_ch": 4, "out_ch": 8}},
            "up": {"submodule": "Up", "params": {"in_ch": 8, "out_ch": 4}},
            "last": {"submodule": "Block", "params": {"in_ch": 8, "out_ch": 4}},
            "head": layer("Conv2d", inChannels=4, outChannels=1, kernelSize=1),
        },
        "inputs": ["x"],
        "forward": [
            step(["first"], ["x"], "x1"),
            step(["pool", "deep"], ["x1"], "x2"),
            step(["up"], ["x2", "x1"], "x3"),
            step(["last", "head"], ["x3"], "x4"),
        ],
        "output": "x4",
    }


def volume_graph_json() -> dict[str, Any]:
    """Return a U-Net of two levels and two ways up: [2, 4, 8, 8] in, logits [1, 4, 8, 8] out."""
    return {
        "kind": "graph",
        "layers": {
            "near": layer("Conv3d", inChannels=2, outChannels=4, kernelSize=3, padding=1),
            "norm": layer("InstanceNorm3d", numFeatures=4, affine=True),
            "pool": layer("MaxPool3d", kernelSize=2),
            "mean": layer("AvgPool3d", kernelSize=2),
            "deep": layer(
                "Conv3d", inChannels=8, outChannels=8, kernelSize=3, padding=1, groups=2, bias=False
            ),
            "groups": layer("GroupNorm", numGroups=2, numChannels=8),
            "up": layer("ConvTranspose3d", inChannels=8, outChannels=4, kernelSize=2, stride=2),
            "wide": layer("Upsample", scaleFactor=2, mode="trilinear"),
            "last": layer("Conv3d", inChannels=16, outChannels=4, kernelSize=3, padding=1),
            "head": layer("Conv3d", inChannels=4, outChannels=1, kernelSize=1),
        },
        "inputs": ["x"],
        "forward": [
            step(["near", "norm", layer("ReLU")], ["x"], "x1"),
            step(["pool"], ["x1"], "most"),
            step(["mean"], ["x1"], "middle"),
            step([layer("Concat"), "deep", "groups", layer("ELU")], ["most", "middle"], "x2"),
            step(["up"], ["x2"], "up1"),
            step(["wide"], ["x2"], "up2"),
            step([layer("Concat"), "last", layer("GELU"), "head"], ["up1", "up2", "x1"], "y"),
        ],
        "output": "y",
    }


def graph(document: dict[str, Any] | None = None) -> GraphModel:
    text = json.dumps(document or graph_json())
    return GraphModel.model_validate_json(text, by_alias=True, by_name=False)


class ByHand(nn.Module):
    """The same network, written in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.deep, self.last = _block(1, 4), _block(4, 8), _block(8, 4)
        self.up = nn.Conv2d(8, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.first(x)
        deep = self.deep(F.max_pool2d(shallow, 2))
        wide = self.up(F.interpolate(deep, scale_factor=2.0, mode="bilinear", align_corners=False))
        logits: Tensor = self.head(self.last(torch.cat([wide, shallow], dim=1)))
        return logits

    def described_weights(self) -> dict[str, Tensor]:
        """Return this network's weights under the names that a described graph has for them."""
        names = {"0": "conv", "1": "norm"}
        found = {}
        for name, value in self.state_dict().items():
            part, *inner, weight = name.split(".")
            if part == "up":
                inner = ["0"]
            path = [part, *(names[one] for one in inner)]
            found[".".join(f"_layers.{one}" for one in path) + f".{weight}"] = value
        return found


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1), nn.GroupNorm(2, outside), nn.LeakyReLU(0.1)
    )
