from __future__ import annotations

import itertools
import json

import pytest

from policies.errors import DocumentError
from policies.parameters import most_parameters
from policies.wire.contract import Contract
from policies.wire.models import UNet2d
from policies.wire.pipeline import Pipeline
from tests.samples import contract_json, pipeline_json
from trainer.models.unet import UNet

CONTRACT = Contract.parse(json.dumps(contract_json()).encode())
SHAPES = list(itertools.product((1, 4), (1, 3), (2, 3, 4), (4, 8, 16)))


GRAPH = {
    "model": {"kind": "onnx"},
    "dataset": {"kind": "arrays", "shape": [1, 28, 28], "classes": 10},
    "loss": {"class": "CrossEntropyLoss", "params": {}},
    "metrics": ["accuracy"],
    "taskType": "classification",
    "output": "onnx",
}


def pipeline(**changes: object) -> Pipeline:
    return Pipeline.from_json(pipeline_json(CONTRACT.digest(), **changes))


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
    described = pipeline()
    config = described.train.model_copy(update={"model": model})
    stage = described.pipeline[1].model_copy(update={"config": config})
    changed = described.model_copy(update={"pipeline": (described.pipeline[0], stage)})
    trained = sum(weight.numel() for weight in UNet(model).parameters())
    assert most_parameters(changed, CONTRACT) == trained


def test_a_sealed_graph_is_bounded_by_its_file() -> None:
    assert most_parameters(pipeline(**GRAPH), CONTRACT) == 1_000_000 // 4


def test_weights_that_the_contract_does_not_name_are_refused() -> None:
    with pytest.raises(DocumentError, match="/pipeline/1/config/baseWeights"):
        most_parameters(pipeline(**{**GRAPH, "baseWeights": "other"}), CONTRACT)
