"""DEPA's own documents, and what has to be said to import them, for tests to bend."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from policies.bundle import load_bundle
from policies.depa.contract import Given, Imported, import_contract
from policies.depa.pipeline import ImportedPipeline, PipelineGiven, import_pipeline
from policies.wire.constraints import Budget
from policies.wire.contract import Attestation, Contract, Dataset, Party, SealedFile
from policies.wire.tables import TableDataset, TableTerms
from tests.samples import ROOT, dataset_json, did

VECTORS = Path(__file__).parent / "vectors" / "depa"
START = datetime(2026, 5, 1, tzinfo=UTC)
EXPIRY = datetime(2026, 12, 1, tzinfo=UTC)
HOSPITALS = ("Hospital-A", "Hospital-B", "Hospital-C", "Hospital-D")


def document(scenario: str, name: str) -> dict[str, Any]:
    """Return a fresh copy of one of DEPA's documents: `contract` or `pipeline_config`.

    The scenario `tables` is ours, in DEPA's form.
    """
    if scenario == "tables":
        return tables_contract() if name == "contract" else tables_pipeline()
    value: dict[str, Any] = json.loads((VECTORS / scenario / f"{name}.json").read_bytes())
    return value


def given(scenario: str, **changes: Any) -> Given:
    """Return what the contract of a scenario leaves open."""
    if scenario == "tables":
        return replace(given("brats"), **{**_tables_given(), **changes})
    brats = scenario == "brats"
    owners = [f"brats_{letter}" for letter in "ABCD"] if brats else ["mnist"]
    bundle = load_bundle()
    said = Given(
        contract_id="0f7e6a52-0000-4000-8000-00000000000d",
        title=f"{scenario}, from DEPA",
        now=START,
        expiry_time=EXPIRY,
        tdc=Party(id=did("Developer"), name="Developer"),
        ccrp=Party(id=did("Cloud"), name="Cloud"),
        providers={did(name): name for name in HOSPITALS},
        datasets=[
            _dataset(owner, provider, images=brats)
            for owner, provider in zip(owners, HOSPITALS, strict=False)
        ],
        base_models=[_base_model()],
        output_key=ROOT,
        output_url="file:///blobs/output",
        unit="patient" if brats else "record",
        adjacency="add-remove",
        max_grad_norm=1.0,
        max_steps=1000,
        runs=2,
        models=["graph" if brats else "onnx"],
        max_parameters=5_000_000,
        attestation=Attestation.model_validate(
            {
                "authorities": ("https://sharedneu.neu.attest.azure.net",),
                "hostData": ("b" * 64,),
                "compliance": ("azure-compliant-uvm",),
                "minimumGuestSvn": 100,
                "maxTokenAgeSeconds": 600,
            }
        ),
        policy={"id": "depa", "version": bundle.version, "digest": bundle.digest},
        open_data=frozenset() if brats else frozenset({"mnist"}),
        unlimited=None if brats else Budget(epsilon=3.0, delta=1e-5),
    )
    return replace(said, **changes)


def imported(scenario: str, source: dict[str, Any] | None = None, **changes: Any) -> Imported:
    value = source or document(scenario, "contract")
    return import_contract(json.dumps(value).encode(), given(scenario, **changes))


def imported_pipeline(
    scenario: str,
    source: dict[str, Any] | None = None,
    *,
    contract: Contract | None = None,
    **changes: Any,
) -> ImportedPipeline:
    brats = scenario == "brats"
    said = PipelineGiven(
        contract=contract or imported(scenario).contract,
        name=f"{scenario}, from DEPA",
        shape=(1, 64, 64) if brats else (1, 28, 28),
        classes=1 if brats else 10,
        table=TABLE if scenario == "tables" else None,
    )
    value = source or document(scenario, "pipeline_config")
    return import_pipeline(json.dumps(value).encode(), replace(said, **changes))


def _dataset(owner: str, provider: str, *, images: bool) -> Dataset:
    value = dataset_json(owner, provider=did(provider), units=90 if images else 6_000)
    value["format"] = "slices" if images else "arrays"
    return Dataset.model_validate_json(json.dumps(value))


def _base_model() -> SealedFile:
    value = dataset_json("base", provider=did("Developer"))
    del value["units"], value["format"]
    return SealedFile.model_validate_json(json.dumps(value))


TABLE_TERMS = {
    "tests": TableTerms(
        columns=("result", "strain", "age"),
        join_keys=("person",),
        identifiers=("name",),
        max_rows_per_unit=1,
    ),
    "doses": TableTerms(columns=("vaccine",), join_keys=("person",), max_rows_per_unit=1),
}
_TABLES = {
    "tests": {"person": "text", "name": "text", "age": "whole", "strain": "text", "result": "flag"},
    "doses": {"person": "text", "vaccine": "text"},
}
TABLE = TableDataset.model_validate_json(
    json.dumps(
        {
            "kind": "table",
            "features": [
                {"kind": "number", "table": "tests", "column": "age", "low": 0, "high": 100},
                {"kind": "category", "table": "tests", "column": "strain", "levels": ["a", "b"]},
                {"kind": "category", "table": "doses", "column": "vaccine", "levels": ["x", "y"]},
            ],
            "target": {"table": "tests", "column": "result", "levels": [False, True]},
        }
    )
)


def tables_contract() -> dict[str, Any]:
    """Return a contract in DEPA's form about two tables."""
    source = document("brats", "contract")
    source["datasets"] = source["datasets"][:2]
    for item, name in zip(source["datasets"], _TABLES, strict=True):
        item |= {"owner": name, "name": name}
    (limits,) = source["constraints"]
    limits["privacy"] = [item | {"epochs_per_report": "2"} for item in limits["privacy"][:2]]
    return source


