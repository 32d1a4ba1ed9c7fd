"""Every field of a pipeline or a contract that is wrong is refused by its name, before any data."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from policies.errors import DocumentError
from policies.wire.base import Document
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from tests.described import graph_json, volume_graph_json
from tests.samples import contract_json, pipeline_json, privacy_json
from tests.tables import tables_contract, tables_pipeline

CONTRACT = "sha256:" + "0" * 64
CONFIG = 4
"""Parts of the pointer of a stage's field: `/pipeline/1/config/steps`."""
WRONG: tuple[Any, ...] = ({"surprise": 1}, [[]], "\u0000", -1e300, [None])
PICTURES: dict[str, Any] = {
    "scheduler": {"name": "WarmupCosine", "params": {"warmupSteps": 3, "minFactor": 0.1}},
    "averaging": {"kind": "EMA", "decay": 0.99},
    "augmentation": {"flip": "both", "maxShift": 2, "intensity": 0.1},
    "privateMetrics": {"metrics": ["dice_score"], "epsilon": 1.0},
    "precision": "fp32",
    "engine": "per-sample",
    "threshold": 0.4,
    "samplesPerUnit": 2,
    "loss": {
        "expression": "w * a + b",
        "components": {
            "a": {"class": "DiceLoss", "params": {"smooth": 1.0, "squaredPred": True}},
            "b": {"class": "FocalLoss", "params": {"alpha": 0.3, "gamma": 2.0}},
        },
        "variables": {"w": 0.5},
    },
    "model": {
        "kind": "unet2d",
        "inChannels": 1,
        "outChannels": 1,
        "levels": 2,
        "channels": 8,
        "groups": 2,
        "norm": "group",
        "blocks": "residual",
        "supervision": "deep",
    },
}
DIGITS: dict[str, Any] = {
    "model": {
        "kind": "cnn",
        "shape": [1, 28, 28],
        "convolutions": [{"channels": 8, "kernel": 3, "stride": 1, "padding": 0, "pool": 2}],
        "hidden": [16],
        "classes": 10,
        "activation": "tanh",
        "groups": 2,
    },
    "dataset": {"kind": "arrays", "shape": [1, 28, 28], "classes": 10},
    "loss": {"class": "CrossEntropyLoss", "params": {"labelSmoothing": 0.1}},
    "optimizer": {"name": "SGD", "params": {"lr": 0.1, "momentum": 0.9}},
    "scheduler": {"name": "CyclicLR", "params": {"baseLr": 0.1, "maxLr": 0.2, "stepSizeUp": 5}},
    "averaging": {"kind": "Polyak", "lastFraction": 0.5},
    "metrics": ["accuracy"],
    "taskType": "classification",
}
VOLUMES: dict[str, Any] = {
    "model": volume_graph_json(),
    "dataset": {
        "kind": "volumes",
        "patch": [4, 8, 8],
        "channels": 2,
        "classes": 1,
        "aroundMask": 0.5,
    },
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "pictures": pipeline_json(CONTRACT, **PICTURES),
    "graph": pipeline_json(CONTRACT, model=graph_json()),
    "volumes": pipeline_json(CONTRACT, **VOLUMES),
    "digits": pipeline_json(CONTRACT, **DIGITS),
    "tables": tables_pipeline(CONTRACT),
}


def lending() -> dict[str, Any]:
    """Return a contract that lends metrics, and says all that can be said of trust."""
    document = contract_json()
    grant = {"metrics": ["dice_score"], "epsilon": 0.5}
    document["constraints"] |= {
        "metricsOnPrivateData": "noised",
        "privacy": [
            {**privacy_json(name), "privateMetrics": grant, "minNoiseMultiplier": 0.5}
            for name in ("mri-a", "mri-b")
        ],
    }
    return document


DOCUMENTS |= {"contract": lending(), "contract about tables": tables_contract()}


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where every field of a document is."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, (dict, list)):
            yield from places(item, (*at, key))
        else:
            yield (*at, key)


def parsed(document: dict[str, Any]) -> Document:
    kind = Pipeline if "pipeline" in document else Contract
    return kind.parse(json.dumps(document).encode())


def problems(document: dict[str, Any], *, kind: type[Document]) -> list[str]:
    with pytest.raises(DocumentError) as refused:
        kind.parse(json.dumps(document).encode())
    return [problem.pointer for problem in refused.value.problems]


def holder(document: dict[str, Any], at: tuple[str | int, ...]) -> Any:
    found: Any = document
    for key in at:
        found = found[key]
    return found


def names(pointers: list[str], at: tuple[str | int, ...]) -> bool:
    """Tell whether a refusal is at the field, in it, or at the field of the stage that it is in."""
    # A stage of an unknown name is unknown as a whole.
    stage = len(at) == 3 and at[-1] == "name"
    parts = (at[:2] if stage else at[:CONFIG], at)
    least, whole = ("".join(f"/{key}" for key in part) for part in parts)
    return any(
        (pointer.startswith(least) and whole.startswith(pointer)) or pointer.startswith(whole)
        for pointer in pointers
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_are_right_before_they_are_made_wrong(name: str) -> None:
    assert parsed(DOCUMENTS[name])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_field_of_another_kind_is_refused_by_its_name(name: str) -> None:
    kind = type(parsed(DOCUMENTS[name]))
    for at in places(DOCUMENTS[name]):
        for wrong in WRONG:
            bent = copy.deepcopy(DOCUMENTS[name])
            holder(bent, at[:-1])[at[-1]] = wrong
            assert names(problems(bent, kind=kind), at), (at, wrong)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_field_that_nobody_knows_is_refused_by_its_name(name: str) -> None:
    kind = type(parsed(DOCUMENTS[name]))
    for at in ((), *places(DOCUMENTS[name])):
        if isinstance(holder(DOCUMENTS[name], at), dict):
            bent = copy.deepcopy(DOCUMENTS[name])
            holder(bent, at)["surprise"] = {"command": "id"}
            assert names(problems(bent, kind=kind), (*at, "surprise")), at
