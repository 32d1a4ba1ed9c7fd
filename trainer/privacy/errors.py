"""What private training refuses or fails with.

* DepaError
  + EngineRefused       the model cannot be trained with a bound on each unit's influence
  + TrainingAborted     training stopped before its end; nothing of the weights may be used
  + AuditFailed         an attack on made data found out more than a run's epsilon allows
"""

from __future__ import annotations

from policies.errors import DepaError
from policies.wire.run import Spent


class EngineRefused(DepaError):
    """The model or the batch breaks an assumption of the privacy guarantee."""

    code = "engine-refused"
    exit_code = 4
    http_status = 422


class TrainingAborted(DepaError):
    """Training stopped before its end.

    Attributes:
        spent: What the steps that were taken have cost; None if there were none or none is counted.
        reason: A fixed word for why.
    """

    code = "training-aborted"
    exit_code = 1

    def __init__(
        self, message: str, *, spent: Spent | None, reason: str = "training-aborted", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.spent, self.reason = spent, reason


class AuditFailed(DepaError):
    """An attack on made data found out more than the reported epsilon allows."""

    code = "audit-failed"
    exit_code = 4
