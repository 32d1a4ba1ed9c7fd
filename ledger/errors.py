"""Everything that the ledger refuses or fails with.

* LedgerError               the root: exit code of the command line, HTTP status of the service
  + FormatError             bytes are not what their format asks for + VerificationError       a
  signature, proof, hash or time does not hold; says claim, expected, got
    + IdentityError         a DID does not resolve with the certificates or key it came with
  + NotFoundError           no such entry in this log
  + SequencerError          the log cannot take entries now
    + LogHeldError          another sequencer holds the log
    + LogDamagedError       what is stored is not what was signed; nothing more is signed
"""

from __future__ import annotations

from typing import ClassVar


class LedgerError(Exception):
    """Root of the ledger's errors.

    Attributes:
        code: Stable slug, the last part of the problem type on the wire.
        exit_code: What the command line ends with.
        http_status: What the service answers with.
        hint: What to do about it; may be empty.
    """

    code: ClassVar[str] = "ledger"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class FormatError(LedgerError):
    """Bytes are not what their format asks for."""

    code = "invalid-format"
    exit_code = 2
    http_status = 400


class VerificationError(LedgerError):
    """Something that was claimed does not hold."""

    code = "verification-failed"
    exit_code = 4
    http_status = 422

    def __init__(self, claim: str, *, expected: object, got: object, hint: str = "") -> None:
        self.claim, self.expected, self.got = claim, expected, got
        super().__init__(f"{claim}: expected {expected}, got {got}", hint=hint)


class IdentityError(VerificationError):
    """A DID does not resolve with the certificates or key it came with."""

    code = "identity-refused"


class NotFoundError(LedgerError):
    """No such entry in this log."""

    code = "not-found"
    exit_code = 3
    http_status = 404


class SequencerError(LedgerError):
    """The log cannot take entries now; nothing was acknowledged."""

    code = "log-unavailable"
    exit_code = 5
    http_status = 503


class LogHeldError(SequencerError):
    """Another sequencer holds the log."""

    code = "log-held"


class LogDamagedError(SequencerError):
    """What is stored is not what was signed, so nothing more is signed."""

    code = "log-damaged"
    exit_code = 4
