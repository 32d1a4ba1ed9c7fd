from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from policies.errors import DocumentError
from policies.population import most_units
from policies.wire.constraints import DataUse
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline, consolidate
from policies.wire.stages import NOT_OFFERED
from policies.wire.tables import TableDataset, TableJoinConfig, unread
from tests.tables import join_json, table_train_json, tables_contract, tables_pipeline
from tests.unit.policies.good import change

ID = "sha256:" + "0" * 64
JOIN = "/pipeline/0/config"
TRAIN = "/pipeline/1/config"


def contract_refusal(*changes: tuple[str, Any], remove: str | None = None) -> str:
    document = tables_contract()
    for pointer, value in changes:
        change(document, pointer, value)
    if remove is not None:
        change(document, remove, remove=True)
    with pytest.raises(DocumentError) as caught:
        Contract.parse(json.dumps(document).encode())
    return str(caught.value)


def pipeline_refusal(pointer: str, value: Any = None, *, remove: bool = False) -> str:
    document = tables_pipeline(ID)
    change(document, pointer, value, remove=remove)
    with pytest.raises(DocumentError) as caught:
        Pipeline.from_json(document)
    return str(caught.value)


def test_contract_and_pipeline_survive_their_canonical_form() -> None:
    contract = Contract.parse(json.dumps(tables_contract()).encode())
    assert Contract.parse(contract.canonical()) == contract
    pipeline = Pipeline.from_json(tables_pipeline(contract.digest()))
    assert Pipeline.parse(pipeline.canonical()) == pipeline
    assert pipeline.datasets == ("mri-a", "mri-b")
    assert isinstance(pipeline.join, TableJoinConfig)


def test_a_join_has_at_most_the_units_of_its_smallest_table() -> None:
    document = tables_contract()
    document["datasets"][1]["units"] = 150
    contract = Contract.from_json(document)
    assert most_units(Pipeline.from_json(tables_pipeline(ID)), contract) == 150


USE = "/constraints/dataUse"


@pytest.mark.parametrize(
    ("pointer", "value", "said"),
    [
        ("/datasets/0/format", "arrays", "table is given exactly where format is table"),
        ("/datasets/0/table/unitKey", "age", "unitKey 'age' is no column of type text or whole"),
        ("/datasets/0/table/unitKey", "who", "unitKey 'who' is no column"),
        ("/datasets/0/table/columns/1/name", "AGE", "column age is named twice"),
        ("/datasets/0/table/columns/1/name", "a b", "/datasets/0/table/columns/1/name"),
        ("/datasets/0/table/columns/1/type", "blob", "/datasets/0/table/columns/1/type"),
        (f"{USE}/0/columns/0", "income", f"{USE}/0/columns/0: income is no column"),
        (f"{USE}/0/columns/0", "person", f"{USE}/0/columns/0: person says whose row it is"),
        (f"{USE}/0/columns/0", "postcode", f"{USE}/0/columns/0: postcode says whose row it is"),
        (f"{USE}/0/joinKeys/0", "income", f"{USE}/0/joinKeys/0: income is no column"),
        (f"{USE}/0/identifiers/0", "income", f"{USE}/0/identifiers/0: income is no column"),
        (f"{USE}/0/maxRowsPerUnit", 0, f"{USE}/0/maxRowsPerUnit"),
        (f"{USE}/0/maxRowsPerUnit", 65, f"{USE}/0/maxRowsPerUnit"),
    ],
)
def test_terms_that_do_not_fit_the_table_are_refused(pointer: str, value: Any, said: str) -> None:
    assert said in contract_refusal((pointer, value))


