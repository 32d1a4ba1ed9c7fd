from __future__ import annotations

from typing import Any

import pytest

from policies.decide import Policy
from policies.depa.query import joined_tables
from policies.errors import DocumentError
from policies.wire.tables import TableDataset, TableJoinConfig
from tests.depa import TABLE, TABLE_TERMS, document, imported, imported_pipeline
from tests.unit.policies.depa.test_attacks import judged
from tests.unit.policies.good import change

AT = "/pipeline/0/config/joined_dataset"
AGREED = imported("tables").contract


def brought(*changes: tuple[str, Any], **said: Any) -> Any:
    source = document("tables", "pipeline_config")
    for pointer, value in changes:
        change(source, pointer, value)
    return imported_pipeline("tables", source, contract=AGREED, **said)


def refused(*changes: tuple[str, Any], **said: Any) -> list[str]:
    with pytest.raises(DocumentError) as error:
        brought(*changes, **said)
    return [str(problem) for problem in error.value.problems]


def test_a_contract_about_tables_says_which_columns_are_lent() -> None:
    assert [use.columns for use in AGREED.constraints.data_use] == [
        ("result", "strain", "age"),
        ("vaccine",),
    ]
    with pytest.raises(DocumentError, match="does not say which of its columns are lent"):
        imported("tables", tables={})


def test_a_join_hands_on_what_the_features_take_and_nothing_else() -> None:
    join = brought().pipeline.join
    assert isinstance(join, TableJoinConfig)
    assert [(table.dataset, table.columns) for table in join.tables] == [
        ("tests", ("age", "result", "strain")),
        ("doses", ("vaccine",)),
    ]
    assert [(pair.own, pair.first) for pair in join.tables[1].on] == [("person", "person")]
    assert join.max_rows_per_unit == 1


def test_a_join_of_tables_is_allowed_once_the_contract_is_signed(policy: Policy) -> None:
    decision = judged(policy, AGREED, brought().pipeline)
    assert decision.allow, [str(reason) for reason in decision.reasons]


def test_a_join_that_drops_nothing_hands_on_no_more(policy: Policy) -> None:
    careless = brought((f"{AT}/drop_columns", []), (f"{AT}/identifiers", []))
    assert careless.pipeline == brought().pipeline


def test_a_join_that_hands_on_an_identifier_is_refused(policy: Policy) -> None:
    value = TABLE.to_json()
    value["features"].append(
        {"kind": "category", "table": "tests", "column": "name", "levels": ["a"]}
    )
    greedy = TableDataset.model_validate(
        {**value, "features": tuple(value["features"])}, strict=False
    )
    said = refused(table=greedy)
    assert f"{AT}: drops name, which training takes" in said
    source = document("tables", "pipeline_config")
    selected = source["pipeline"][0]["config"]["datasets"][0]["select_variables"]
    bare = (
        (f"{AT}/drop_columns", []),
        (f"{AT}/identifiers", []),
        ("/pipeline/0/config/datasets/0/select_variables", [*selected, "name"]),
    )
    decision = judged(policy, AGREED, brought(*bare, table=greedy).pipeline)
    assert not decision.allow
    assert "name" in " ".join(reason.msg for reason in decision.reasons)


def test_rows_meet_on_the_key_of_the_person_and_another_name_for_it_is_listed() -> None:
    query = "select * from tests, doses where tests.number == doses.number"
    found = brought((f"{AT}/joining_key", "number"), (f"{AT}/joining_query", query))
    assert found.pipeline == brought().pipeline
    listed = [str(one) for one in found.changes if one.pointer == f"{AT}/joining_key"]
    assert [one.split(": ")[1] for one in listed] == [
        "tests is joined on person, which says whose row it is",
        "doses is joined on person, which says whose row it is",
    ]


def test_what_the_configuration_does_not_say_has_to_be_given() -> None:
    (said,) = refused(table=None)
    assert said.startswith(f"{AT}: does not say what training takes of the tables")


