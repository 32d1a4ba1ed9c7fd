"""A reason of the policy leads to the line of the file that somebody wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clients.cli.tasks.places import Places, line_of
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from tests.samples import contract_json, pipeline_json

TEXT = """{
  "a": [
    1,
    {"b": "x\\n}", "c/d": {
      "e~f": true
    }}
  ],
  "g": null
}
"""


@pytest.mark.parametrize(
    ("pointer", "line"),
    [
        ("", 1),
        ("/a", 2),
        ("/a/0", 3),
        ("/a/1", 4),
        ("/a/1/b", 4),
        ("/a/1/c~1d/e~0f", 5),
        ("/g", 8),
        ("/g/deeper", 8),
        ("/a/7", 2),
        ("/a/x", 2),
        ("/nowhere", 1),
    ],
)
def test_a_pointer_leads_to_its_line_or_to_the_nearest(pointer: str, line: int) -> None:
    assert line_of(TEXT, pointer) == line


@pytest.mark.parametrize("text", ["", "{", "[1", '{"a"', "nonsense"])
def test_what_is_no_json_has_a_first_line(text: str) -> None:
    assert line_of(text, "/a/0/b") == 1


@pytest.fixture
def contract() -> Contract:
    return Contract.from_json(contract_json())


@pytest.fixture
def pipeline(contract: Contract) -> Pipeline:
    return Pipeline.from_json(pipeline_json(contract.digest()))


def test_reasons_of_a_contract_lead_into_its_file(contract: Contract, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps(contract_json(), indent=2))
    places = Places.of(str(file), contract, config=None, pipeline=None)
    found = places.find("/expiryTime")
    assert found is not None
    line = int(found.rpartition(":")[2])
    assert '"expiryTime"' in file.read_text().splitlines()[line - 1]


def test_reasons_of_a_pipeline_lead_into_one_of_the_two_files(
    contract: Contract, pipeline: Pipeline, tmp_path: Path
) -> None:
    file, config = tmp_path / "c.json", tmp_path / "p.json"
    file.write_text(json.dumps(contract_json(), indent=2))
    config.write_text(json.dumps(pipeline.to_json(), indent=2))
    places = Places.of(str(file), contract, config=config, pipeline=pipeline)
    assert str(places.find("/pipeline/1/config/steps")).startswith(f"{config}:")
    assert str(places.find("/contract")).startswith(f"{config}:")
    assert str(places.find("/contract/expiryTime")).startswith(f"{file}:")


def test_reasons_lead_into_the_part_that_has_the_field(
    contract: Contract, pipeline: Pipeline, tmp_path: Path
) -> None:
    (tmp_path / "join_config.json").write_text('{\n"datasets": []}')
    (tmp_path / "train_config.json").write_text('{\n\n"steps": 5}')
    (tmp_path / "model_config.json").write_text("not json")
    places = Places.of(contract.digest(), contract, config=tmp_path, pipeline=pipeline)
    assert places.find("/pipeline/0/config/datasets") == f"{tmp_path}/join_config.json:2"
    assert places.find("/pipeline/1/config/steps/x") == f"{tmp_path}/train_config.json:3"
    for pointer in ("/pipeline/1/config/loss", "/pipeline", "/pipeline/9/config/steps", ""):
        assert places.find(pointer) is None


def test_a_contract_of_the_service_has_no_file(contract: Contract) -> None:
    places = Places.of(contract.digest(), contract, config=None, pipeline=None)
    assert places.find("/expiryTime") is None


def test_a_file_that_is_gone_has_no_lines(contract: Contract, tmp_path: Path) -> None:
    places = Places.of(str(tmp_path / "gone.json"), contract, config=None, pipeline=None)
    assert places.find("/expiryTime") is None
