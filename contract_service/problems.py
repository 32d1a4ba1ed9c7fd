"""Everything that goes wrong, as RFC 9457 problem documents.

* DepaError
  + ServiceProblem          the root of what only the service raises; `slug` is its problem type
    - MissingError          404, also for what the caller may not know of
    - UnauthenticatedError  401
    - ForbiddenError        403, a named party without the right to do this
    - ConflictError         409, the state does not allow it
    - BadRequestError       400, the request itself is wrong
    - TooLargeError         413
    - MediaTypeError        415
    - UnavailableError      503, the service cannot do this now
    - UpstreamError         502, a vault or an attestation authority does not answer, or refuses
    - RefusedError          403, a policy denied; the decision is on the ledger

The registration paths of SCRAPI answer with concise problem details instead (RFC 9290).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import cbor2
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from contract_service.metrics import REFUSALS
from ledger.errors import LedgerError
from policies.errors import DepaError, DocumentError, Problem
from policies.wire.decision import Decision, Denied, Reason

PROBLEM_TYPE: Final = "urn:depa:problem:"
PROBLEM_JSON: Final = "application/problem+json"
PROBLEM_CBOR: Final = "application/concise-problem-details+cbor"
_SCRAPI: Final = ("/entries", "/.well-known/scitt-keys")
_SLUGS: Final[Mapping[int, str]] = {
    HTTPStatus.NOT_FOUND: "no-such-path",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
}


class ServiceProblem(DepaError):
    """Root of what only the service raises.

    Attributes:
        slug: The problem type, one for each reason of refusal.
    """

    def __init__(self, slug: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.slug = slug


class MissingError(ServiceProblem):
    """There is no such thing, or the caller may not know of it."""

    exit_code = 3
    http_status = 404

    def __init__(self, what: str, name: str) -> None:
        super().__init__(
            f"no-such-{what}", f"there is no {what} {name[:120]} that you may see", hint=""
        )


class UnauthenticatedError(ServiceProblem):
    """The caller could not be identified."""

    exit_code = 6
    http_status = 401


class ForbiddenError(ServiceProblem):
    """The caller is known and may not do this."""

    exit_code = 4
    http_status = 403


class ConflictError(ServiceProblem):
    """The state of the thing does not allow this."""

    exit_code = 4
    http_status = 409


class BadRequestError(ServiceProblem):
    """The request itself is wrong."""

    exit_code = 2
    http_status = 400


class TooLargeError(ServiceProblem):
    """The body is larger than the service reads."""

    exit_code = 2
    http_status = 413


class MediaTypeError(ServiceProblem):
    """The body is of a type that is not read here."""

    exit_code = 2
    http_status = 415


class UnavailableError(ServiceProblem):
    """The service cannot do this now."""

    exit_code = 5
    http_status = 503


class UpstreamError(ServiceProblem):
    """A vault or an attestation authority does not answer, or refuses."""

    exit_code = 5
    http_status = 502


class RefusedError(Denied):
    """A policy denied, and the decision is recorded."""

    def __init__(self, decision: Decision, *, decision_id: str, slug: str = "denied") -> None:
        super().__init__(decision)
        self.decision_id = decision_id
        self.slug = slug
        self.because = ""
        """What the policy could only see as missing facts, in the words of who looked."""

    def __str__(self) -> str:
        count = len(self.decision.reasons)
        text = f"the {self.decision.entrypoint} policy denies for {count} reason(s)"
        return f"{self.because}; {text}" if self.because else text


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem document."""
    app.add_exception_handler(DepaError, _expected)
    app.add_exception_handler(LedgerError, _expected)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(RequestValidationError, _validation)


def internal_error(path: str, *, request_id: str) -> Response:
    """Return the answer to a bug: nothing about it but where to look it up."""
    return _answer(
        path,
        status=500,
        slug="internal",
        detail="the service failed; its operator finds the reason by the request id",
        request_id=request_id,
    )


def _expected(request: Request, error: Exception) -> Response:
    if not isinstance(error, DepaError | LedgerError):
        raise error
    slug = getattr(error, "slug", error.code)
    extra: dict[str, Any] = {}
    if isinstance(error, DocumentError):
        extra["problems"] = _fields(error.problems)
    if isinstance(error, Denied):
        extra["reasons"] = _reasons(error.decision.reasons)
        for reason in error.decision.reasons:
            REFUSALS.labels(code=reason.code).inc()
    if isinstance(error, RefusedError):
        extra["decision_id"] = error.decision_id
    status = error.http_status
    if isinstance(error, Denied) and error.decision.undecided:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return _answer(
        request.url.path,
        status=status,
        slug=slug,
        detail=str(error),
        hint=error.hint,
        request_id=_request_id(request),
        extra=extra,
        headers=headers,
    )


def _framework(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _answer(
        request.url.path,
        status=error.status_code,
        slug=_SLUGS.get(error.status_code, "bad-request"),
        detail=f"{request.method} {request.url.path}: {error.detail}",
        request_id=_request_id(request),
        headers=dict(error.headers or {}),
    )


def _validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problems = [
        Problem("".join(f"/{part}" for part in item["loc"]), str(item["msg"]))
        for item in error.errors()
    ]
    return _answer(
        request.url.path,
        status=422,
        slug="invalid-request",
        detail="; ".join(map(str, problems)),
        request_id=_request_id(request),
        extra={"problems": _fields(problems)},
    )


def _answer(
    path: str,
    *,
    status: int,
    slug: str,
    detail: str,
    request_id: str,
    hint: str = "",
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    title = slug.replace("-", " ").capitalize()
    if status >= HTTPStatus.BAD_REQUEST and not (extra and extra.get("reasons")):
        REFUSALS.labels(code=slug).inc()
    if path.startswith(_SCRAPI):
        # RFC 9290, section 2: -1 title, -2 detail. Clients compare the content type as a whole.
        body = cbor2.dumps({-1: title, -2: detail + (f" ({hint})" if hint else "")})
        return Response(
            body, status_code=status, headers=dict(headers or {}), media_type=PROBLEM_CBOR
        )
    document = {
        "type": PROBLEM_TYPE + slug,
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path,
        "request_id": request_id,
        **({"hint": hint} if hint else {}),
        **(extra or {}),
    }
    return JSONResponse(
        document, status_code=status, headers=dict(headers or {}), media_type=PROBLEM_JSON
    )


def _fields(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [
        {"pointer": item.pointer, "message": item.message, "hint": item.hint}
        for item in problems[:100]
    ]


def _reasons(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [{"code": item.code, "path": item.path, "msg": item.msg} for item in reasons]


def _request_id(request: Request) -> str:
    return str(request.scope.get("depa.request_id", ""))