def test_a_column_that_is_not_selected_is_refused() -> None:
    at = "/pipeline/0/config/datasets/1/select_variables"
    assert refused((at, [])) == [f"{at}: does not select vaccine, which training takes"]


def test_the_target_is_the_one_that_is_given() -> None:
    (said,) = refused(("/pipeline/1/config/dataset_config/target_variable", "age"))
    assert said.startswith("/pipeline/1/config/dataset_config/target_variable: is age")


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        (f"{AT}/joined_dataset", "/mnt/remote/output/stolen.csv"),
        ("/pipeline/0/config/datasets/0/mount_path", "/etc"),
        ("/pipeline/0/config/datasets/0/file", "../doses/doses.csv"),
        ("/pipeline/0/config/datasets/0/name", "other"),
        ("/pipeline/0/config/datasets/0/query", "x"),
        (f"{AT}/joining_key", "age"),
        (f"{AT}/udf", "x"),
    ],
)
def test_what_does_not_fit_a_join_is_refused_at_its_pointer(pointer: str, value: Any) -> None:
    said = refused((pointer, value))
    parent = pointer.rpartition("/")[0]
    assert any(
        one.startswith((f"{pointer}: ", f"{parent}: ", f"{AT}/joining_query: ")) for one in said
    )


def test_a_loss_of_probabilities_is_refused_with_what_to_use() -> None:
    loss = {"class": "torch.nn.BCELoss", "params": {"reduction": "mean"}}
    (said,) = refused(("/pipeline/1/config/loss_config", loss))
    assert "take BCEWithLogitsLoss for masks or CrossEntropyLoss for classes" in said


ABC = ("a", "b", "c")
JOINS = [
    ("select * from a, b where a.k == b.k", ("a", "b"), False),
    ("SELECT * FROM a, b, c WHERE b.k = a.k AND c.k = b.k;", ABC, False),
    ("select * from a x join b y on x.k = y.k", ("a", "b"), False),
    (
        "SELECT * FROM a x LEFT JOIN b ON x.K = b.K LEFT OUTER JOIN c z ON x.k = z.k",
        ("a", "b", "c"),
        True,
    ),
    ("select * from a", ("a",), False),
]


@pytest.mark.parametrize(("query", "tables", "keeps"), JOINS)
def test_joins_on_one_key_are_read(query: str, tables: tuple[str, ...], keeps: bool) -> None:
    assert joined_tables(query, key="k") == (tables, keeps)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "select",
        "select a.k from a, b where a.k = b.k",
        "select * from a, b",
        "select * from a, b where a.k = b.k or 1 = 1",
        "select * from a, b where a.k = b.name",
        "select * from a, b, c where a.k = b.k",
        "select * from a, a where a.k = a.k",
        "select * from a x, b x where x.k = x.k",
        "select * from a, b where a.k = c.k",
        "select * from a, b where a.k = 'x'",
        "select * from a, b where reflect('java.lang.Runtime', 'exec') = a.k",
        "select * from csv.`/mnt/remote/b`",
        "select * from a, (select * from b) c where a.k = c.k",
        "select * from a, b where a.k = b.k union select * from b",
        "select * from a, b where a.k = b.k; drop table a",
        "select * from a, b where a.k = b.k -- x",
        "select * from a, b where a.k = b.k /* x */",
        "select * from a, b where a.k = b.k limit 1",
        "select * from a right join b on a.k = b.k",
        "select * from a full join b on a.k = b.k",
        "select * from a natural join b",
        "select * from a as b join c on a.k = c.k",
        "select * from a cross join b",
        "select * from a where a.k > 1",
        'select * from "a", b where a.k = b.k',
        "with a as (select 1) select * from a",
        "select * from a, b where a.k = b.k and",
    ],
)
def test_any_other_query_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        joined_tables(query, key="k")


def test_the_terms_of_the_tests_name_every_table() -> None:
    assert set(TABLE_TERMS) == {item.id for item in AGREED.datasets}
