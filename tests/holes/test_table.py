"""The table of guarantees names tests that exist."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
LINE = re.compile(r"\| (?P<guarantee>[^|`]+) \| `(?P<path>[a-z0-9_/]+\.py)::(?P<name>test_\w+)` \|")
TABLE = (TESTS / "holes" / "README.md").read_text(encoding="utf-8").splitlines()
ROWS = [match for line in TABLE if (match := LINE.fullmatch(line))]


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["guarantee"])
def test_a_test_of_the_table_exists(row: re.Match[str]) -> None:
    assert row["name"] in names_in(TESTS / row["path"])


def test_every_line_of_the_table_is_read_and_stands_once() -> None:
    lines = [line for line in TABLE if line.startswith("|") and "::" in line]
    assert len(lines) == len(ROWS) > 90
    assert len({row["guarantee"] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    "path",
    sorted((TESTS / "holes").glob("test_*.py")),
    ids=lambda path: path.stem,
)
def test_every_test_beside_the_table_stands_in_it(path: Path) -> None:
    named = {row["name"] for row in ROWS}
    found = {name for name in names_in(path) if name.startswith("test_")}
    assert path == Path(__file__) or found <= named, found - named


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition("#")[0].strip() for line in lines]
    pinned = {_plain(pin.partition("==")[0]) for pin in pins if pin}
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", pin) for pin in pins if pin)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(item for extra in extras for item in extra)]
    names = {_plain(re.split(r"[\[<>=!~; ]", item, maxsplit=1)[0]) for item in wanted}
    assert names - pinned - {_plain(project["name"]), "torch"} == set()


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
