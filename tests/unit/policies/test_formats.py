from __future__ import annotations

from typing import Any

import pytest

from policies.errors import DocumentError
from policies.formats import check_formats
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from tests.described import volume_graph_json
from tests.samples import contract_json, pipeline_json
from tests.tables import tables_contract, tables_pipeline

VOLUMES: dict[str, Any] = {
    "model": volume_graph_json(),
    "dataset": {"kind": "volumes", "patch": [4, 8, 8], "channels": 2, "classes": 1},
}


def lent_as(*formats: str) -> Contract:
    document = contract_json()
    for item, wanted in zip(document["datasets"], formats, strict=True):
        item["format"] = wanted
    return Contract.from_json(document)


def asked(contract: Contract, **changes: Any) -> Pipeline:
    return Pipeline.from_json(pipeline_json(contract.digest(), **changes))


def test_data_sets_are_read_as_what_they_are() -> None:
    slices, volumes = lent_as("slices", "slices"), lent_as("volumes", "volumes")
    check_formats(asked(slices), slices)
    check_formats(asked(volumes, **VOLUMES), volumes)
    tables = Contract.from_json(tables_contract())
    check_formats(Pipeline.from_json(tables_pipeline(tables.digest())), tables)


@pytest.mark.parametrize(
    ("formats", "says"),
    [
        (("volumes", "slices"), r"is slices, which mri-a \(volumes\) of the contract is not"),
        (("arrays", "volumes"), r"which mri-a \(arrays\), mri-b \(volumes\) of the contract"),
    ],
)
def test_data_sets_of_another_kind_are_named(formats: tuple[str, str], says: str) -> None:
    contract = lent_as(*formats)
    with pytest.raises(DocumentError, match=says) as refused:
        check_formats(asked(contract), contract)
    assert [one.pointer for one in refused.value.problems] == ["/pipeline/1/config/dataset/kind"]


def test_volumes_are_not_read_as_slices_are() -> None:
    contract = lent_as("slices", "slices")
    with pytest.raises(DocumentError, match="is volumes, which mri-a"):
        check_formats(asked(contract, **VOLUMES), contract)


def test_a_data_set_that_nobody_lends_is_left_to_the_policy() -> None:
    contract = lent_as("slices", "slices")
    pipeline = asked(contract)
    document = pipeline.to_json()
    document["pipeline"][0]["config"]["datasets"] = ["mri-a", "other"]
    check_formats(Pipeline.from_json(document), contract)