def test_terms_of_a_table_are_complete_or_absent() -> None:
    assert "given together" in contract_refusal(remove=f"{USE}/0/maxRowsPerUnit")
    assert "joinKeys and identifiers are given with columns" in contract_refusal(
        (f"{USE}/1", {"dataset": "mri-b", "join": True, "joinKeys": ["citizen"]})
    )
    absent = {"dataset": "mri-b", "join": True}
    assert "grant the columns of a table" in contract_refusal((f"{USE}/1", absent))
    document = tables_contract()
    document["datasets"][1] |= {"format": "arrays"}
    del document["datasets"][1]["table"]
    with pytest.raises(DocumentError, match="no columns: it is no table"):
        Contract.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("pointer", "value", "said"),
    [
        (f"{JOIN}/tables", [], "/tables"),
        (f"{JOIN}/tables/1/dataset", "mri-a", "data set mri-a is named twice"),
        (f"{JOIN}/tables/1/on", [], "table mri-b is joined on nothing"),
        (f"{JOIN}/tables/0/on", [{"own": "day", "first": "day"}], "has nothing before it"),
        (f"{JOIN}/tables/0/columns", ["age", "age"], "column age is named twice"),
        (f"{JOIN}/tables/0/columns/0", "age; drop table x", "/tables/0/columns/0"),
        (f"{JOIN}/tables/0/columns/0", 'age"', "/tables/0/columns/0"),
        (f"{JOIN}/tables/0/columns/0", "count(*)", "/tables/0/columns/0"),
        (f"{JOIN}/tables/0/where/0/op", "like", "/tables/0/where/0"),
        (f"{JOIN}/tables/0/where/0/value", {"select": 1}, "/tables/0/where/0/value"),
        (f"{JOIN}/tables/0/where/0/value", "x" * 65, "/tables/0/where/0/value"),
        (f"{JOIN}/tables/0/where/0/value", 2**53, "/tables/0/where/0/value"),
        (f"{JOIN}/query", "select * from mri-a", "/query: unknown field"),
        (f"{JOIN}/tables/0/file", "/etc/passwd", "/tables/0/file: unknown field"),
        (f"{JOIN}/orderBy", "age", "/orderBy: unknown field"),
        (f"{JOIN}/limit", 1, "/limit: unknown field"),
        (f"{JOIN}/maxRowsPerUnit", 65, "/maxRowsPerUnit"),
        (f"{JOIN}/maxRowsPerUnit", True, "/maxRowsPerUnit"),
        (f"{TRAIN}/dataset/features/0/column", "day", "the join does not hand on mri-a.day"),
        (f"{TRAIN}/dataset/features/0/low", 100.0, "low is not below high"),
        (f"{TRAIN}/dataset/features/0/missing", 101.0, "missing is not between low and high"),
        (f"{TRAIN}/dataset/features/1/levels", ["f", 1], "levels are of several types"),
        (f"{TRAIN}/dataset/features/1/levels", ["f", "f"], "a level is named twice"),
        (f"{TRAIN}/dataset/target/column", "age", "column mri-a.age is named twice"),
        (f"{TRAIN}/dataset/target/levels", [True], "/dataset/target/levels"),
        (f"{TRAIN}/dataset/scaler", "standard", "/dataset/scaler: unknown field"),
        (f"{TRAIN}/augmentation", {"flip": "both"}, "rows of a table have none"),
        (f"{TRAIN}/input", "mri-a", "not both"),
    ],
)
def test_a_query_is_what_its_fields_say_and_nothing_more(
    pointer: str, value: Any, said: str
) -> None:
    assert said in pipeline_refusal(pointer, value)


def test_a_join_without_a_bound_on_the_rows_of_a_unit_is_refused() -> None:
    assert "maxRowsPerUnit: is missing" in pipeline_refusal(f"{JOIN}/maxRowsPerUnit", remove=True)


def test_tables_and_pictures_do_not_mix() -> None:
    document = tables_pipeline(ID)
    document["pipeline"][1]["config"]["dataset"] = {"kind": "arrays", "shape": [6], "classes": 2}
    with pytest.raises(DocumentError, match="come together"):
        Pipeline.from_json(document)
    document = tables_pipeline(ID)
    document["pipeline"][0] = {"name": "DirectoryJoin", "config": {"datasets": ["mri-a", "mri-b"]}}
    with pytest.raises(DocumentError, match="come together"):
        Pipeline.from_json(document)


def test_a_network_for_pictures_does_not_take_a_table() -> None:
    document = tables_pipeline(ID, output="safetensors", model={"kind": "unet2d", "inChannels": 1,
                                                                "outChannels": 1})  # fmt: skip
    with pytest.raises(DocumentError, match="unet2d does not fit dataset table"):
        Pipeline.from_json(document)


def test_the_join_part_of_tables_becomes_a_table_join() -> None:
    stage = table_train_json()
    parts = {
        "model": {key: stage.pop(key) for key in ("model", "baseWeights", "output")},
        "dataset": {"dataset": stage.pop("dataset")},
        "loss": {"loss": stage.pop("loss")},
        "eval": {key: stage.pop(key) for key in ("metrics", "taskType")},
        "join": join_json(),
        "train": stage,
    }
    data = {name: json.dumps(value).encode() for name, value in parts.items()}
    pipeline = consolidate(data, contract=ID, name="predict")
    assert pipeline == Pipeline.from_json(tables_pipeline(ID))


@pytest.mark.parametrize("name", NOT_OFFERED)
def test_a_stage_that_people_ask_for_is_refused_with_what_to_use(name: str) -> None:
    said = pipeline_refusal("/pipeline/0/name", name)
    expected = "expected one of DirectoryJoin, TableJoin, Train_DL"
    assert f"/pipeline/0/name: {expected}, got {name}" in said
    assert NOT_OFFERED[name] in said


def test_a_name_of_a_stage_is_not_repeated_at_length() -> None:
    assert len(pipeline_refusal("/pipeline/0/name", "x" * 10_000)) < 400


def test_the_examples_of_the_how_to_are_documents() -> None:
    page = Path(__file__).parents[4] / "docs" / "how-to" / "train-on-tables.md"
    terms, join, dataset = re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL)
    use = DataUse.model_validate_json(terms, by_alias=True)
    joined = TableJoinConfig.model_validate_json(join, by_alias=True)
    read = TableDataset.model_validate(json.loads(dataset)["dataset"], strict=False)
    assert use.columns == joined.tables[0].columns
    assert list(unread(joined, read)) == []
    assert read.shape == (6,)
