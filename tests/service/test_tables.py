"""Tables at the service: a join of granted columns is approved, anything more is denied."""

from __future__ import annotations

from typing import Any

import pytest

from clients.api.errors import RefusedError
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from tests.service.crash import record_of
from tests.service.world import World, contract
from tests.tables import tables_contract, tables_pipeline
from tests.unit.policies.good import change


def executed(world: World) -> Contract:
    """Return a contract over two tables that all parties have signed."""
    lent, real = tables_contract(), contract().to_json()
    for table, item in zip(lent["datasets"], real["datasets"], strict=True):
        item |= {"format": "table", "table": table["table"], "units": 150}
    constraints = real["constraints"] | {
        "dataUse": lent["constraints"]["dataUse"],
        "models": ["onnx"],
    }
    identity = "0f7e6a52-0000-4000-8000-00000000aaaa"
    return world.executed(id=identity, datasets=real["datasets"], constraints=constraints)


def pipeline(agreed: Contract, *changes: tuple[str, Any]) -> Pipeline:
    document = tables_pipeline(agreed.digest(), steps=40, batchSize=44)
    for pointer, value in changes:
        change(document, pointer, value)
    return Pipeline.from_json(document)


def test_a_join_of_granted_columns_is_approved_and_charged_by_the_smallest_table(
    world: World,
) -> None:
    agreed = executed(world)
    status = world.client().submit(pipeline(agreed))
    assert status.state == "approved"
    [approval] = record_of(world, agreed.digest()).approvals
    assert [charge.dataset for charge in approval.document.charges] == ["mri-a", "mri-b"]
    for charge in approval.document.charges:
        assert f"{44 / 150}"[:10] in str(charge.event)
    assert world.room(status.run).release().keys


@pytest.mark.parametrize(
    ("pointer", "value", "code"),
    [
        ("/pipeline/0/config/tables/0/columns/-", "postcode", "IDENTIFIER_KEPT"),
        ("/pipeline/0/config/tables/0/columns/-", "day", "COLUMN_NOT_GRANTED"),
        (
            "/pipeline/0/config/tables/1/on",
            [{"own": "day", "first": "day"}],
            "JOIN_NOT_BY_UNIT",
        ),
        ("/pipeline/0/config/maxRowsPerUnit", 5, "ROWS_PER_UNIT_EXCEEDED"),
    ],
)
def test_more_than_is_granted_of_a_table_is_denied(
    world: World, pointer: str, value: Any, code: str
) -> None:
    agreed = executed(world)
    with pytest.raises(RefusedError) as error:
        world.client().submit(pipeline(agreed, (pointer, value)))
    assert code in {reason["code"] for reason in error.value.problem.reasons}
    assert record_of(world, agreed.digest()).approvals == ()
