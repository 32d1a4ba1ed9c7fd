from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.errors import DocumentError
from trainer.data.database import database, rows_of
from trainer.data.errors import DataError
from trainer.data.manifest import TableManifest, read_manifest
from trainer.data.slices import SliceDataset
from trainer.data.tables import check_table, write_table

ROWS = "\n".join(
    [
        "person,day,age,sex,code,positive",
        "p1,1,20,f,007,true",
        "p2,2,,m,008,false",
        '"p3, jr",3,1e3,"a ""b""",009,',
        "p1,4,-2.5,,010,true",
        "",
    ]
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "visits.csv"
    path.write_text(ROWS)
    return path


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    write_table(source, tmp_path / "visits", unit_key="person")
    return tmp_path / "visits"


def types(folder: Path) -> dict[str, str]:
    manifest = read_manifest(folder)
    assert isinstance(manifest, TableManifest)
    return {column.name: column.type for column in manifest.table.columns}


def test_a_csv_file_becomes_a_folder_with_types_and_the_number_of_people(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "table.parquet"]
    assert types(folder) == {
        "person": "text",
        "day": "whole",
        "age": "number",
        "sex": "text",
        "code": "text",
        "positive": "flag",
    }
    assert check_table(folder).units == 3


def test_the_manifest_holds_no_value_of_the_table(folder: Path) -> None:
    text = (folder / "dataset.json").read_text()
    assert set(json.loads(text)) == {"version", "layout", "units", "table"}
    assert "p1" not in text
    assert "jr" not in text


def test_columns_are_kept_as_text_where_asked(source: Path, tmp_path: Path) -> None:
    write_table(source, tmp_path / "out", unit_key="person", text=["day", "positive"])
    assert {types(tmp_path / "out")[name] for name in ("day", "positive")} == {"text"}


def test_a_parquet_file_keeps_its_types(folder: Path, tmp_path: Path) -> None:
    write_table(folder / "table.parquet", tmp_path / "again", unit_key="day")
    assert types(tmp_path / "again") == types(folder)
    assert check_table(tmp_path / "again").units == 4


def test_writing_twice_gives_the_same_bytes_and_never_overwrites(
    source: Path, folder: Path, tmp_path: Path
) -> None:
    write_table(source, tmp_path / "again", unit_key="person")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    with pytest.raises(DataError, match="exists"):
        write_table(source, folder, unit_key="person")


@pytest.mark.parametrize(
    ("rows", "key", "said"),
    [
        ("a,b\n1,2\n", "person", "there is no column 'person'"),
        ("person,b\n,2\np1,3\n", "person", "rows without person"),
        ("person,b c\np1,2\n", "person", "columns/1/name"),
        ("person,b\n", "person", "/units"),
        ("person,b\n0.5,2\n", "person", "no column of type text or whole"),
        ("person,b\np1,2,3\n", "person", "could not be worked on"),
        ("person,PERSON\np1,2\n", "person", "names a column twice"),
        ("person,\np1,2\n", "person", "or not at all"),
        ("", "person", "or not at all"),
    ],
)
def test_a_file_that_protects_nobody_or_is_damaged_is_refused_and_nothing_is_left(
    tmp_path: Path, rows: str, key: str, said: str
) -> None:
    (tmp_path / "in.csv").write_text(rows)
    with pytest.raises((DataError, DocumentError), match=said):
        write_table(tmp_path / "in.csv", tmp_path / "out", unit_key=key)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"expected a \.csv or \.parquet file"):
        write_table(tmp_path / "in.xlsx", tmp_path / "out", unit_key="person")


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    with database(path, what="test") as connection:
        connection.execute(
            f"COPY (SELECT 'p1' AS person, DATE '2026-01-01' AS born) TO '{path}' (FORMAT parquet)"
        )
    with pytest.raises(DataError, match="column 'born' is DATE"):
        write_table(path, tmp_path / "out", unit_key="person")


def test_a_folder_that_is_not_what_its_manifest_says_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / "dataset.json").read_text())
    for change, said in (
        ({"units": 2}, "another number of units than the 2"),
        ({"units": 4}, "another number of units than the 4"),
        ({"table": {**manifest["table"], "unitKey": "day"}}, "another number of units"),
        (
            {"table": {**manifest["table"], "columns": manifest["table"]["columns"][:5]}},
            "columns or types are not those of the schema",
        ),
    ):
        (folder / "dataset.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(DataError, match=said):
            check_table(folder)
    (folder / "visits_nonanon.csv").write_text(ROWS)
    with pytest.raises(DataError, match=r"expected table\.parquet or table\.csv"):
        check_table(folder)


def test_a_damaged_file_is_refused_without_its_values(folder: Path) -> None:
    path = folder / "table.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="could not be worked on"):
        check_table(folder)
    path.unlink()
    (folder / "table.csv").write_text(ROWS.replace("p2,2", "p2,secret"))
    with pytest.raises(DataError, match="could not be worked on") as refused:
        check_table(folder)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    (folder / "table.csv").write_text(ROWS.replace("person,day", "day,person"))
    with pytest.raises(DataError, match="first line is not the names"):
        check_table(folder)


def test_a_table_is_not_taken_for_slices(folder: Path) -> None:
    with pytest.raises(DataError, match="expected slices, got table"):
        SliceDataset(folder)


STATEMENTS = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM read_csv('https://example.org/x.csv')",
    "COPY (SELECT 1) TO '{other}'",
    "ATTACH '{other}'",
    "EXPORT DATABASE '{other}'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{other}'",
    "SET enable_external_access = true",
    "SET allowed_paths = ['/etc/passwd']",
    "SET memory_limit = '1TB'",
    "SET threads = 99",
    "SET temp_directory = '{other}'",
    "RESET lock_configuration",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_database_reaches_nothing_but_its_files(tmp_path: Path, statement: str) -> None:
    with (
        pytest.raises(DataError, match="could not be worked on"),
        database(tmp_path / "allowed.csv", what="test") as connection,
    ):
        connection.execute(statement.format(other=tmp_path / "other"))
    assert list(tmp_path.iterdir()) == []


def test_variables_of_the_process_are_no_tables() -> None:
    secret_rows = [1, 2, 3]
    with pytest.raises(DataError, match="could not"), database(what="test") as connection:
        rows_of(connection, "SELECT * FROM secret_rows")
    assert secret_rows


def test_a_query_that_needs_more_memory_than_allowed_fails_and_nothing_is_spilled() -> None:
    with (
        pytest.raises(DataError, match="OutOfMemoryException"),
        database(what="test", memory="64MB") as connection,
    ):
        rows_of(connection, "SELECT list(i) FROM range(2000000000) AS t(i)")
