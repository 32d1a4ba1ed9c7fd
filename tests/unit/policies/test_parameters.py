from __future__ import annotations

import itertools
import json

import pytest

from policies.errors import DocumentError
from policies.parameters import most_parameters
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline, UNet2d
from tests.samples import contract_json
from trainer.models.unet2d import UNet2d as Network

CONTRACT = Contract.parse(json.dumps(contract_json()).encode())
SHAPES = list(itertools.product((1, 4), (1, 3), (2, 3, 4), (4, 8, 16)))


def pipeline(model: dict[str, object], base_weights: str | None) -> Pipeline:
    segments = model["kind"] == "unet2d"
    config = {
        "input": "mri-a",
        "model": model,
        "dataset": {"kind": "slices", "size": [64, 64], "channels": 1, "classes": 1}
        if segments
        else {"kind": "arrays", "shape": [1, 28, 28], "classes": 10},
        "loss": {"class": "BCEWithLogitsLoss" if segments else "CrossEntropyLoss", "params": {}},
        "optimizer": {"name": "Adam", "params": {"lr": 0.003}},
        "steps": 10,
        "batchSize": 8,
        "isPrivate": True,
        "privacyParams": {
            "epsilon": 1.0,
            "delta": 0.0001,
            "maxGradNorm": 1.0,
            "unit": "patient",
            "adjacency": "add-remove",
        },
        "metrics": ["dice_score" if segments else "accuracy"],
        "taskType": "segmentation" if segments else "classification",
        "output": "safetensors" if segments else "onnx",
    }
    if base_weights:
        config["baseWeights"] = base_weights
    return Pipeline.from_json(
        {
            "version": "1.0",
            "contract": CONTRACT.digest(),
            "name": "count",
            "pipeline": [{"name": "Train_DL", "config": config}],
        }
    )


@pytest.mark.parametrize(("inside", "outside", "levels", "channels"), SHAPES)
def test_the_number_of_a_unet_is_that_of_the_network(
    inside: int, outside: int, levels: int, channels: int
) -> None:
    model = UNet2d(
        kind="unet2d",
        in_channels=inside,
        out_channels=outside,
        levels=levels,
        channels=channels,
        groups=4,
    )
    described = pipeline({"kind": "unet2d", "inChannels": 1, "outChannels": 1}, None)
    config = described.train.model_copy(update={"model": model})
    stage = described.pipeline[0].model_copy(update={"config": config})
    changed = described.model_copy(update={"pipeline": (stage,)})
    trained = sum(weight.numel() for weight in Network(model).parameters())
    assert most_parameters(changed, CONTRACT) == trained


def test_a_sealed_graph_is_bounded_by_its_file() -> None:
    assert most_parameters(pipeline({"kind": "onnx"}, "base"), CONTRACT) == 1_000_000 // 4


def test_weights_that_the_contract_does_not_name_are_refused() -> None:
    with pytest.raises(DocumentError, match="/pipeline/0/config/baseWeights"):
        most_parameters(pipeline({"kind": "onnx"}, "other"), CONTRACT)
