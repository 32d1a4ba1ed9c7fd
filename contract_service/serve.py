"""Run the service as a process of its own."""

from __future__ import annotations

import os
import socket

import uvicorn

from contract_service import logs
from contract_service.app import create_app
from contract_service.errors import HomeError
from contract_service.settings import Settings

_SHUTDOWN_SECONDS = 20


def run_server(settings: Settings, *, fd: int | None = None) -> None:
    """Serve over TLS until told to stop.

    Args:
        settings: What the operator has set.
        fd: Descriptor of a listening socket to use instead of host and port.

    Raises:
        HomeError: If there is no TLS certificate, or the service does not start.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        raise HomeError(
            "there is no TLS certificate",
            hint="set DEPA_SERVICE_TLS_CERTIFICATE and DEPA_SERVICE_TLS_KEY",
        )
    logs.configure(settings.log_level)
    # What opens the keys must not be inherited by anything, nor be read from /proc by name.
    os.environ.pop("DEPA_PASSPHRASE", None)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
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
    server.run(sockets=None if fd is None else [socket.socket(fileno=fd)])
    if not server.started:
        raise HomeError("the service did not start; the reason is in its log")
