"""The SEV-SNP attestation report: 1184 bytes, little endian (AMD 56860, table ATTESTATION_REPORT).

Reading says nothing about who signed it: that is `policies.attestation.snp`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from policies.errors import EvidenceError

REPORT_BYTES: Final = 0x4A0
SIGNED_BYTES: Final = 0x2A0
VERSIONS: Final = (2, 3, 5)
_ECDSA_P384_SHA384: Final = 1
_SIGNING_KEYS: Final = {0: "VCEK", 1: "VLEK", 7: "none"}

_POLICY_RESERVED_ONE: Final = 1 << 17
_POLICY_KNOWN: Final = (1 << 26) - 1


@dataclass(frozen=True)
class Tcb:
    """Security version numbers of the platform's firmware."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int = 0
    """Only Turin has one; 0 elsewhere."""

    @classmethod
    def read(cls, value: bytes, *, product: str) -> Tcb:
        """Read the eight bytes of a TCB_VERSION; Turin orders them differently."""
        if product == "Turin":
            return cls(
                fmc=value[0], bootloader=value[1], tee=value[2], snp=value[3], microcode=value[7]
            )
        return cls(bootloader=value[0], tee=value[1], snp=value[6], microcode=value[7])

    def at_least(self, other: Tcb) -> bool:
        """Say whether no component is older than in `other`."""
        return all(
            mine >= theirs
            for mine, theirs in (
                (self.bootloader, other.bootloader),
                (self.tee, other.tee),
                (self.snp, other.snp),
                (self.microcode, other.microcode),
                (self.fmc, other.fmc),
            )
        )


@dataclass(frozen=True)
class Report:
    """A parsed, unverified report. TCB fields stay raw: their layout depends on the product."""

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    current_tcb: bytes
    platform_info: int
    author_key_enabled: bool
    chip_key_masked: bool
    signing_key: str
    """`VCEK`, `VLEK` or `none`."""
    report_data: bytes
    """64 bytes chosen by the guest."""
    measurement: bytes
    """48 bytes: the launch digest of the guest's memory."""
    host_data: bytes
    """32 bytes chosen by the host at launch."""
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    cpuid: tuple[int, int, int] | None
    """Family, model, stepping; absent in version 2."""
    chip_id: bytes
    committed_tcb: bytes
    current_version: tuple[int, int, int]
    """Major, minor, build of the running firmware."""
    committed_version: tuple[int, int, int]
    launch_tcb: bytes
    launch_mitigations: int
    current_mitigations: int
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    """DER, as ECDSA verifiers want it."""

    @property
    def debug_allowed(self) -> bool:
        """Whether the host may read and write the guest's memory."""
        return bool(self.policy >> 19 & 1)

    @property
    def migration_allowed(self) -> bool:
        """Whether a migration agent may take the guest elsewhere."""
        return bool(self.policy >> 18 & 1)

    @property
    def smt_allowed(self) -> bool:
        """Whether the guest may share a core with another thread."""
        return bool(self.policy >> 16 & 1)


def parse_report(data: bytes) -> Report:
    """Read a report.

    Raises:
        EvidenceError: if it has another size, version or algorithm, or a reserved byte is set.
    """
    version = _check_form(data)
    flags = _u32(data, 0x048)
    signing_key = _SIGNING_KEYS.get(flags >> 2 & 7)
    if signing_key is None:
        raise EvidenceError("snp.signing_key", expected="0, 1 or 7", got=flags >> 2 & 7)
    return Report(
        version=version,
        guest_svn=_u32(data, 0x004),
        policy=_u64(data, 0x008),
        family_id=data[0x010:0x020],
        image_id=data[0x020:0x030],
        vmpl=_u32(data, 0x030),
        current_tcb=data[0x038:0x040],
        platform_info=_u64(data, 0x040),
        author_key_enabled=bool(flags & 1),
        chip_key_masked=bool(flags & 2),
        signing_key=signing_key,
        report_data=data[0x050:0x090],
        measurement=data[0x090:0x0C0],
        host_data=data[0x0C0:0x0E0],
        id_key_digest=data[0x0E0:0x110],
        author_key_digest=data[0x110:0x140],
        report_id=data[0x140:0x160],
        report_id_ma=data[0x160:0x180],
        reported_tcb=data[0x180:0x188],
        cpuid=(data[0x188], data[0x189], data[0x18A]) if version >= 3 else None,
        chip_id=data[0x1A0:0x1E0],
        committed_tcb=data[0x1E0:0x1E8],
        current_version=(data[0x1EA], data[0x1E9], data[0x1E8]),
        committed_version=(data[0x1EE], data[0x1ED], data[0x1EC]),
        launch_tcb=data[0x1F0:0x1F8],
        launch_mitigations=_u64(data, 0x1F8),
        current_mitigations=_u64(data, 0x200),
        signed=data[:SIGNED_BYTES],
        signature=encode_dss_signature(
            int.from_bytes(data[0x2A0:0x2E8], "little"), int.from_bytes(data[0x2E8:0x330], "little")
        ),
    )


def _check_form(data: bytes) -> int:
    if len(data) != REPORT_BYTES:
        raise EvidenceError("snp.length", expected=REPORT_BYTES, got=len(data))
    version = _u32(data, 0x000)
    if version not in VERSIONS:
        raise EvidenceError("snp.version", expected=f"one of {VERSIONS}", got=version)
    if _u32(data, 0x034) != _ECDSA_P384_SHA384:
        raise EvidenceError(
            "snp.signature_algorithm", expected=_ECDSA_P384_SHA384, got=_u32(data, 0x034)
        )
    _check_reserved(data, version)
    return version


def _check_reserved(data: bytes, version: int) -> None:
    # A byte that no version of the format defines could carry a meaning that this reader does not
    # know.
    reserved = [
        (0x04C, 0x050),
        (0x18B if version >= 3 else 0x188, 0x1A0),
        (0x1EB, 0x1EC),
        (0x1EF, 0x1F0),
    ]
    reserved += [(0x208 if version >= 5 else 0x1F8, 0x2A0)]
    # P-384 integers take 48 of the 72 bytes; what follows the signature is padding.
    reserved += [(0x2D0, 0x2E8), (0x318, 0x330), (0x330, REPORT_BYTES)]
    for start, end in reserved:
        if any(data[start:end]):
            raise EvidenceError(
                "snp.reserved", expected=f"zeros at 0x{start:03x}..0x{end:03x}", got="other bytes"
            )
    if _u32(data, 0x048) >> 5:
        raise EvidenceError(
            "snp.reserved", expected="zero bits 5.. at 0x048", got=hex(_u32(data, 0x048))
        )
    policy = _u64(data, 0x008)
    if not policy & _POLICY_RESERVED_ONE or policy & ~_POLICY_KNOWN:
        raise EvidenceError("snp.policy", expected="bit 17 set, bits 26.. clear", got=hex(policy))


def _u32(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def _u64(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 8], "little")
