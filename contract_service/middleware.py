"""What every request gets: an id, a log line, a count, a size limit, an answer even to a bug."""

from __future__ import annotations

import time
import uuid
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract_service.metrics import REQUESTS, SECONDS
from contract_service.problems import TooLargeError, internal_error

_LOG: Final = structlog.get_logger("depa.request")
_QUIET: Final = ("/healthz", "/readyz", "/metrics")


class RequestContext:
    """Gives each request an id, logs it, counts it and answers 500 to what nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope["depa.request_id"] = request_id
        started, status = time.monotonic(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
                if all(name.lower() != b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, watched)
            except Exception:
                _LOG.exception("request failed", method=scope["method"], path=scope["path"])
                if status:
                    raise
                answer = internal_error(scope["path"], request_id=request_id)
                await answer(scope, receive, watched)
            finally:
                _report(scope, status=status, seconds=time.monotonic() - started)


class BodyLimit:
    """Reads at most so many bytes of a body, whatever its headers claim."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise TooLargeError("too-large", f"the body is larger than {self._limit} bytes")
            return message

        await self._app(scope, counted, send)


def _report(scope: MutableMapping[str, Any], *, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "none")
    REQUESTS.labels(method=scope["method"], route=route, status=status).inc()
    SECONDS.labels(route=route).observe(seconds)
    if scope["path"] not in _QUIET:
        # The path, never the query or a header: those may hold what is not for logs.
        _LOG.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            caller=scope.get("depa.caller", ""),
        )
