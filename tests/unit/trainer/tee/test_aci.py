"""The structures of Linux and AMD, and the security context of a real container group."""

from __future__ import annotations

import base64
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from policies.attestation.der import pem_certificates
from policies.attestation.snp import verify_report
from policies.attestation.uvm import MICROSOFT_UVM, Endorser, verify_endorsement
from tests.snp_vectors import FOLDER, NOW, aci_v2
from trainer.tee.aci import (
    RESPONSE_BYTES,
    SNP_GET_REPORT,
    AciTee,
    SevGuest,
    pack_ioctl,
    pack_request,
    unpack_response,
)
from trainer.tee.detect import open_tee
from trainer.tee.protocol import TeeError


@dataclass
class RecordedGuest:
    """A secure processor that answers with a recorded report."""

    status: int = 0
    size: int = 1184

    def get_report(self, request: bytes) -> bytes:
        assert len(request) == 96
        answer = struct.pack("<II24x", self.status, self.size) + aci_v2().report
        return answer.ljust(RESPONSE_BYTES, b"\0")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    source = FOLDER / "aci-v2"
    for name, file in (
        ("host-amd-cert-base64", "uvm_host_amd_certificate.json"),
        ("reference-info-base64", "body.uvm_reference_info.bin"),
    ):
        (tmp_path / name).write_bytes(base64.b64encode((source / file).read_bytes()) + b"\n")
    shutil.copy(source / "uvm_security_policy.base64", tmp_path / "security-policy-base64")
    return tmp_path


def test_evidence_of_a_recorded_group_is_believed(context: Path) -> None:
    tee = AciTee(context, guest=RecordedGuest())
    chain = pem_certificates(tee.certificates)
    verified = verify_report(tee.report(bytes(64)), chain=chain, now=NOW)
    [endorsement] = tee.endorsements
    endorser = Endorser(MICROSOFT_UVM.issuer, MICROSOFT_UVM.feed, 22)
    measurement = verified.report.measurement
    assert verify_endorsement(endorsement, measurement=measurement, endorsers=[endorser]).svn == 22


def test_the_request_has_the_layout_of_the_kernel() -> None:
    request = pack_request(b"d" * 64, vmpl=1)
    assert (len(request), request[:64], request[64:68]) == (96, b"d" * 64, b"\x01\0\0\0")
    command = pack_ioctl(request_address=0x1122, response_address=0x3344)
    assert len(command) == 32
    assert (command[0], command[8:10], command[16:18]) == (1, b"\x22\x11", b"\x44\x33")
    # _IOWR('S', 0, 32 bytes)
    assert (3 << 30 | 32 << 16 | ord("S") << 8) == SNP_GET_REPORT


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_report_data_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(TeeError, match="64 bytes"):
        pack_request(bytes(size))


def test_a_failure_of_the_secure_processor_is_told() -> None:
    for guest, message in ((RecordedGuest(status=0x16), "0x16"), (RecordedGuest(size=7), "got 7")):
        answer = guest.get_report(pack_request(bytes(64)))
        with pytest.raises(TeeError, match=message):
            unpack_response(answer)
    with pytest.raises(TeeError, match="4000"):
        unpack_response(bytes(96))


def test_a_machine_without_the_device_says_so(tmp_path: Path) -> None:
    with pytest.raises(TeeError, match="cannot be opened"):
        SevGuest(tmp_path / "sev-guest").get_report(pack_request(bytes(64)))


def test_a_device_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "sev-guest").touch()
    with pytest.raises(TeeError, match="SNP_GET_REPORT failed"):
        SevGuest(tmp_path / "sev-guest").get_report(pack_request(bytes(64)))


@pytest.mark.parametrize("name", ["host-amd-cert-base64", "reference-info-base64"])
@pytest.mark.parametrize("content", [None, b"!", b"A" * 300_000])
def test_a_broken_context_is_refused(context: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (context / name).unlink()
    else:
        (context / name).write_bytes(content)
    with pytest.raises(TeeError, match=name):
        AciTee(context, guest=RecordedGuest())


@pytest.mark.parametrize("document", [b"[]", b"{", b'{"vcekCert":"a"}', b'{"vcekCert":1}'])
def test_host_certificates_of_another_form_are_refused(context: Path, document: bytes) -> None:
    (context / "host-amd-cert-base64").write_bytes(base64.b64encode(document))
    with pytest.raises(TeeError, match="host-amd-cert"):
        AciTee(context, guest=RecordedGuest())


def test_the_environment_says_which_hardware_it_is(context: Path) -> None:
    tee = open_tee({"UVM_SECURITY_CONTEXT_DIR": str(context)})
    assert pem_certificates(tee.certificates)
    with pytest.raises(TeeError, match="no confidential hardware"):
        open_tee({})
