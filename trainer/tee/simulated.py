"""A clean room on hardware that protects nothing, for laptops and tests.

Its reports are real in form and checked like any other; they chain to a root that only the local
attestation service
believes.
"""

from __future__ import annotations

import base64
import logging
import socket
import threading
from typing import Any, Final

from trainer.tee.frames import receive_frame, send_frame
from trainer.tee.protocol import TeeError

VARIABLE: Final = "DEPA_UNSAFE_TEE"
"""`fd:<number>` of an inherited socket, or `unix:<path>`; set by the simulated machine at
launch."""
_TIMEOUT_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)


class UnsafeSimulatedTee:
    """Simulated hardware behind a socket. **It protects nothing**: whoever runs it sees all.

    Args:
        address: Value of the variable `DEPA_UNSAFE_TEE`.

    Raises:
        TeeError: if nobody answers there.
    """

    def __init__(self, address: str) -> None:
        _log.warning("this clean room runs on simulated hardware, which protects nothing")
        self._lock = threading.Lock()
        self._connection = _connect(address)
        self._connection.settimeout(_TIMEOUT_SECONDS)
        context = self._ask({"op": "context"})
        self._certificates = _bytes(context, "certificates")
        self._endorsements = (_bytes(context, "endorsement"),)

    def report(self, report_data: bytes) -> bytes:
        """Return a report over 64 bytes; the simulated machine fills in the rest."""
        answer = self._ask({"op": "report", "reportData": base64.b64encode(report_data).decode()})
        return _bytes(answer, "report")

    @property
    def certificates(self) -> bytes:
        """PEM chain that ends in the simulated machine's own root."""
        return self._certificates

    @property
    def endorsements(self) -> tuple[bytes, ...]:
        """The simulated firmware's endorsement."""
        return self._endorsements

    def close(self) -> None:
        """Close the connection to the simulated machine."""
        self._connection.close()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            with self._lock:
                send_frame(self._connection, message)
                answer = receive_frame(self._connection)
        except OSError as error:
            raise TeeError(f"simulated hardware does not answer: {error}") from error
        if answer is None or "error" in answer:
            raise TeeError(f"simulated hardware refused: {(answer or {}).get('error', 'closed')}")
        return answer


def _connect(address: str) -> socket.socket:
    kind, _, where = address.partition(":")
    try:
        if kind == "fd":
            return socket.socket(fileno=int(where))
        if kind == "unix":
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(where)
            except OSError:
                connection.close()
                raise
            return connection
    except (OSError, ValueError) as error:
        raise TeeError(f"simulated hardware at {address}: {error}") from error
    raise TeeError(f"{VARIABLE}: expected fd:<number> or unix:<path>, got {address}")


def _bytes(answer: dict[str, Any], name: str) -> bytes:
    value = answer.get(name)
    if not isinstance(value, str):
        raise TeeError(f"simulated hardware: expected {name}, got {type(value).__name__}")
    return base64.b64decode(value, validate=True)
