"""Which reports are believed: signed by AMD hardware, on the chip and firmware that the
certificate names."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA256

from policies.attestation.amd import AMD_ROOTS, OID_PRODUCT, TCB_OIDS, verify_chain
from policies.attestation.der import pem_certificates
from policies.attestation.report import Tcb
from policies.attestation.snp import VerifiedReport, verify_guest, verify_report
from policies.errors import EvidenceError
from tests import snp_vectors
from tests.amd_pki import CHIP, TCB, Pki, rsa_key, signed_report
from tests.simulator import NOW, refusal


def verify(report: bytes, pki: Pki | None = None) -> VerifiedReport:
    pki = pki or Pki()
    return verify_report(report, chain=pki.chain(), now=NOW, roots=pki.roots())


def chain_refusal(pki: Pki) -> str:
    roots = pki.roots()
    return refusal(lambda: verify_chain(pki.chain(), now=NOW, roots=roots))


@pytest.mark.parametrize("vector", [snp_vectors.aci_v2, snp_vectors.aci_v3])
def test_reports_of_real_machines_are_believed(vector: object) -> None:
    evidence = vector()  # type: ignore[operator]
    chain = pem_certificates(evidence.certificates)
    verified = verify_report(evidence.report, chain=chain, now=snp_vectors.NOW)
    assert verified.endorsed_by.kind == "VCEK"
    assert verified.endorsed_by.product == "Milan"
    assert verify_guest(verified).host_data == verified.report.host_data


def test_every_signed_bit_of_a_real_report_counts() -> None:
    evidence = snp_vectors.aci_v3()
    chain = pem_certificates(evidence.certificates)
    for offset in (0x004, 0x010, 0x050, 0x090, 0x0C0, 0x140, 0x1A0, 0x1E8, 0x2A0, 0x2E8):
        data = bytearray(evidence.report)
        data[offset] ^= 1
        with pytest.raises(EvidenceError):
            verify_report(bytes(data), chain=chain, now=snp_vectors.NOW)


@pytest.mark.parametrize("line", ["milan", "genoa", "turin"])
def test_the_pinned_roots_are_the_ones_that_amd_publishes(line: str) -> None:
    bundle = (snp_vectors.FOLDER / f"amd-{line}-ask-ark-asvk.pem").read_bytes()
    _, ark, _ = pem_certificates(bundle)
    assert AMD_ROOTS[sha256(ark).hexdigest()] == line.capitalize()


def test_a_chain_to_an_unpinned_root_is_refused() -> None:
    chain = Pki().chain()
    assert refusal(lambda: verify_chain(chain, now=NOW)) == "amd.root"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_shortened_chain_is_refused(count: int) -> None:
    chain = Pki().chain()[:count]
    assert refusal(lambda: verify_chain(chain, now=NOW, roots=Pki().roots())) == "amd.chain"


def test_a_lengthened_chain_is_refused() -> None:
    chain = (*Pki().chain(), Pki().chain()[2])
    assert refusal(lambda: verify_chain(chain, now=NOW, roots=Pki().roots())) == "amd.chain"


@pytest.mark.parametrize(
    ("pki", "claim"),
    [
        (Pki(leaf_issuer="SEV-Genoa"), "amd.issuer"),
        (Pki(leaf_padding=padding.PKCS1v15()), "amd.algorithm"),
        (
            Pki(leaf_padding=padding.PSS(padding.MGF1(SHA256()), 32), leaf_hash=SHA256()),
            "amd.signature",
        ),
        (Pki(valid=(NOW - timedelta(days=2), NOW - timedelta(days=1))), "amd.validity"),
        (Pki(valid=(NOW + timedelta(days=1), NOW + timedelta(days=2))), "amd.validity"),
        (Pki(leaf_name="SEV-Milan"), "amd.leaf"),
        (Pki(intermediate_name="SEV-Genoa"), "amd.intermediate"),
        (Pki(leaf_name="SEV-VLEK", intermediate_name="SEV-Milan"), "amd.intermediate"),
        (Pki(intermediate_ca=False), "amd.intermediate"),
        (Pki(product=b"\x16\x05Genoa"), "amd.product"),
        (Pki(product=b"\x0c\x05Milan"), "certificate.der"),
        (Pki(without=(OID_PRODUCT,)), "amd.extension"),
        (Pki(without=(TCB_OIDS["microcode"],)), "amd.extension"),
        (Pki(tcb=replace(TCB, snp=256)), "amd.tcb"),
        (Pki(root_bits=2048), "amd.key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "chain",
)
def test_a_defective_chain_is_refused(pki: Pki, claim: str) -> None:
    assert chain_refusal(pki) == claim


def test_a_leaf_signed_by_somebody_else_is_refused() -> None:
    assert chain_refusal(Pki(leaf_signer=rsa_key(3, 4096))) == "amd.signature"


def test_a_leaf_key_on_another_curve_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert chain_refusal(Pki(leaf_public_key=key)) == "amd.key"


def test_a_certificate_with_trailing_bytes_is_refused() -> None:
    leaf, intermediate, root = Pki().chain()
    roots = Pki().roots()
    chain = (leaf + b"\0", intermediate, root)
    assert refusal(lambda: verify_chain(chain, now=NOW, roots=roots)) == "certificate.der"


def test_an_oversized_certificate_is_refused() -> None:
    _, intermediate, root = Pki().chain()
    chain = (bytes(20_000), intermediate, root)
    assert refusal(lambda: verify_chain(chain, now=NOW, roots=Pki().roots())) == "amd.certificate"


def test_a_synthetic_report_is_believed() -> None:
    assert verify(signed_report()).reported_tcb == TCB


def test_a_report_with_another_signature_is_refused() -> None:
    data = signed_report((0x2A0, bytes(48)), (0x2E8, bytes(48)))
    assert refusal(lambda: verify(data)) == "snp.signature"
    other = bytearray(signed_report())
    other[0x050] ^= 1
    assert refusal(lambda: verify(bytes(other))) == "snp.signature"


def test_a_report_of_another_chip_is_refused() -> None:
    assert refusal(lambda: verify(signed_report(chip_id=b"x" * 64))) == "snp.chip_id"
    assert refusal(lambda: verify(signed_report(), Pki(chip=b"x" * 64))) == "snp.chip_id"
    assert refusal(lambda: verify(signed_report(), Pki(chip=None))) == "snp.chip_id"


def test_a_masked_chip_id_proves_no_chip() -> None:
    data = signed_report((0x1A0, bytes(64)))
    assert refusal(lambda: verify(data, Pki(chip=bytes(64)))) == "snp.chip_id"


def test_a_chip_id_may_be_wrapped_as_the_specification_says() -> None:
    assert verify(signed_report(), Pki(chip=b"\x04\x40" + CHIP)).endorsed_by.hardware_id == CHIP


@pytest.mark.parametrize("part", ["bootloader", "tee", "snp", "microcode"])
def test_a_report_at_another_firmware_level_is_refused(part: str) -> None:
    stale = replace(TCB, **{part: getattr(TCB, part) + 1})
    assert refusal(lambda: verify(signed_report(), Pki(tcb=stale))) == "snp.reported_tcb"


def test_firmware_that_was_rolled_back_is_refused() -> None:
    older = replace(TCB, snp=TCB.snp - 1)
    data = signed_report(committed_tcb=older, current_tcb=TCB)
    assert refusal(lambda: verify(data)) == "snp.committed_tcb"
    data = signed_report(committed_tcb=TCB, current_tcb=older)
    assert refusal(lambda: verify(data)) == "snp.current_tcb"


def test_firmware_newer_than_reported_is_believed() -> None:
    newer = replace(TCB, snp=TCB.snp + 1)
    assert verify(signed_report(committed_tcb=newer, current_tcb=newer)).reported_tcb == TCB


def test_a_report_of_another_product_line_is_refused() -> None:
    assert refusal(lambda: verify(signed_report((0x188, b"\x19\x11\x01")))) == "snp.product"
    assert verify(signed_report((0x188, b"\x19\x11\x01")), Pki(line="Genoa"))


def test_a_turin_report_is_read_in_turins_order() -> None:
    tcb = Tcb(fmc=1, bootloader=2, tee=3, snp=4, microcode=8)
    level = bytes((1, 2, 3, 4, 0, 0, 0, 8))
    chip = b"chip-id8"
    patches = [(offset, level) for offset in (0x038, 0x180, 0x1E0)]
    data = signed_report(*patches, (0x188, b"\x1a\x02\x00"), (0x1A0, chip.ljust(64, b"\0")))
    assert verify(data, Pki(line="Turin", tcb=tcb, chip=chip)).reported_tcb == tcb
    other = replace(tcb, fmc=2)
    claim = refusal(lambda: verify(data, Pki(line="Turin", tcb=other, chip=chip)))
    assert claim == "snp.reported_tcb"


def test_a_report_signed_by_a_providers_key_needs_no_chip() -> None:
    pki = Pki(leaf_name="SEV-VLEK", provider=b"\x16\x08CN=cloud")
    data = signed_report((0x048, b"\x04"), (0x1A0, bytes(64)))
    verified = verify(data, pki)
    assert (verified.endorsed_by.kind, verified.endorsed_by.provider) == ("VLEK", "CN=cloud")


def test_the_key_must_be_of_the_kind_that_the_report_says() -> None:
    pki = Pki(leaf_name="SEV-VLEK")
    assert refusal(lambda: verify(signed_report(), pki)) == "snp.signing_key"
    assert refusal(lambda: verify(signed_report((0x048, b"\x04")))) == "snp.signing_key"
    assert refusal(lambda: verify(signed_report((0x048, b"\x1c")))) == "snp.signing_key"


def test_a_guest_that_can_be_debugged_is_refused() -> None:
    verified = verify(signed_report(policy=0x3001F | 1 << 19))
    assert refusal(lambda: verify_guest(verified)) == "snp.debug"


def test_a_guest_that_can_be_moved_is_refused() -> None:
    verified = verify(signed_report(policy=0x3001F | 1 << 18))
    assert refusal(lambda: verify_guest(verified)) == "snp.migration"


def test_a_guest_at_another_privilege_level_is_refused() -> None:
    verified = verify(signed_report(vmpl=1))
    assert refusal(lambda: verify_guest(verified)) == "snp.vmpl"
    assert verify_guest(verified, vmpl=1)


def test_a_guest_below_the_firmware_floor_is_refused() -> None:
    verified = verify(signed_report())
    floor = replace(TCB, microcode=TCB.microcode + 1)
    assert refusal(lambda: verify_guest(verified, minimum_tcb=floor)) == "snp.tcb"
    assert verify_guest(verified, minimum_tcb=TCB)


@pytest.mark.parametrize(
    ("field", "size"), [("report_data", 64), ("host_data", 32), ("measurement", 48)]
)
def test_a_guest_with_other_data_is_refused(field: str, size: int) -> None:
    verified = verify(signed_report(**{field: b"a" * size}))
    assert verify_guest(verified, **{field: b"a" * size})  # type: ignore[arg-type]
    claim = refusal(lambda: verify_guest(verified, **{field: b"b" * size}))  # type: ignore[arg-type]
    assert claim == f"snp.{field}"
    # A prefix is not enough.
    assert refusal(lambda: verify_guest(verified, **{field: b"a"})) == f"snp.{field}"  # type: ignore[arg-type]
