"""A convolutional network for the MNIST scenario's digits, trained from random weights.

Two convolutions and a linear layer, 31,370 parameters. Chosen on 800 of the 4,000 training digits:
large means instead of maxima and a normalisation without weights, which need few steps; large
batches; gradients that are scaled to the bound, with a large rate; an average over the last steps.
"""

from __future__ import annotations

import json
from typing import Any, Final

from policies.wire.pipeline import TrainDlConfig

_LAYERS: Final[dict[str, Any]] = {
    "strokes": {
        "class": "Conv2d",
        "params": {"inChannels": 1, "outChannels": 16, "kernelSize": 7, "padding": 3},
    },
    "shapes": {
        "class": "Conv2d",
        "params": {"inChannels": 16, "outChannels": 32, "kernelSize": 3, "padding": 1},
    },
    "digits": {"class": "Linear", "params": {"inFeatures": 2592, "outFeatures": 10}},
}


def _even(channels: int) -> dict[str, Any]:
    params = {"numGroups": 1, "numChannels": channels, "affine": False}
    return {"class": "GroupNorm", "params": params}


def recipe(*, epsilon: float) -> TrainDlConfig:
    """Return the training stage for a budget at delta 1e-5."""
    mean = {"class": "AvgPool2d", "params": {"kernelSize": 4, "stride": 3}}
    relu = {"class": "ReLU"}
    ops = ["strokes", relu, mean, "even", "shapes", relu, "even_again", {"class": "Flatten"}]
    value = {
        "model": {
            "kind": "graph",
            "layers": {**_LAYERS, "even": _even(16), "even_again": _even(32)},
            "inputs": ["picture"],
            "forward": [{"ops": [*ops, "digits"], "inputs": ["picture"], "output": "logits"}],
            "output": "logits",
        },
        "input": "digits",
        "dataset": {"kind": "arrays", "shape": [1, 28, 28], "classes": 10},
        "loss": {"class": "CrossEntropyLoss", "params": {}},
        "optimizer": {"name": "SGD", "params": {"lr": 2.0}},
        "scheduler": {"name": "WarmupCosine", "params": {"warmupSteps": 5, "minFactor": 0.05}},
        "averaging": {"kind": "EMA", "decay": 0.9},
        "steps": 100,
        "batchSize": 1024,
        "isPrivate": True,
        "privacyParams": {
            "epsilon": epsilon,
            "delta": 1e-5,
            "maxGradNorm": 1.0,
            "unit": "record",
            "adjacency": "add-remove",
            "clipping": "automatic",
        },
        "metrics": ["accuracy"],
        "taskType": "classification",
        "output": "safetensors",
    }
    return TrainDlConfig.model_validate_json(json.dumps(value), by_alias=True, by_name=False)
