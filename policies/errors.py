"""Everything that the policy layer refuses or fails with.

* DepaError                 the root: every error of the project has an exit code and an HTTP status
  + DocumentError           a document is not what its schema asks for; lists every problem
  + PolicyError             the policy could not be evaluated, which denies
    - PolicyUnavailableError  no engine answers, or not in time
    - PolicyMismatchError     another policy answers, or is here, than the one that was agreed to
  + Denied                  a policy said no; in `policies.wire.decision`, with its reasons
  + SignatureRefused        a bundle's signature is not what it should be; in `policies.signing`
  + EvidenceError           hardware evidence or a token did not verify
  + BudgetError             a privacy budget cannot be composed or is not enough
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document."""

    pointer: str
    """RFC 6901 JSON pointer to the field; the empty string is the whole document."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class DepaError(Exception):
    """Root of the project's errors.

    Attributes:
        code: Stable slug, the last part of the problem type on the wire.
        exit_code: What the command line ends with.
        http_status: What the service answers with.
        hint: What to do about it; may be empty.
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class DocumentError(DepaError):
    """A document is refused; `problems` names every field that is wrong."""

    code = "invalid-document"
    exit_code = 2
    http_status = 422

    def __init__(self, kind: str, problems: Sequence[Problem]) -> None:
        self.kind = kind
        self.problems = tuple(problems)
        super().__init__(
            f"{kind} is refused: " + "; ".join(map(str, self.problems)),
            hint=self.problems[0].hint if self.problems else "",
        )


class PolicyError(DepaError):
    """The policy could not be evaluated, which denies.

    Attributes:
        reason: Reason code of the denial that it becomes.
    """

    code = "policy-error"
    exit_code = 4
    http_status = 503
    reason: ClassVar[str] = "POLICY_ERROR"


class PolicyUnavailableError(PolicyError):
    """No engine answers, or not in time; asking again may help."""

    code = "policy-unavailable"
    exit_code = 5
    reason = "POLICY_UNAVAILABLE"


class PolicyMismatchError(PolicyError):
    """Another policy answers, or is here, than the one that was agreed to."""

    code = "policy-mismatch"
    http_status = 403
    reason = "POLICY_MISMATCH"


class EvidenceError(DepaError):
    """Hardware evidence or an attestation token did not verify."""

    code = "evidence-refused"
    exit_code = 4
    http_status = 403

    def __init__(self, claim: str, *, expected: object, got: object, hint: str = "") -> None:
        self.claim, self.expected, self.got = claim, expected, got
        super().__init__(f"{claim}: expected {expected}, got {got}", hint=hint)


class BudgetError(DepaError):
    """A privacy budget cannot be composed, or what is left is not enough."""

    code = "budget"
    exit_code = 4
    http_status = 409
