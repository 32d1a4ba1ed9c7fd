"""What has to be said to import DEPA's documents, from the words of a command line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from clients.cli.command import Session
from clients.cli.errors import UsageError
from clients.cli.files import read_bytes
from policies.wire.base import Slug, load_json, sha256
from policies.wire.budget import Budget
from policies.wire.contract import Attestation
from policies.wire.tables import TableDataset, TableTerms

_T = TypeVar("_T")
_TERMS: Final = TypeAdapter(dict[Slug, TableTerms])
_TABLE: Final = TypeAdapter(TableDataset)
_SHAPE = re.compile(r"\A[1-9][0-9]{0,5}(x[1-9][0-9]{0,5}){0,2}\Z")


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the sides in a text such as `1x64x64`.

    Raises:
        UsageError: when it is no such text.
    """
    if not _SHAPE.match(text):
        raise UsageError(f"--shape: expected up to three sides such as 1x64x64, got {text[:40]!r}")
    return tuple(int(side) for side in text.split("x"))


def run_budget(epsilon: float | None, delta: float | None) -> Budget | None:
    """Return the budget of a run on data for which DEPA's contract has none.

    Raises:
        UsageError: when only one of both is given, or a number is out of range.
    """
    if epsilon is None and delta is None:
        return None
    if epsilon is None or delta is None:
        raise UsageError("--epsilon and --delta belong together: give both or none")
    try:
        return Budget(epsilon=epsilon, delta=delta)
    except ValidationError as error:
        raise UsageError(f"--epsilon, --delta: {_first(error)}") from None


def attestation_terms(
    session: Session,
    *,
    authorities: Sequence[str] | None,
    host_data: Sequence[str] | None,
    minimum_guest_svn: int,
    max_token_age: int,
) -> Attestation:
    """Return which clean rooms are trusted, from options or, without them, this role's settings.

    Raises:
        UsageError: when neither says it, or a value is not one.
    """
    launch = None if host_data else Path(session.settings.need("launch_policy"))
    measured = [sha256(read_bytes(launch, what="launch policy"))[7:]] if launch else host_data
    try:
        return Attestation(
            authorities=tuple(authorities or [session.settings.need("attestation")]),
            host_data=tuple(measured or ()),
            compliance=("azure-compliant-uvm",),
            minimum_guest_svn=minimum_guest_svn,
            max_token_age_seconds=max_token_age,
        )
    except ValidationError as error:
        raise UsageError(f"terms of attestation: {_first(error)}") from None


def read_table_terms(path: Path | None) -> dict[str, TableTerms]:
    """Return what is lent of each table, from a file with an object of terms by data set.

    Raises:
        NotFoundError: when the file is not there.
        UsageError: naming the field that is wrong.
    """
    if path is None:
        return {}
    return _read(path, _TERMS, what="table terms")


def read_table(path: Path | None) -> TableDataset | None:
    """Return what training takes of joined tables, from a file with a dataset of kind table.

    Raises:
        NotFoundError: when the file is not there.
        UsageError: naming the field that is wrong.
    """
    return None if path is None else _read(path, _TABLE, what="table")


def _read(path: Path, kind: TypeAdapter[_T], *, what: str) -> _T:
    value = load_json(read_bytes(path, what=what), kind=what)
    try:
        return kind.validate_json(json.dumps(value), by_alias=True, by_name=False)
    except ValidationError as error:
        raise UsageError(f"{what}: {path}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = "/".join(map(str, found["loc"])) or "the whole"
    return f"{place}: {found['msg'].removeprefix('Value error, ')}"
