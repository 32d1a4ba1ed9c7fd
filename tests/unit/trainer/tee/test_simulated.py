"""Simulated hardware says what it is, and a guest chooses its report data and nothing else."""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.launch import serve_guest
from policies.attestation.der import pem_certificates
from policies.attestation.snp import verify_guest, verify_report
from policies.attestation.uvm import verify_endorsement
from policies.errors import DocumentError
from tests.simulator import NOW, machine
from trainer.tee.detect import open_tee
from trainer.tee.frames import MAX_FRAME_BYTES, receive_frame, send_frame
from trainer.tee.protocol import TeeError
from trainer.tee.simulated import UnsafeSimulatedTee

HOST_DATA = b"h" * 32


@contextmanager
def connected() -> Iterator[socket.socket]:
    """Yield the guest's end of a served socket."""
    ours, theirs = socket.socketpair()
    thread = threading.Thread(
        target=serve_guest, args=(ours,), kwargs={"machine": machine(), "host_data": HOST_DATA}
    )
    thread.start()
    try:
        yield theirs
    finally:
        theirs.close()
        thread.join(timeout=10)


@contextmanager
def tee() -> Iterator[UnsafeSimulatedTee]:
    with connected() as connection:
        opened = UnsafeSimulatedTee(f"fd:{connection.detach()}")
        try:
            yield opened
        finally:
            opened.close()


def test_evidence_of_the_simulated_machine_verifies_under_its_own_root() -> None:
    with tee() as room:
        report = room.report(b"d" * 64)
        chain = pem_certificates(room.certificates)
        [endorsement] = room.endorsements
    verified = verify_report(report, chain=chain, now=NOW, roots=machine().roots)
    guest = verify_guest(verified, report_data=b"d" * 64, host_data=HOST_DATA)
    endorsers = [machine().endorser]
    assert verify_endorsement(endorsement, measurement=guest.measurement, endorsers=endorsers)


def test_it_warns_when_it_is_built(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), tee():
        pass
    assert "protects nothing" in caplog.text


@pytest.mark.parametrize(
    "message",
    [
        {"op": "report", "reportData": "AAAA"},
        {"op": "report", "reportData": "!"},
        {"op": "report"},
        {"op": "report", "reportData": "A" * 86 + "==", "hostData": "00"},
        {"op": "report", "reportData": "A" * 86 + "==", "policy": 1 << 19},
        {"op": "debug"},
        {},
    ],
)
def test_a_guest_can_ask_for_nothing_else(message: dict[str, object]) -> None:
    with connected() as connection:
        send_frame(connection, message)
        answer = receive_frame(connection)
    assert answer is not None
    assert set(answer) == {"error"}


def test_report_data_of_another_length_are_refused() -> None:
    with tee() as room, pytest.raises(TeeError, match="64 bytes"):
        room.report(b"short")


def test_a_machine_that_is_gone_is_told() -> None:
    with tee() as room:
        room.close()
        with pytest.raises(TeeError, match="does not answer"):
            room.report(bytes(64))


@pytest.mark.parametrize("address", ["", "fd:x", "fd:99999", "tcp:1", "unix:/nonexistent/socket"])
def test_an_address_where_nobody_is_is_refused(address: str) -> None:
    with pytest.raises(TeeError):
        open_tee({"DEPA_UNSAFE_TEE": address})


def test_a_socket_in_the_file_system_is_an_address_too(tmp_path: Path) -> None:
    path = tmp_path / "tee"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            connection, _ = listener.accept()
            serve_guest(connection, machine=machine(), host_data=HOST_DATA)

        thread = threading.Thread(target=accept)
        thread.start()
        room = UnsafeSimulatedTee(f"unix:{path}")
        assert len(room.report(bytes(64))) == 1184
        room.close()
        thread.join(timeout=10)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (struct.pack(">I", MAX_FRAME_BYTES + 1), TeeError),
        (struct.pack(">I", 10) + b"{}", TeeError),
        (b"\0\0", TeeError),
        (struct.pack(">I", 2) + b"[]", TeeError),
        (struct.pack(">I", 2) + b"{{", DocumentError),
    ],
)
def test_a_broken_frame_is_refused(data: bytes, error: type[Exception]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(error):
            receive_frame(ours)


def test_a_broken_frame_ends_the_connection_only() -> None:
    with connected() as connection:
        connection.sendall(struct.pack(">I", MAX_FRAME_BYTES + 1))
        assert connection.recv(1) == b""
    with tee() as room:
        assert json.dumps(len(room.report(bytes(64)))) == "1184"
