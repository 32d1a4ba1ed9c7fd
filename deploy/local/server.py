"""Serve an app over TLS on loopback, on a socket that is bound before the app knows its URL."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

from deploy.local.tls import TlsFiles

HOST: Final = "127.0.0.1"
_SHUTDOWN_SECONDS: Final = 5


def bind(port: int = 0) -> socket.socket:
    """Return a listening socket on loopback; port 0 takes any free one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the HTTPS origin of a listening socket."""
    return f"https://{HOST}:{listener.getsockname()[1]}"


def tls_server(app: FastAPI, *, tls: TlsFiles) -> uvicorn.Server:
    """Return a server; `server.run(sockets=[listener])` blocks until it is told to stop."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            ssl_certfile=str(tls.certificate),
            ssl_keyfile=str(tls.key),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
    )
