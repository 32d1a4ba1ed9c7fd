"""Length-prefixed JSON between the clean room and simulated hardware: how one asks the other."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Final

from policies.wire.base import load_json
from trainer.tee.protocol import TeeError

MAX_FRAME_BYTES: Final = 256 * 1024
_LENGTH: Final = struct.Struct(">I")


def send_frame(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message."""
    data = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive_frame(connection: socket.socket) -> dict[str, Any] | None:
    """Return the next message, or None when the other side has closed.

    Raises:
        TeeError: if a message is too long or cut off.
        DocumentError: if it is not JSON.
    """
    header = _receive(connection, _LENGTH.size)
    if not header:
        return None
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise TeeError(f"frame: expected at most {MAX_FRAME_BYTES} bytes, got {length}")
    message = load_json(_receive(connection, length), kind="frame", limit=MAX_FRAME_BYTES)
    if not isinstance(message, dict):
        raise TeeError("frame: expected a JSON object")
    return message


def _receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            if data:
                raise TeeError(f"frame: expected {length} bytes, got {len(data)}")
            break
        data += more
    return data
