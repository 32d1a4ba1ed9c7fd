"""Why a run ended, as a fixed word: messages of errors may hold private values, words do not."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ledger.errors import LedgerError
from policies.errors import DepaError

OUT_OF_MEMORY: Final = "out-of-memory"
SCRATCH_FULL: Final = "scratch-full"
NOT_FINITE: Final = "not-finite"
PROCESS_DIED: Final = "training-process-died"
INTERNAL: Final = DepaError.code
HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        OUT_OF_MEMORY: "take a larger room, a smaller model or fewer samples a unit",
        SCRATCH_FULL: "take a room with more memory",
        NOT_FINITE: "use a smaller learning rate",
        PROCESS_DIED: "submit again; what was charged is in the run's report",
    }
)
"""What to do, where it is known."""
_ALLOCATION: Final = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "can't start new thread",
)
"""How PyTorch, and Python of a thread's stack, say that memory is not to be had."""


class TrainingFailed(DepaError):
    """The training process ended without a model."""

    code = "training-failed"
    exit_code = 1

    def __init__(self, reason: str) -> None:
        super().__init__(f"no model was trained: {reason}")
        self.reason = reason


def reason_of(error: Exception) -> str:
    """Return the word for an error: its code, or what kind of resource was lacking."""
    if isinstance(error, TrainingFailed):
        return error.reason
    if isinstance(error, DepaError | LedgerError):
        return error.code
    # torch.OutOfMemoryError, by name: who reports a failure need not have loaded PyTorch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OUT_OF_MEMORY
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _ALLOCATION):
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SCRATCH_FULL
    return INTERNAL
