"""What a client of the service, a vault or a blob store fails with.

* ClientError               the root
  + NetworkError            no answer from the service; asking again may help
  + UntrustedAnswerError    the answer arrived but does not verify; never retried
  + ServiceError            the service answered with a problem document
    - NotFoundError         there is no such thing, or the caller may not know of it
    - SignInError           the caller could not be identified
    - RefusedError          the service, a policy or a budget said no
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

from policies.errors import DepaError, Problem


@dataclass(frozen=True)
class ProblemDocument:
    """An RFC 9457 problem as it arrived."""

    status: int
    """HTTP status."""
    type: str
    """`urn:depa:problem:` and a stable slug."""
    title: str
    detail: str
    hint: str = ""
    request_id: str = ""
    decision_id: str = ""
    """Id of the decision that denied; empty when it was no policy that refused."""
    reasons: tuple[dict[str, str], ...] = ()
    """Code, path and message of each rule that was not met."""
    problems: tuple[Problem, ...] = ()
    """Fields that are wrong."""

    @property
    def slug(self) -> str:
        """Return the last part of the type."""
        return self.type.rsplit(":", 1)[-1]

    @classmethod
    def from_json(cls, value: Any, *, status: int) -> ProblemDocument:
        """Read a problem leniently: whatever is missing or misshapen is left empty."""
        body = value if isinstance(value, dict) else {}
        return cls(
            status=status,
            type=_text(body, "type") or "about:blank",
            title=_text(body, "title") or f"HTTP {status}",
            detail=_text(body, "detail"),
            hint=_text(body, "hint"),
            request_id=_text(body, "request_id"),
            decision_id=_text(body, "decision_id"),
            reasons=tuple(
                {key: _text(item, key) for key in ("code", "path", "msg")}
                for item in _objects(body, "reasons")
            ),
            problems=tuple(
                Problem(_text(item, "pointer"), _text(item, "message"), _text(item, "hint"))
                for item in _objects(body, "problems")
            ),
        )


class ClientError(DepaError):
    """Root of what a client fails with."""

    code: ClassVar[str] = "client"


class NetworkError(ClientError):
    """The other side could not be reached or did not answer in time."""

    code = "network"
    exit_code = 5
    http_status = 502


class UntrustedAnswerError(ClientError):
    """What was answered contradicts its digest, signature, receipt or the pinned root."""

    code = "untrusted-answer"
    exit_code = 4
    http_status = 502

    def __init__(self, what: str, *, expected: object, got: object, hint: str = "") -> None:
        self.what, self.expected, self.got = what, expected, got
        super().__init__(f"{what}: expected {expected}, got {got}", hint=hint)


class ServiceError(ClientError):
    """The service answered with a problem document."""

    code = "service"
    exit_code = 1
    http_status = 502

    def __init__(self, problem: ProblemDocument) -> None:
        self.problem = problem
        text = problem.detail or problem.title
        for item in problem.reasons:
            text += f"; {item['code']} at {item['path'] or '/'}: {item['msg']}"
        super().__init__(text, hint=problem.hint)


class NotFoundError(ServiceError):
    """There is no such thing, or the caller may not know of it."""

    code = "not-found"
    exit_code = 3
    http_status = 404


class SignInError(ServiceError):
    """The caller could not be identified."""

    code = "unauthenticated"
    exit_code = 6
    http_status = 401


class RefusedError(ServiceError):
    """The request was understood and refused."""

    code = "refused"
    exit_code = 4
    http_status = 403


def service_error(problem: ProblemDocument) -> ServiceError | NetworkError:
    """Return the error that a problem document stands for."""
    if problem.status == HTTPStatus.NOT_FOUND:
        return NotFoundError(problem)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        return SignInError(problem)
    if problem.decision_id:
        # Also where no engine could decide: that denied, for a reason, and is on the ledger.
        return RefusedError(problem)
    if problem.status in {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE}:
        return NetworkError(problem.detail or problem.title, hint=problem.hint)
    if HTTPStatus.BAD_REQUEST <= problem.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return RefusedError(problem)
    return ServiceError(problem)


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    return found[:2000] if isinstance(found, str) else ""


def _objects(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    return (
        [item for item in found if isinstance(item, dict)][:100] if isinstance(found, list) else []
    )
