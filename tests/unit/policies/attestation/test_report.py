"""Reading a report: every byte has a meaning or is zero."""

from __future__ import annotations

import hashlib

import pytest

from policies.attestation.report import REPORT_BYTES, Tcb, parse_report
from tests.amd_pki import CHIP, TCB, signed_report
from tests.simulator import refusal
from tests.snp_vectors import aci_v2, aci_v3


def test_a_real_report_of_version_3_is_read() -> None:
    report = parse_report(aci_v3().report)
    assert report.version == 3
    assert report.cpuid == (0x19, 0x01, 0x01)
    assert report.vmpl == 0
    assert report.guest_svn == 2
    assert report.policy == 0x3001F
    assert report.platform_info == 0x25
    assert report.signing_key == "VCEK"
    assert report.current_version == (1, 55, 29)
    assert report.host_data == hashlib.sha256(aci_v3().policy).digest()
    assert Tcb.read(report.reported_tcb, product="Milan") == Tcb(4, 0, 24, 219)
    assert not report.debug_allowed
    assert not report.migration_allowed
    assert report.smt_allowed


def test_a_real_report_of_version_2_is_read() -> None:
    report = parse_report(aci_v2().report)
    assert report.version == 2
    assert report.cpuid is None
    assert report.host_data == hashlib.sha256(aci_v2().policy).digest()
    # The host's certificate service calls the same level 7308000000000003.
    assert report.reported_tcb[::-1].hex() == "7308000000000003"


def test_turin_orders_its_firmware_levels_differently() -> None:
    levels = bytes((1, 2, 3, 4, 0, 0, 0, 8))
    turin = Tcb.read(levels, product="Turin")
    assert turin == Tcb(fmc=1, bootloader=2, tee=3, snp=4, microcode=8)
    assert Tcb.read(levels, product="Genoa") == Tcb(bootloader=1, tee=2, snp=0, microcode=8)


@pytest.mark.parametrize("part", ["bootloader", "tee", "snp", "microcode", "fmc"])
def test_one_older_component_is_older(part: str) -> None:
    level = {"bootloader": 2, "tee": 2, "snp": 2, "microcode": 2, "fmc": 2}
    assert Tcb(**level).at_least(Tcb(**level))
    assert not Tcb(**{**level, part: 1}).at_least(Tcb(**level))


@pytest.mark.parametrize("size", [0, 1, REPORT_BYTES - 1, REPORT_BYTES + 1])
def test_another_length_is_refused(size: int) -> None:
    data = signed_report().ljust(size, b"\0")[:size]
    assert refusal(lambda: parse_report(data)) == "snp.length"


@pytest.mark.parametrize("version", [0, 1, 4, 6])
def test_another_version_is_refused(version: int) -> None:
    data = signed_report((0, version.to_bytes(4, "little")))
    assert refusal(lambda: parse_report(data)) == "snp.version"


def test_another_signature_algorithm_is_refused() -> None:
    data = signed_report((0x034, b"\x02"))
    assert refusal(lambda: parse_report(data)) == "snp.signature_algorithm"


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6])
def test_an_unknown_signing_key_is_refused(kind: int) -> None:
    data = signed_report((0x048, bytes((kind << 2,))))
    assert refusal(lambda: parse_report(data)) == "snp.signing_key"


@pytest.mark.parametrize(
    "offset",
    [0x04C, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x208, 0x29F, 0x2D0, 0x2E7, 0x318, 0x330, 0x49F],
)
def test_a_reserved_byte_that_is_set_is_refused(offset: int) -> None:
    data = signed_report((offset, b"\x01"))
    assert refusal(lambda: parse_report(data)) == "snp.reserved"


def test_version_5_has_fields_where_version_3_has_none() -> None:
    patches = ((0, b"\x05"), (0x1F8, b"\x07"), (0x200, b"\x09"))
    report = parse_report(signed_report(*patches))
    assert (report.launch_mitigations, report.current_mitigations) == (7, 9)


def test_version_2_has_no_processor_model() -> None:
    data = signed_report((0, b"\x02"), (0x188, b"\x19"))
    assert refusal(lambda: parse_report(data)) == "snp.reserved"


@pytest.mark.parametrize("policy", [0x1001F, 0x3001F | 1 << 26, 0x3001F | 1 << 63])
def test_a_guest_policy_with_undefined_bits_is_refused(policy: int) -> None:
    data = signed_report(policy=policy)
    assert refusal(lambda: parse_report(data)) == "snp.policy"


def test_key_flags_beyond_the_defined_ones_are_refused() -> None:
    data = signed_report((0x048, b"\x20"))
    assert refusal(lambda: parse_report(data)) == "snp.reserved"


def test_the_fields_of_a_synthetic_report_are_read_back() -> None:
    report = parse_report(signed_report(report_data=b"d" * 64, host_data=b"h" * 32))
    assert (report.report_data, report.host_data, report.chip_id) == (b"d" * 64, b"h" * 32, CHIP)
    assert Tcb.read(report.committed_tcb, product="Milan") == TCB