def _tables_given() -> dict[str, Any]:
    datasets = []
    for (name, columns), provider in zip(_TABLES.items(), HOSPITALS, strict=False):
        value = dataset_json(name, provider=did(provider), units=90)
        value["format"] = "table"
        typed = [{"name": column, "type": kind} for column, kind in columns.items()]
        value["table"] = {"unitKey": "person", "columns": typed}
        datasets.append(Dataset.model_validate_json(json.dumps(value)))
    return {"datasets": datasets, "models": ["onnx"], "tables": TABLE_TERMS}


def tables_pipeline() -> dict[str, Any]:
    """Return a configuration in DEPA's form that joins two tables and trains on them."""
    train = document("mnist", "pipeline_config")["pipeline"][0]["config"]
    train |= {
        "is_private": True,
        "privacy_params": {"max_grad_norm": "0.1", "epsilon": "1.0", "delta": "0.01"},
        "scheduler": None,
        "loss_config": {"class": "nn.CrossEntropyLoss", "params": {"reduction": "mean"}},
        "dataset_config": {
            "type": "tabular",
            "target_variable": "result",
            "preprocessing": {"scaler": "standard"},
            "missing_strategy": "fill",
            "fill_value": 0,
            "splits": {"train": 0.7, "val": 0.2, "test": 0.1, "stratify": True},
        },
    }
    train["paths"]["input_dataset_path"] = "/tmp/joined.csv"  # noqa: S108 - DEPA's, never opened
    join = {
        "datasets": [
            {
                "id": f"table-{name}",
                "name": name,
                "file": f"{name}_anon.csv",
                "select_variables": [one for one in columns if one not in ("person", "name")],
                "mount_path": f"/mnt/remote/{name}/",
            }
            for name, columns in _TABLES.items()
        ],
        "joined_dataset": {
            "joined_dataset": "/tmp/joined.csv",  # noqa: S108 - as above
            "joining_query": "select * from tests, doses where tests.person == doses.person",
            "joining_key": "person",
            "drop_columns": ["name"],
            "identifiers": ["person", "name"],
            "joined_result_columns": ["result", "strain", "age", "vaccine"],
        },
    }
    return {
        "pipeline": [
            {"name": "SparkJoin", "config": join},
            {"name": "Train_DL", "config": train},
        ]
    }
