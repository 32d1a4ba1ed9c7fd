"""Recompute a log from its store, believing nothing that is stored, and say what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.entry import entry_id
from ledger.errors import LedgerError
from ledger.merkle import Tree, leaf_hash
from ledger.statement import verify_statement
from ledger.store import EntryRow, Store

MAX_PROBLEMS = 100


@dataclass(frozen=True)
class Report:
    """What was found."""

    size: int
    root: bytes
    problems: tuple[str, ...]
    """Empty if the log is sound; at most `MAX_PROBLEMS`."""


def check_store(store: Store) -> Report:
    """Return what recomputing every hash, signature and index column of `store` gives.

    Raises:
        SequencerError: If the database cannot be read.
    """
    tree, problems = Tree(), list[str]()
    state = store.state()
    for row in store.entries():
        if row.index != len(tree):
            problems.append(f"entry {entry_id(row.index)}: expected index {len(tree)}")
        problems += [f"entry {entry_id(row.index)}: {problem}" for problem in _problems(row)]
        tree.append(leaf_hash(row.encoded))
    root = tree.root()
    if state is None:
        problems.append("the log was never begun")
    elif state != (len(tree), root):
        problems.append(
            f"state: expected size {len(tree)} root {root.hex()}, "
            f"got size {state[0]} root {state[1].hex()}"
        )
    return Report(len(tree), root, tuple(problems[:MAX_PROBLEMS]))


def _problems(row: EntryRow) -> list[str]:
    found = []
    if row.leaf_hash != leaf_hash(row.encoded):
        found.append(
            f"leaf hash: expected {leaf_hash(row.encoded).hex()}, got {row.leaf_hash.hex()}"
        )
    try:
        statement = verify_statement(row.encoded)
    except LedgerError as error:
        return [*found, str(error)]
    if statement.encoded != row.encoded:
        found.append("the unprotected header is not empty")
    for column in ("kind", "issuer", "subject"):
        expected, got = getattr(statement, column), getattr(row, column)
        if expected != got:
            found.append(f"column {column}: expected {expected}, got {got}")
    return found
