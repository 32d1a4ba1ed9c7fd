from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.wire.contract import Contract, Dataset
from policies.wire.tables import TableDataset, TableJoinConfig
from tests.tables import dataset_json, join_json, tables_contract
from trainer.data.errors import DataError
from trainer.data.rows import TableUnits, open_tables
from trainer.data.tables import write_table

Row = tuple[Any, ...]
VISIT = "person,day,age,sex,postcode,positive"
DOSE = "citizen,day,doses"
# Of each person: visits with a day and a result, and doses on those days.
VISITS: list[Row] = [
    ("p1", 1, 20.0, "f", "79098", "true"),
    ("p2", 1, 50.0, "m", "79100", "false"),
    ("p1", 2, 21.0, "f", "79098", "false"),
    ("p3", 1, 10.0, "f", "79102", "true"),  # too young
    ("p4", 1, 90.0, "", "79104", "true"),  # no sex
    ("p5", 1, 150.0, "x", "79106", "true"),  # beyond the bound, another level
    ("p6", 1, 40.0, "m", "79108", ""),  # no result
]
DOSES: list[Row] = [
    ("p1", 1, 0),
    ("p1", 2, 2),
    ("p2", 1, 1),
    ("p2", 9, 2),  # no visit that day
    ("p5", 1, 7),  # no such level
    ("p6", 1, 1),
    ("p9", 1, 1),  # never seen
]


def text(header: str, rows: list[Row]) -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def lend(root: Path, visits: list[Row], doses: list[Row]) -> tuple[list[Dataset], dict[str, Path]]:
    """Write both tables and return the contract's description of them and where they are."""
    document = tables_contract()
    folders = {}
    for item, header, rows, key in zip(
        document["datasets"],
        (VISIT, DOSE),
        (visits, doses),
        ("person", "citizen"),
        strict=True,
    ):
        folder = root / item["id"]
        folder.mkdir(parents=True)
        (folder / "table.csv").write_text(text(header, rows))
        item["units"] = len({row[0] for row in rows})
        manifest = {"version": 1, "layout": "table", "units": item["units"], "table": item["table"]}
        (folder / "dataset.json").write_text(json.dumps(manifest))
        folders[item["id"]] = folder
        assert item["table"]["unitKey"] == key
    return list(Contract.from_json(document).datasets), folders


def join_of(**changes: Any) -> TableJoinConfig:
    return TableJoinConfig.model_validate_json(json.dumps(join_json(**changes)), by_alias=True)


def dataset_of(**changes: Any) -> TableDataset:
    return TableDataset.model_validate_json(json.dumps(dataset_json(**changes)), by_alias=True)


def opened(root: Path, *, visits: list[Row] = VISITS, doses: list[Row] = DOSES,
           join: Mapping[str, Any] | None = None, **changes: Any) -> TableUnits:  # fmt: skip
    items, folders = lend(root, visits, doses)
    return open_tables(items, folders, join=join_of(**(join or {})), dataset=dataset_of(**changes))


def listed(units: TableUnits) -> list[tuple[list[list[float]], list[int]]]:
    found = []
    for index in range(len(units)):
        inputs, classes = units.unit(index)
        assert inputs.dtype == np.float32
        assert classes.dtype == np.int64
        found.append((np.round(inputs.astype(np.float64), 4).tolist(), classes.tolist()))
    return found


def test_rows_meet_by_person_and_day_and_become_vectors(tmp_path: Path) -> None:
    units = opened(tmp_path)
    assert units.sample_shape == (6,)
    assert units.patients is None
    assert listed(units) == [
        # p1 with two visits, p2 with one, p5 with bounded age and levels that nobody has
        ([[0.2, 1, 0, 1, 0, 0], [0.21, 1, 0, 0, 0, 1]], [1, 0]),
        ([[0.5, 0, 1, 0, 1, 0]], [0]),
        ([[1.0, 0, 0, 0, 0, 0]], [1]),
    ]
    for index in (-1, 3):
        with pytest.raises(IndexError):
            units.unit(index)


def test_a_parquet_file_gives_the_same_rows_as_a_csv_file(tmp_path: Path) -> None:
    wanted = listed(opened(tmp_path / "csv"))
    items, folders = lend(tmp_path / "both", VISITS, DOSES)
    for name, key in (("mri-a", "person"), ("mri-b", "citizen")):
        write_table(
            folders[name] / "table.csv",
            tmp_path / "parquet" / name,
            unit_key=key,
            text=["postcode"],
        )
    parquet = {name: tmp_path / "parquet" / name for name in folders}
    # Whole ages were written with a point, so that both files have the same types.
    units = open_tables(items, parquet, join=join_of(), dataset=dataset_of())
    assert listed(units) == wanted


@pytest.mark.parametrize(
    ("condition", "people"),
    [
        ({"column": "age", "op": "ge", "value": 50}, 2),
        ({"column": "age", "op": "gt", "value": 50.0}, 1),
        ({"column": "age", "op": "lt", "value": 21}, 1),
        ({"column": "age", "op": "eq", "value": 50}, 1),
        ({"column": "sex", "op": "ne", "value": "f"}, 2),
        ({"column": "sex", "op": "in", "values": ["m", "x"]}, 2),
        ({"column": "sex", "op": "eq", "value": "f' OR 1=1 --"}, 0),
        ({"column": "positive", "op": "eq", "value": True}, 2),
        ({"column": "positive", "op": "present"}, 3),
    ],
)
def test_conditions_choose_rows(tmp_path: Path, condition: dict[str, Any], people: int) -> None:
    join = join_json()
    join["tables"][0]["where"] = [condition]
    assert len(opened(tmp_path, join=join)) == people


