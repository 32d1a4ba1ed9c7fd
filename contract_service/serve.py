"""Run the service as a process of its own."""

from __future__ import annotations

import os
import socket

import uvicorn
from fastapi import FastAPI

from contract_service import logs
from contract_service.app import create_app
from contract_service.errors import HomeError
from contract_service.settings import Settings
from ledger.errors import LedgerError
from policies.errors import DepaError

_SHUTDOWN_SECONDS = 20


def run_server(settings: Settings, *, fd: int | None = None) -> None:
    """Serve over TLS until told to stop.

    Args:
        settings: What the operator has set.
        fd: Descriptor of a listening socket to use instead of host and port.

    Raises:
        HomeError: If there is no TLS certificate, or the service does not start.
        LedgerError: If the log is held by another process, or is not what was signed.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        raise HomeError(
            "there is no TLS certificate",
            hint="set DEPA_SERVICE_TLS_CERTIFICATE and DEPA_SERVICE_TLS_KEY",
        )
    logs.configure(settings.log_level)
    # What opens the keys must not be inherited by anything.
    os.environ.pop("DEPA_PASSPHRASE", None)
    app = create_app(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            ssl_certfile=str(settings.tls_certificate),
            ssl_keyfile=str(settings.tls_key),
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
    )
    try:
        server.run(sockets=None if fd is None else [socket.socket(fileno=fd)])
    except SystemExit:
        raise _failure(app) from None
    if not server.started:
        raise _failure(app)


def _failure(app: FastAPI) -> DepaError | LedgerError:
    found = getattr(app.state, "failure", None)
    if isinstance(found, DepaError | LedgerError):
        return found
    return HomeError("the service did not start; the reason is in its log")
