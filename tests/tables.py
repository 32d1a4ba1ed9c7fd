"""A contract over two tables and a pipeline that joins them, for tests to bend."""

from __future__ import annotations

import copy
from typing import Any

from tests.samples import contract_json, did, train_json

VISITS: dict[str, Any] = {
    "unitKey": "person",
    "columns": [
        {"name": "person", "type": "text"},
        {"name": "day", "type": "whole"},
        {"name": "age", "type": "number"},
        {"name": "sex", "type": "text"},
        {"name": "postcode", "type": "text"},
        {"name": "positive", "type": "flag"},
    ],
}
DOSES: dict[str, Any] = {
    "unitKey": "citizen",
    "columns": [
        {"name": "citizen", "type": "text"},
        {"name": "day", "type": "whole"},
        {"name": "doses", "type": "whole"},
    ],
}


def tables_contract() -> dict[str, Any]:
    """Return a fresh contract in which a laboratory and a registry lend a table each."""
    document = contract_json()
    for item, schema in zip(document["datasets"], (VISITS, DOSES), strict=True):
        item |= {"format": "table", "table": copy.deepcopy(schema)}
    for use, terms in zip(
        document["constraints"]["dataUse"],
        (
            {
                "columns": ["age", "sex", "positive"],
                "joinKeys": ["person", "day"],
                "identifiers": ["postcode"],
                "maxRowsPerUnit": 4,
            },
            {"columns": ["doses"], "joinKeys": ["citizen", "day"], "maxRowsPerUnit": 8},
        ),
        strict=True,
    ):
        use.update(terms)
    document["constraints"]["models"] = ["onnx"]
    document["tdps"][0] = {"id": did("Hospital-A"), "name": "Laboratory"}
    return document


def join_json(**changes: Any) -> dict[str, Any]:
    """Return the join of both tables, with some fields replaced."""
    config: dict[str, Any] = {
        "tables": [
            {
                "dataset": "mri-a",
                "columns": ["age", "sex", "positive"],
                "where": [
                    {"column": "age", "op": "ge", "value": 18},
                    {"column": "sex", "op": "present"},
                ],
            },
            {
                "dataset": "mri-b",
                "columns": ["doses"],
                "on": [
                    {"own": "citizen", "first": "person"},
                    {"own": "day", "first": "day"},
                ],
            },
        ],
        "maxRowsPerUnit": 4,
    }
    return {**config, **changes}


def dataset_json(**changes: Any) -> dict[str, Any]:
    """Return what training takes of the join, with some fields replaced."""
    dataset: dict[str, Any] = {
        "kind": "table",
        "features": [
            {"kind": "number", "table": "mri-a", "column": "age", "low": 0.0, "high": 100.0},
            {"kind": "category", "table": "mri-a", "column": "sex", "levels": ["f", "m"]},
            {"kind": "category", "table": "mri-b", "column": "doses", "levels": [0, 1, 2]},
        ],
        "target": {"table": "mri-a", "column": "positive", "levels": [False, True]},
    }
    return {**dataset, **changes}


def table_train_json(**changes: Any) -> dict[str, Any]:
    """Return a training stage on the join, with some fields replaced."""
    stage = train_json(
        model={"kind": "onnx"},
        dataset=dataset_json(),
        loss={"class": "CrossEntropyLoss", "params": {}},
        metrics=["accuracy"],
        taskType="classification",
        output="onnx",
    )
    return {**stage, **changes}


def tables_pipeline(contract: str, **changes: Any) -> dict[str, Any]:
    """Return a pipeline over both tables, with some fields of its training stage replaced."""
    return {
        "version": "1.0",
        "contract": contract,
        "name": "predict",
        "pipeline": [
            {"name": "TableJoin", "config": join_json()},
            {"name": "Train_DL", "config": table_train_json(**changes)},
        ],
    }
