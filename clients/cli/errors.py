"""What the command line itself refuses or fails with; everything else comes from below.

* DepaError           (policies.errors) exit code 1 unless it says otherwise
  + UsageError        2  the command, a setting or a file given to it is wrong
  + NotFoundError     3  a file, contract, run or key is not there (yet)
  + Refused           4  a check said no
  + NetworkError      5  a service did not answer; trying again may help
  + SignInError       6  the passphrase is missing or wrong
  + Denied              4  (policies.wire.decision) a policy said no
    - DeniedWithRemedies   and here is the place of each reason, and what to do about it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from policies.errors import DepaError
from policies.wire.decision import Decision, Denied, Reason


class UsageError(DepaError):
    """The command, a setting or a file given to it is wrong."""

    code = "usage"
    exit_code = 2
    http_status = 400


class NotFoundError(DepaError):
    """Something named on the command line is not there, or not there yet."""

    code = "not-found"
    exit_code = 3
    http_status = 404


class Refused(DepaError):
    """A check said no."""

    code = "refused"
    exit_code = 4
    http_status = 403

    def __init__(
        self, message: str, *, hint: str = "", found: Sequence[dict[str, Any]] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.found = tuple(found)
        """What programs read of the message, one object a line of it."""


class NetworkError(DepaError):
    """A service did not answer."""

    code = "network"
    exit_code = 5
    http_status = 503


class SignInError(DepaError):
    """The keystore stays closed: no passphrase, or not the right one."""

    code = "sign-in"
    exit_code = 6
    http_status = 401


@dataclass(frozen=True)
class Remedy:
    """A reason of the policy, where it leads to, and what to do about it."""

    reason: Reason
    place: str | None
    """File and line, if the pointer leads into a file."""
    fixed_by: tuple[str, ...] = ()
    remedy: str = ""

    def __str__(self) -> str:
        lines = [str(self.reason)]
        if self.place:
            lines.append(f"  in {self.place}")
        if self.remedy:
            lines.append(f"  {', '.join(self.fixed_by)}: {self.remedy}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return what programs read of it."""
        return {
            **self.reason.to_json(),
            "place": self.place,
            "fixedBy": list(self.fixed_by),
            "remedy": self.remedy,
        }


class DeniedWithRemedies(Denied):
    """A policy decided against what was asked, and here is what to do about it."""

    def __init__(self, decision: Decision, remedies: Sequence[Remedy]) -> None:
        super().__init__(decision)
        self.remedies = tuple(remedies)
