"""Every reason code of tables: the least change to allowed facts that must be refused with it."""

from __future__ import annotations

from typing import Any

STAGE = "/pipeline/stages/0"
TABLE = "/contract/datasets/0/table"
USE = "/contract/dataUse/0/table"
Change = tuple[str, Any]
"""A JSON pointer and the new value; an ellipsis removes the node."""

DENIED: list[tuple[str, str, list[Change]]] = [
    ("contract", "FACTS_INCOMPLETE", [(f"{TABLE}/columns/0/type", "blob")]),
    ("contract", "TABLE_COLUMN_UNKNOWN", [(f"{USE}/columns/0", "income")]),
    ("contract", "TABLE_COLUMN_UNKNOWN", [(f"{TABLE}/unitKey", "income")]),
    ("contract", "TABLE_IDENTIFIER_GRANTED", [(f"{USE}/columns/0", "person")]),
    ("contract", "TABLE_ROWS_UNBOUNDED", [(f"{USE}/maxRowsPerUnit", 0)]),
    ("contract", "TABLE_TERMS_MISMATCH", [(USE, ...)]),
    ("contract", "TABLE_TERMS_MISMATCH", [(TABLE, ...)]),
    ("contract", "TABLE_UNIT", [("/contract/privacy/0/unit", "record")]),
    ("training", "BATCH_TOO_LARGE", [("/contract/datasets/1/units", 79)]),
    ("training", "COLUMN_NOT_GRANTED", [(f"{STAGE}/tables/0/columns/-", "day")]),
    ("training", "COLUMN_NOT_GRANTED", [(f"{USE}/columns/0", ...)]),
    ("training", "COLUMN_NOT_READ", [(f"{STAGE}/features/0/column", "day")]),
    ("training", "COLUMN_TYPE", [(f"{TABLE}/columns/2/type", "text")]),
    ("training", "IDENTIFIER_KEPT", [(f"{STAGE}/tables/0/columns/-", "person")]),
    ("training", "JOIN_KEY_NOT_GRANTED", [(f"{USE}/joinKeys/0", ...)]),
    ("training", "JOIN_NOT_ALLOWED", [("/contract/dataUse/1/join", False)]),
    ("training", "JOIN_NOT_BY_UNIT", [(f"{STAGE}/tables/1/keys/0", ...)]),
    ("training", "ROWS_PER_UNIT_EXCEEDED", [(f"{USE}/maxRowsPerUnit", 3)]),
    ("training", "STAGE_INPUT_DIFFERS", [(f"{STAGE}/tables/1", ...)]),
    (
        "training",
        "STAGE_ORDER",
        [("/pipeline/stages/-", {"path": "/x", "name": "DirectoryJoin", "datasets": []})],
    ),
    ("training", "TABLE_EXPECTED", [(TABLE, ...), (USE, ...)]),
    ("training", "TABLE_STAGE_MISSING", [(f"{STAGE}/name", "DirectoryJoin")]),
]
