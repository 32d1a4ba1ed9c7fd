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
from tests.samples import ROOT, dataset_json, did

VECTORS = Path(__file__).parent / "vectors" / "depa"
START = datetime(2026, 5, 1, tzinfo=UTC)
EXPIRY = datetime(2026, 12, 1, tzinfo=UTC)
HOSPITALS = ("Hospital-A", "Hospital-B", "Hospital-C", "Hospital-D")


def document(scenario: str, name: str) -> dict[str, Any]:
    """Return a fresh copy of one of DEPA's documents: `contract` or `pipeline_config`."""
    value: dict[str, Any] = json.loads((VECTORS / scenario / f"{name}.json").read_bytes())
    return value


def given(scenario: str, **changes: Any) -> Given:
    """Return what the contract of a scenario leaves open."""
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
