"""Certificates in the form of AMD's, for every product line and every defect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from deploy.local.hardware import ReportFields, _encode
from policies.attestation.amd import OID_FMC, OID_HARDWARE, OID_PRODUCT, OID_PROVIDER, TCB_OIDS
from policies.attestation.report import Tcb
from tests.simulator import NOW

CHIP = bytes(range(64))
TCB = Tcb(bootloader=4, tee=0, snp=24, microcode=0xD9)
PSS = padding.PSS(padding.MGF1(SHA384()), 48)


@cache
def rsa_key(number: int, bits: int) -> rsa.RSAPrivateKey:
    """Return one of a few keys that are made once a session."""
    return rsa.generate_private_key(65537, bits)


@cache
def leaf_key() -> ec.EllipticCurvePrivateKey:
    """Return the key of all leaves."""
    return ec.generate_private_key(ec.SECP384R1())


@dataclass(frozen=True)
class Pki:
    """A chain to be bent: whatever is given replaces what AMD would have written."""

    line: str = "Milan"
    leaf_name: str = "SEV-VCEK"
    intermediate_name: str | None = None
    product: bytes | None = None
    """DER of the product name."""
    tcb: Tcb = TCB
    chip: bytes | None = CHIP
    provider: bytes | None = None
    without: Sequence[str] = ()
    """Identifiers of extensions to leave out."""
    leaf_public_key: Any = None
    leaf_signer: rsa.RSAPrivateKey | None = None
    leaf_padding: Any = field(default_factory=lambda: PSS)
    leaf_hash: Any = field(default_factory=SHA384)
    leaf_issuer: str | None = None
    valid: tuple[datetime, datetime] = (NOW - timedelta(days=1), NOW + timedelta(days=1))
    intermediate_ca: bool = True
    root_bits: int = 4096

    def chain(self) -> tuple[bytes, bytes, bytes]:
        """Return leaf, intermediate and root in DER."""
        kind = "SEV-VLEK-" if self.leaf_name == "SEV-VLEK" else "SEV-"
        middle = self.intermediate_name or f"{kind}{self.line}"
        ark, bits = f"ARK-{self.line}", self.root_bits
        root = _authority(ark, ark, key=1, bits=bits, valid=self.valid, ca=True)
        intermediate = _authority(
            middle, ark, key=2, bits=bits, valid=self.valid, ca=self.intermediate_ca
        )
        builder = self._builder(self.leaf_name, self.leaf_issuer or middle).public_key(
            self.leaf_public_key or leaf_key().public_key()
        )
        for oid, value in self._extensions().items():
            if oid not in self.without:
                builder = builder.add_extension(
                    x509.UnrecognizedExtension(ObjectIdentifier(oid), value), critical=False
                )
        leaf = builder.sign(
            self.leaf_signer or rsa_key(2, 4096), self.leaf_hash, rsa_padding=self.leaf_padding
        )
        encoded = [item.public_bytes(Encoding.DER) for item in (leaf, intermediate, root)]
        return encoded[0], encoded[1], encoded[2]

    def roots(self) -> dict[str, str]:
        """Return the pin of this chain's root."""
        root = x509.load_der_x509_certificate(self.chain()[2])
        return {root.fingerprint(SHA256()).hex(): self.line}

    def _extensions(self) -> Mapping[str, bytes]:
        name = self.line.encode()
        found = {
            OID_PRODUCT: self.product or bytes((0x16, len(name))) + name,
            **{TCB_OIDS[part]: der_integer(getattr(self.tcb, part)) for part in TCB_OIDS},
        }
        if self.line == "Turin":
            found[OID_FMC] = der_integer(self.tcb.fmc)
        if self.chip is not None and self.leaf_name != "SEV-VLEK":
            found[OID_HARDWARE] = self.chip
        if self.provider is not None:
            found[OID_PROVIDER] = self.provider
        return found

    def _builder(self, name: str, issuer: str) -> x509.CertificateBuilder:
        return _builder(name, issuer, self.valid)


def _builder(name: str, issuer: str, valid: tuple[datetime, datetime]) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .serial_number(7)
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )


@cache
def _authority(
    name: str, issuer: str, *, key: int, bits: int, valid: tuple[datetime, datetime], ca: bool
) -> x509.Certificate:
    # Signatures are randomised: the same certificate must be made once, or it has another pin.
    return (
        _builder(name, issuer, valid)
        .public_key(rsa_key(key, bits if key == 1 else 4096).public_key())
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(rsa_key(1, bits), SHA384(), rsa_padding=PSS)
    )


def der_integer(value: int) -> bytes:
    """Return a DER INTEGER; 217 takes two bytes of content."""
    content = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes((0x02, len(content))) + content


def signed_report(*patches: tuple[int, bytes], **fields: Any) -> bytes:
    """Return a report signed by `leaf_key`, with bytes replaced before it is signed.

    Patches from 0x2A0 on are applied after signing.
    """
    values = {
        "report_data": bytes(64),
        "host_data": bytes(32),
        "reported_tcb": TCB,
        "committed_tcb": TCB,
        "current_tcb": TCB,
        **fields,
    }
    body = _encode(ReportFields(**values), chip_id=CHIP)
    for offset, data in patches:
        if offset < 0x2A0:
            body[offset : offset + len(data)] = data
    r, s = decode_dss_signature(leaf_key().sign(bytes(body[:0x2A0]), ec.ECDSA(SHA384())))
    body[0x2A0:0x2E8], body[0x2E8:0x330] = r.to_bytes(72, "little"), s.to_bytes(72, "little")
    for offset, data in patches:
        if offset >= 0x2A0:
            body[offset : offset + len(data)] = data
    return bytes(body)
