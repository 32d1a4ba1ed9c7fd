import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from policies.errors import DocumentError
from policies.wire.contract import Contract
from policies.wire.models import Cnn, Model
from policies.wire.pipeline import Pipeline
from tests.samples import contract_json
from tests.training import train_json

VECTORS = Path(__file__).parents[3] / "vectors" / "pipelines"
VOLUMES = {"kind": "volumes", "patch": [8, 16, 16], "channels": 2, "classes": 1}
UNET3D = {"kind": "unet3d", "inChannels": 2, "outChannels": 1, "levels": 2, "channels": 4}
DIGITS = {"kind": "arrays", "shape": [1, 28, 28], "classes": 10}
DEPA_CNN = {
    "kind": "cnn",
    "shape": [1, 28, 28],
    "convolutions": [{"channels": 32, "pool": 2}, {"channels": 64, "pool": 2}],
    "hidden": [128],
    "classes": 10,
}
MLP = {"kind": "mlp", "inputs": 784, "hidden": [32], "classes": 10}
CLASSES = {
    "taskType": "classification",
    "metrics": ["accuracy"],
    "loss": {"class": "CrossEntropyLoss"},
    "dataset": DIGITS,
}


def pipeline(**changes: Any) -> Pipeline:
    stage = {"name": "Train_DL", "config": train_json(**{"baseWeights": None, **changes})}
    value = {"version": "1.0", "contract": "sha256:" + "0" * 64, "name": "n", "pipeline": [stage]}
    return Pipeline.from_json(value)


def refusal(**changes: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        pipeline(**changes)
    return str(caught.value)


def cnn(**changes: Any) -> Cnn:
    model: Cnn = TypeAdapter(Model).validate_json(json.dumps({**DEPA_CNN, **changes}))
    return model


@pytest.mark.parametrize("kind", ["unet2d", "unet3d", "cnn", "mlp", "onnx", "graph"])
def test_a_contract_grants_kinds_of_networks_one_by_one(kind: str) -> None:
    value = contract_json()
    value["constraints"]["models"] = [kind]
    assert Contract.parse(json.dumps(value).encode()).constraints.models == (kind,)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": UNET3D, "dataset": VOLUMES},
        {"model": {**UNET3D, "norm": "instance", "blocks": "residual"}, "dataset": VOLUMES},
        {"model": {**UNET3D, "supervision": "deep"}, "dataset": VOLUMES},
        {**CLASSES, "model": DEPA_CNN},
        {**CLASSES, "model": MLP},
    ],
)
def test_a_network_and_its_data_survive_their_canonical_form(changes: dict[str, Any]) -> None:
    made = pipeline(**changes)
    assert Pipeline.parse(made.canonical()) == made


def test_options_of_a_unet_that_are_not_given_do_not_stand_in_the_document() -> None:
    model = pipeline().to_json()["pipeline"][0]["config"]["model"]
    assert set(model) == {"kind", "inChannels", "outChannels", "levels", "channels", "groups"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": UNET3D}, "model unet3d does not fit dataset slices"),
        ({"dataset": VOLUMES}, "model unet2d does not fit dataset volumes"),
        ({"model": DEPA_CNN, "dataset": VOLUMES}, "model cnn does not fit dataset volumes"),
        ({**CLASSES, "model": UNET3D}, "model unet3d does not fit dataset arrays"),
        ({"model": UNET3D, "dataset": {**VOLUMES, "patch": [8, 16, 15]}}, "multiple of 2"),
        ({"model": UNET3D, "dataset": {**VOLUMES, "channels": 1}}, "inChannels"),
        ({"model": UNET3D, "dataset": {**VOLUMES, "patch": [2, 16, 16]}}, "/dataset/"),
        ({"model": UNET3D, "dataset": {**VOLUMES, "patch": [512, 512, 512]}}, "numbers, at most"),
        (
            {"model": UNET3D, "dataset": VOLUMES, **{k: CLASSES[k] for k in ("taskType",)}},
            "taskType classification does not fit dataset volumes",
        ),
        (
            {
                "model": {**UNET3D, "levels": 4, "norm": "instance"},
                "dataset": {**VOLUMES, "patch": [8, 8, 8]},
            },
            "one number a channel",
        ),
        (
            {**CLASSES, "model": {**DEPA_CNN, "shape": [1, 26, 26]}},
            "shape of the model is [1, 26, 26], the dataset has [1, 28, 28]",
        ),
        ({**CLASSES, "model": {**DEPA_CNN, "classes": 9}}, "classes of the model is 9"),
        ({**CLASSES, "model": {**MLP, "inputs": 28}}, "inputs of the model is 28"),
        ({"model": {"kind": "unet2d", **UNET3D, "norm": "batch"}, "dataset": VOLUMES}, "/norm"),
    ],
)
def test_a_network_that_does_not_fit_its_data_is_refused(
    changes: dict[str, Any], says: str
) -> None:
    assert says in refusal(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"convolutions": [{"channels": 4, "kernel": 5}] * 8}, "after convolution 6"),
        ({"convolutions": [{"channels": 4, "pool": 8}] * 2}, "after convolution 1"),
        ({"groups": 3}, "multiple of groups"),
        (
            {"shape": [1, 512, 512], "convolutions": [{"channels": 64, "padding": 1}]},
            "reach the first linear layer",
        ),
        ({"convolutions": []}, "convolutions"),
        ({"norm": "batch"}, "norm"),
    ],
)
def test_a_cnn_that_cannot_be_built_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        cnn(**changes)


def test_groups_without_group_normalisation_are_refused() -> None:
    model = {**UNET3D, "norm": "instance", "groups": 2}
    assert "groups is for norm group" in refusal(model=model, dataset=VOLUMES)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("unet2d", "ccd6fbf1c7f96f83493940c972f65e7765e254c8f6e43e32d9c238833a213585"),
        ("onnx", "2150ab36cbfe3e1b070d24baf3cf79280bc52b9a0b7608a86d68422adb980eef"),
    ],
)
def test_a_pipeline_from_before_these_networks_keeps_its_digest(name: str, digest: str) -> None:
    data = (VECTORS / f"{name}.json").read_bytes()
    assert Pipeline.parse(data).canonical() == data
    assert Pipeline.parse(data).digest() == f"sha256:{digest}"
