"""Sealed tables and released keys become people to train on, if the policy and the contract fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policies.agreement import Agreement
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from tests.tables import tables_contract, tables_pipeline
from tests.unit.trainer.data.test_rows import DOSES, VISITS, lend
from tests.unit.trainer.test_tables import network
from trainer.data.errors import DataError
from trainer.inputs import Inputs, read_inputs
from trainer.models.factory import ONNX_FILE
from trainer.sealed import OctKek, seal
from trainer.work import open_files


def opened(root: Path, **changes: Any) -> Inputs:
    """Seal both tables and the network, agree on a pipeline with some changes, and open them."""
    items, folders = lend(root / "plain", VISITS, DOSES)
    (root / "net").mkdir()
    (root / "net" / ONNX_FILE).write_bytes(network().unverified_data)
    document = tables_contract()
    files = {item["id"]: item for item in (*document["datasets"], *document["baseModels"])}
    keks = {name: OctKek(f"{name}-key", bytes(range(32))) for name in files}
    for name, item in files.items():
        blob = seal(
            folders.get(name, root / "net"),
            root / f"{name}.sealed",
            dataset=name,
            version="1",
            kek=keks[name],
        )
        item |= {"url": f"file://{blob.path}", "digest": blob.digest, "size": blob.size}
    for item, lent in zip(document["datasets"], items, strict=True):
        item["units"] = lent.units
        item.update(changes)
    contract = Contract.from_json(document)
    pipeline = Pipeline.from_json(tables_pipeline(contract.digest(), batchSize=3))
    (root / "scratch").mkdir(mode=0o700)
    agreement = Agreement(
        contract=contract,
        contract_digest=contract.digest(),
        pipeline=pipeline,
        pipeline_digest=pipeline.digest(),
        approval=None,  # type: ignore[arg-type]  # opening files asks for none
        run="run-" + "a" * 26,
        service="did:web:service.example",
    )
    files = open_files(agreement, keks=keks, scratch=root / "scratch")
    assert len(files.digests) == 3
    assert files.held == {}
    return read_inputs(contract, pipeline, scratch=root / "scratch", held=files.held)


def test_sealed_tables_are_joined_and_fit_the_network(tmp_path: Path) -> None:
    inputs = opened(tmp_path)
    assert len(inputs.units) == 3
    assert inputs.units.sample_shape == (6,)


def test_a_sealed_table_with_another_number_of_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not the table that the contract describes"):
        opened(tmp_path, units=200)
