"""Contracts and pipelines of the size that decisions are timed with: eleven and six kilobytes."""

from __future__ import annotations

from typing import Any, Final

from policies.facts import BudgetAfter, TrainingFacts, training_facts
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from tests.samples import dataset_json, did, pipeline_json, privacy_json
from tests.unit.policies.good import charges, contract_case, contract_document

PROVIDERS: Final = 8
LAYERS: Final = 24


def contract_of(number: int) -> Contract:
    """Return the contract of that number: eight providers lend one data set each."""
    document = contract_document()
    names = [f"mri-{place:02d}" for place in range(PROVIDERS)]
    parties = [
        did(f"University-Hospital-{place:02d}::subject:OU:Department-of-Radiology-Research-Office")
        for place in range(PROVIDERS)
    ]
    document["id"] = f"0f7e6a52-0000-4000-8000-{number:012d}"
    document["tdps"] = [
        {
            "id": party,
            "name": f"University Hospital {place}, Department of Radiology, Research Office",
        }
        for place, party in enumerate(parties)
    ]
    document["datasets"] = [
        dataset_json(name, provider=party)
        | {
            "name": f"Annotated scans of brain tumours, University Hospital {name}, 2019 to 2025, "
            "four sequences of each patient with the outlines of two readers, no names, no faces",
            "url": f"https://hospital{name}.blob.core.windows.net/research-lent/{name}.sealed",
            "key": {"vault": f"https://hospital-{name}.vault.azure.net", "name": f"{name}-kek"},
        }
        for name, party in zip(names, parties, strict=True)
    ]
    document["constraints"] |= {
        "privacy": [privacy_json(name) for name in names],
        "dataUse": [{"dataset": name, "join": True, "privateOnly": True} for name in names],
        "models": ["unet2d", "graph"],
    }
    return Contract.from_json(document)


def pipeline_of(contract: Contract) -> Pipeline:
    """Return a pipeline over all data sets of a contract, with a network of many layers."""
    names = [f"block_{number:02d}" for number in range(LAYERS)]
    params = {"inChannels": 1, "outChannels": 1, "kernelSize": 3, "padding": 1}
    values = ["picture", *(f"value_{number:02d}" for number in range(LAYERS))]
    model: dict[str, Any] = {
        "kind": "graph",
        "inputs": [values[0]],
        "layers": {name: {"class": "Conv2d", "params": params} for name in names},
        "forward": [
            {"ops": [name], "inputs": [before], "output": after}
            for name, before, after in zip(names, values, values[1:], strict=False)
        ],
        "output": values[-1],
    }
    document = pipeline_json(contract.digest(), steps=100, batchSize=80, model=model)
    document["pipeline"][0]["config"]["datasets"] = [item.id for item in contract.datasets]
    return Pipeline.from_json(document)


def facts_of(contract: Contract, pipeline: Pipeline) -> TrainingFacts:
    """Return the facts about a run of a pipeline that its contract allows."""
    return training_facts(
        contract_case(contract),
        pipeline,
        parameters=120_000,
        charges=charges(pipeline, contract),
        budgets=[
            BudgetAfter(item.id, tdc_after_micro_epsilon=8_000_000, overall_after_micro_epsilon=9)
            for item in contract.datasets
        ],
    )
