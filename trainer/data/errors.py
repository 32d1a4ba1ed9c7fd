"""What the data side of training refuses.

* DataError           a set of volumes or a prepared data set cannot be used
  + VolumeRefused     one patient's volume is damaged or unfit; the others are kept
"""

from __future__ import annotations

from policies.errors import DepaError


class DataError(DepaError):
    """A set of volumes, a prepared data set or a join of several cannot be used."""

    code = "data-refused"
    exit_code = 4
    http_status = 422


class VolumeRefused(DataError):
    """One patient's volume is damaged or unfit for training."""

    def __init__(self, patient: str, reason: str) -> None:
        self.patient, self.reason = patient, reason
        super().__init__(f"{patient}: {reason}")

    def __reduce__(self) -> tuple[type[VolumeRefused], tuple[str, str]]:
        """Let the refusal travel from a worker process."""
        return VolumeRefused, (self.patient, self.reason)
