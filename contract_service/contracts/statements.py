"""What parties sign: statements that verify, of the right kind, about the right contract."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from contract_service.problems import BadRequestError
from ledger.statement import Statement, verify_statement
from policies.errors import DocumentError, Problem
from policies.wire.contract import contract_urn

_SKEW: Final = 300


def verified(data: bytes, *, kind: str, now: int) -> Statement:
    """Return a party's statement, signed now or before by a certificate that is valid now.

    Raises:
        LedgerError: if it does not verify.
        BadRequestError: if it is of another kind, or of the future.
    """
    verify_statement(data)
    statement = verify_statement(data, at=now)
    if statement.kind != kind:
        raise BadRequestError(
            "statement-kind", f"expected a statement about a {kind}, got {statement.kind}"
        )
    if statement.issued_at > now + _SKEW:
        raise BadRequestError(
            "statement-time", f"iat: expected at most {now + _SKEW}, got {statement.issued_at}"
        )
    return statement


def check_subject(statement: Statement, *, payload: str, contract: str) -> None:
    """Raise unless a statement is about this document and this contract.

    Raises:
        BadRequestError: with what it is about instead.
    """
    if statement.payload_digest != payload:
        raise BadRequestError(
            "statement-payload", f"payload hash: expected {payload}, got {statement.payload_digest}"
        )
    if statement.subject != contract_urn(contract):
        raise BadRequestError(
            "statement-subject", f"sub: expected {contract_urn(contract)}, got {statement.subject}"
        )


def statement_bytes(text: str) -> bytes:
    """Return the bytes of a statement in base64.

    Raises:
        DocumentError: if it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise DocumentError("statement", [Problem("/statement", "is not base64")]) from None
