"""Why a sealed file is refused."""

from __future__ import annotations

from enum import StrEnum

from policies.errors import DepaError


class SealReason(StrEnum):
    """What did not hold."""

    FORMAT = "format"
    """The file is no sealed file of a known version."""
    DATASET = "dataset"
    """It is another data set's."""
    VERSION = "version"
    """It is another version of the data set, older or newer."""
    KEY = "key"
    """It was sealed for another key, or the key does not open it."""
    DIGEST = "digest"
    """Its SHA-256 is not the one that the contract names."""
    AUTHENTICATION = "authentication"
    """Ciphertext or header were changed, cut off or added to."""
    ARCHIVE = "archive"
    """What is inside is no plain archive of regular files."""
    LIMIT = "limit"
    """It is larger than allowed."""
    INFO = "info"
    """It was sealed for another contract, run or purpose."""


class SealedError(DepaError):
    """A sealed file is refused; nothing of it was handed on."""

    code = "sealed-file-refused"
    exit_code = 4
    http_status = 422

    def __init__(
        self, reason: SealReason, *, expected: object, got: object, hint: str = ""
    ) -> None:
        self.reason, self.expected, self.got = reason, expected, got
        super().__init__(f"sealed file, {reason}: expected {expected}, got {got}", hint=hint)
