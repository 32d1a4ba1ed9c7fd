"""The hardware of an Azure confidential container group: `/dev/sev-guest` and the security context.

The request and response are those of Linux, `include/uapi/linux/sev-guest.h`, and of AMD 56860,
MSG_REPORT_REQ and MSG_REPORT_RSP.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import fcntl
import os
import struct
from pathlib import Path
from typing import Any, Final, Protocol

from policies.attestation.report import REPORT_BYTES
from policies.errors import DocumentError
from policies.wire.base import load_json
from trainer.tee.protocol import TeeError

DEVICE: Final = Path("/dev/sev-guest")
CONTEXT_VARIABLE: Final = "UVM_SECURITY_CONTEXT_DIR"
SNP_GET_REPORT: Final = 0xC0205300
"""_IOWR('S', 0x0, struct snp_guest_request_ioctl), whose size is 32."""
RESPONSE_BYTES: Final = 4000
_MAX_CONTEXT_BYTES: Final = 256 * 1024
_RESPONSE_HEADER: Final = struct.Struct("<II24x")


class Guest(Protocol):
    """Whatever passes a request to the AMD secure processor."""

    def get_report(self, request: bytes) -> bytes:
        """Return the 4000-byte answer to a 96-byte SNP_GET_REPORT request."""
        ...


def pack_request(report_data: bytes, *, vmpl: int = 0) -> bytes:
    """Return `struct snp_report_req`.

    Raises:
        TeeError: if the data are not 64 bytes.
    """
    if len(report_data) != 64:
        raise TeeError(f"report data: expected 64 bytes, got {len(report_data)}")
    return struct.pack("<64sI28x", report_data, vmpl)


def pack_ioctl(*, request_address: int, response_address: int) -> bytes:
    """Return `struct snp_guest_request_ioctl` for message version 1."""
    return struct.pack("<B7xQQQ", 1, request_address, response_address, 0)


def unpack_response(response: bytes) -> bytes:
    """Return the report inside `struct snp_report_resp`.

    Raises:
        TeeError: if the secure processor reports a failure or another size.
    """
    if len(response) != RESPONSE_BYTES:
        raise TeeError(f"SNP report: expected {RESPONSE_BYTES} bytes, got {len(response)}")
    status, size = _RESPONSE_HEADER.unpack_from(response)
    if status != 0:
        raise TeeError(f"SNP report: expected status 0, got {status:#x}")
    if size != REPORT_BYTES:
        raise TeeError(f"SNP report: expected {REPORT_BYTES} bytes, got {size}")
    return response[_RESPONSE_HEADER.size : _RESPONSE_HEADER.size + size]


class SevGuest:
    """The kernel's guest device."""

    def __init__(self, device: Path = DEVICE) -> None:
        self._device = device

    def get_report(self, request: bytes) -> bytes:
        """Ask the kernel; the buffers live until the call returns."""
        asked = ctypes.create_string_buffer(request, len(request))
        answered = ctypes.create_string_buffer(RESPONSE_BYTES)
        command = bytearray(
            pack_ioctl(
                request_address=ctypes.addressof(asked), response_address=ctypes.addressof(answered)
            )
        )
        try:
            descriptor = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise TeeError(
                f"{self._device} cannot be opened: {error.strerror}",
                hint="the container group must be confidential (sku Confidential)",
            ) from error
        try:
            fcntl.ioctl(descriptor, SNP_GET_REPORT, command)
        except OSError as error:
            code = int.from_bytes(command[24:32], "little")
            raise TeeError(
                f"SNP_GET_REPORT failed: {error.strerror}, firmware {code:#x}"
            ) from error
        finally:
            os.close(descriptor)
        return answered.raw


class AciTee:
    """A confidential container group.

    Args:
        context: Folder of the security context, from the variable `UVM_SECURITY_CONTEXT_DIR`.
        guest: Who asks the secure processor.
    """

    def __init__(self, context: Path, *, guest: Guest | None = None) -> None:
        self._guest = guest or SevGuest()
        self._certificates = _read_certificates(context / "host-amd-cert-base64")
        self._endorsements = (_read_base64(context / "reference-info-base64"),)

    def report(self, report_data: bytes) -> bytes:
        """Return a report of the secure processor over 64 bytes."""
        return unpack_response(self._guest.get_report(pack_request(report_data)))

    @property
    def certificates(self) -> bytes:
        """PEM chain that the host fetched from AMD for this machine."""
        return self._certificates

    @property
    def endorsements(self) -> tuple[bytes, ...]:
        """Microsoft's statement about the utility VM."""
        return self._endorsements


def _read_base64(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_CONTEXT_BYTES + 1)
    except OSError as error:
        raise TeeError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > _MAX_CONTEXT_BYTES:
        raise TeeError(f"{path}: expected at most {_MAX_CONTEXT_BYTES} bytes")
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raise TeeError(f"{path}: expected base64") from None


def _read_certificates(path: Path) -> bytes:
    try:
        document: Any = load_json(_read_base64(path), kind="host certificates")
    except DocumentError as error:
        raise TeeError(f"{path}: {error}") from None
    fields = document if isinstance(document, dict) else {}
    leaf, chain = fields.get("vcekCert"), fields.get("certificateChain")
    if not isinstance(leaf, str) or not isinstance(chain, str):
        raise TeeError(f"{path}: expected vcekCert and certificateChain")
    return f"{leaf.rstrip()}\n{chain.rstrip()}\n".encode("ascii", "replace")