def test_that_a_filter_finds_nobody_is_no_error(tmp_path: Path) -> None:
    join = join_json()
    join["tables"][0]["where"] = [{"column": "age", "op": "eq", "value": 33}]
    units = opened(tmp_path, join=join)
    assert len(units) == 0
    assert units.sample_shape == (6,)


def test_one_table_is_read_without_a_join(tmp_path: Path) -> None:
    items, folders = lend(tmp_path, VISITS, DOSES)
    join = join_json()
    del join["tables"][1]
    features = dataset_json()["features"][:2]
    units = open_tables(
        items[:1], {"mri-a": folders["mri-a"]}, join=join_of(**join),
        dataset=dataset_of(features=features),
    )  # fmt: skip
    assert [classes for _, classes in listed(units)] == [[1, 0], [0], [1]]


def test_of_a_person_the_first_rows_up_to_the_bound_are_kept_whatever_they_say(
    tmp_path: Path,
) -> None:
    visits = [("p1", day, 20.0 + day, "f", "1", "true") for day in (5, 3, 4, 1, 2)]
    doses = [("p1", day, 1) for day in (1, 2, 3, 4, 5) for _ in range(3)]
    items, folders = lend(tmp_path, visits, doses)
    join = join_json(maxRowsPerUnit=2)
    join["tables"][1]["on"] = [{"own": "citizen", "first": "person"}]
    units = open_tables(items, folders, join=join_of(**join), dataset=dataset_of())
    # Two visits and two doses at most, then two of their pairs: the first visit with both doses.
    assert listed(units) == [([[0.25, 1, 0, 0, 1, 0]] * 2, [1, 1])]


def test_a_join_on_another_key_than_the_persons_is_refused(tmp_path: Path) -> None:
    join = join_json()
    join["tables"][1]["on"] = [{"own": "day", "first": "day"}]
    with pytest.raises(DataError, match="mri-b is not joined on the units' keys"):
        opened(tmp_path, join=join)


def test_missing_numbers_become_what_is_stated_or_the_middle(tmp_path: Path) -> None:
    visits = [("p1", 1, "", "f", "1", "true"), ("p2", 1, "nan", "f", "1", "true")]
    doses = [("p1", 1, 1), ("p2", 1, 1)]
    join = join_json()
    join["tables"][0]["where"] = []
    age = dataset_json()["features"][0]
    for name, missing, found in (("a", {}, 0.5), ("b", {"missing": 10.0}, 0.1)):
        features = [age | missing, *dataset_json()["features"][1:]]
        units = opened(tmp_path / name, visits=visits, doses=doses, join=join, features=features)
        assert [float(units.unit(index)[0][0, 0]) for index in (0, 1)] == pytest.approx([found] * 2)


def test_a_result_that_could_be_too_large_is_refused_by_public_numbers(tmp_path: Path) -> None:
    items, folders = lend(tmp_path, VISITS, DOSES)
    many = [item.model_copy(update={"units": 10**9}) for item in items]
    with pytest.raises(DataError, match="may come to more than"):
        open_tables(many, folders, join=join_of(), dataset=dataset_of())


def test_a_table_that_the_contract_does_not_describe_is_refused(tmp_path: Path) -> None:
    items, folders = lend(tmp_path, VISITS, DOSES)
    other = [items[0].model_copy(update={"units": 5}), items[1]]
    with pytest.raises(DataError, match="mri-a is not the table that the contract describes"):
        open_tables(other, folders, join=join_of(), dataset=dataset_of())
    pictures = [items[0].model_copy(update={"table": None, "format": "arrays"}), items[1]]
    with pytest.raises(DataError, match="mri-a is no table"):
        open_tables(pictures, folders, join=join_of(), dataset=dataset_of())


PEOPLE = ["p1", "p2", "p3", "p4"]
VISIT_ROWS = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE),
        st.integers(1, 3),
        st.sampled_from([10.0, 20.0, 30.0]),
        st.sampled_from(["f", "m"]),
        st.just("1"),
        st.sampled_from(["true", "false"]),
    ),
    min_size=1,
    max_size=14,
)
DOSE_ROWS = st.lists(
    st.tuples(st.sampled_from(PEOPLE), st.integers(1, 3), st.integers(0, 2)),
    min_size=1,
    max_size=14,
)


@given(visits=VISIT_ROWS, doses=DOSE_ROWS, gone=st.sampled_from(PEOPLE), first=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_without_a_person_in_either_table_all_other_units_stay_as_they_are(
    tmp_path_factory: pytest.TempPathFactory,
    visits: list[Row],
    doses: list[Row],
    gone: str,
    first: bool,
) -> None:
    fewer_visits = [row for row in visits if not (first and row[0] == gone)]
    fewer_doses = [row for row in doses if first or row[0] != gone]
    if not fewer_visits or not fewer_doses:
        return
    join = join_json(maxRowsPerUnit=2)
    join["tables"][1]["on"] = [{"own": "citizen", "first": "person"}]
    join["tables"][0]["where"] = []
    root = tmp_path_factory.mktemp("neighbours")
    before = listed(opened(root / "with", visits=visits, doses=doses, join=join))
    after = listed(opened(root / "without", visits=fewer_visits, doses=fewer_doses, join=join))
    assert all(1 <= len(classes) <= 2 for _, classes in before)
    # One unit less at most, and the others in their order.
    positions = range(len(before))
    candidates = [before, *(before[:at] + before[at + 1 :] for at in positions)]
    assert after in candidates
