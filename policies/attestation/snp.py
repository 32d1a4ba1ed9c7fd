"""Verify that a report was signed by AMD hardware, and that the guest is one that may be trusted.

`verify_report` decides about the hardware: chain, signature, chip and firmware level.
`verify_guest` decides about what
runs on it. A caller needs both; an attestation service that only reports claims needs the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384

from policies.attestation.amd import AMD_ROOTS, EndorsementKey, verify_chain
from policies.attestation.report import Report, Tcb, parse_report
from policies.errors import EvidenceError

RUNTIME_TAIL: Final = bytes(32)
"""What follows the SHA-256 of the runtime data in REPORT_DATA."""


@dataclass(frozen=True)
class VerifiedReport:
    """A report whose signature, chain, chip and firmware level hold."""

    report: Report
    endorsed_by: EndorsementKey
    reported_tcb: Tcb


def verify_report(
    data: bytes, *, chain: Sequence[bytes], now: datetime, roots: Mapping[str, str] = AMD_ROOTS
) -> VerifiedReport:
    """Return the report if AMD hardware under a pinned root signed it.

    Args:
        data: The 1184 bytes.
        chain: DER certificates: VCEK or VLEK, ASK or ASVK, ARK.
        now: Instant at which the chain must be valid.
        roots: Pinned roots, see `verify_chain`.

    Raises:
        EvidenceError: naming the first thing that does not hold.
    """
    report = parse_report(data)
    # (1) The chain ends in a pinned root.
    key = verify_chain(chain, now=now, roots=roots)
    # (2) The kind of key is the one that the report says it was signed with.
    if report.signing_key != key.kind:
        raise EvidenceError("snp.signing_key", expected=report.signing_key, got=key.kind)
    # (3) The signature covers all that precedes it.
    try:
        key.public_key.verify(report.signature, report.signed, ec.ECDSA(SHA384()))
    except InvalidSignature:
        raise EvidenceError(
            "snp.signature", expected=f"signed by the {key.kind}", got="an invalid signature"
        ) from None
    # (4) The key is of this chip, at this firmware level.
    _bind_chip(report, key)
    reported = _bind_tcb(report, key)
    return VerifiedReport(report, key, reported)


def verify_guest(
    verified: VerifiedReport,
    *,
    report_data: bytes | None = None,
    host_data: bytes | None = None,
    measurement: bytes | None = None,
    minimum_tcb: Tcb | None = None,
    vmpl: int = 0,
) -> Report:
    """Return the report if the guest can not be read or moved, and is the one expected.

    Args:
        verified: What `verify_report` returned.
        report_data: The 64 bytes that must stand in it; None if the caller checks them.
        host_data: The 32 bytes of the launch policy's digest; None if the caller checks them.
        measurement: The 48 bytes of the launch digest; None if endorsements vouch for it.
        minimum_tcb: No component may be older.
        vmpl: The privilege level that the report must come from; 0 is the highest.

    Raises:
        EvidenceError: naming the first thing that does not hold.
    """
    report = verified.report
    if report.debug_allowed:
        raise EvidenceError("snp.debug", expected=False, got=True)
    if report.migration_allowed:
        raise EvidenceError("snp.migration", expected=False, got=True)
    if report.vmpl != vmpl:
        raise EvidenceError("snp.vmpl", expected=vmpl, got=report.vmpl)
    if minimum_tcb is not None and not verified.reported_tcb.at_least(minimum_tcb):
        raise EvidenceError(
            "snp.tcb", expected=f"at least {minimum_tcb}", got=verified.reported_tcb
        )
    for claim, expected, got in (
        ("snp.report_data", report_data, report.report_data),
        ("snp.host_data", host_data, report.host_data),
        ("snp.measurement", measurement, report.measurement),
    ):
        if expected is not None and expected != got:
            raise EvidenceError(claim, expected=expected.hex(), got=got.hex())
    return report


def _bind_chip(report: Report, key: EndorsementKey) -> None:
    if key.kind == "VLEK":
        return  # A provider's key names no chip; the report's chip id may be masked.
    if key.hardware_id is None:
        raise EvidenceError(
            "snp.chip_id", expected=report.chip_id.hex(), got="a VCEK without a chip"
        )
    # Turin's chip id is 8 bytes long, the rest of the field is zero.
    if key.hardware_id.ljust(64, b"\0") != report.chip_id or not any(key.hardware_id):
        raise EvidenceError("snp.chip_id", expected=key.hardware_id.hex(), got=report.chip_id.hex())


_CPUID_PRODUCTS: Final = (
    # family, first and last model, product line (AMD PPRs)
    (0x19, 0x00, 0x0F, "Milan"),
    (0x19, 0x10, 0x1F, "Genoa"),
    (0x19, 0xA0, 0xAF, "Genoa"),
    (0x1A, 0x00, 0x1F, "Turin"),
)


def _bind_tcb(report: Report, key: EndorsementKey) -> Tcb:
    if report.cpuid is not None:
        family, model, _ = report.cpuid
        lines = [
            line
            for fam, low, high, line in _CPUID_PRODUCTS
            if fam == family and low <= model <= high
        ]
        if key.product not in lines:
            raise EvidenceError(
                "snp.product", expected=key.product, got=f"CPUID {family:#x}/{model:#x}"
            )
    reported = Tcb.read(report.reported_tcb, product=key.product)
    if reported != key.tcb:
        raise EvidenceError("snp.reported_tcb", expected=key.tcb, got=reported)
    committed = Tcb.read(report.committed_tcb, product=key.product)
    current = Tcb.read(report.current_tcb, product=key.product)
    if not committed.at_least(reported):
        raise EvidenceError("snp.committed_tcb", expected=f"at least {reported}", got=committed)
    if not current.at_least(committed):
        raise EvidenceError("snp.current_tcb", expected=f"at least {committed}", got=current)
    return reported
