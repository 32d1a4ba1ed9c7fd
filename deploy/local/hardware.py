"""A simulated SEV-SNP machine: signs reports that are real in form, under a root of its own.

It protects nothing: whoever holds its home folder can sign any report. What it does keep is the
division of roles: a
guest chooses its report data and nothing else, the launch fixes the rest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from deploy.local.keyfile import read_key, write_key, write_private
from policies.attestation.amd import OID_BASE, OID_HARDWARE, OID_PRODUCT, TCB_OIDS
from policies.attestation.report import REPORT_BYTES, SIGNED_BYTES, Tcb
from policies.attestation.runtime import encode_base64url
from policies.attestation.uvm import Endorser

PRODUCT: Final = "Milan"
UVM_FEED: Final = "Unsafe-Simulated-UVM"
UVM_PURPOSE: Final = "1.3.6.1.4.1.311.76.59.1.2"
UVM_SVN: Final = 100
GUEST_POLICY: Final = 0x3001F
"""ABI 0.31, SMT allowed, reserved bit 17; no debugging, no migration."""
MEASUREMENT: Final = hashlib.sha384(b"depa simulated utility VM 1").digest()
TCB: Final = Tcb(bootloader=4, tee=0, snp=24, microcode=219)
_DAYS: Final = 3650
_PSS: Final = padding.PSS(padding.MGF1(SHA384()), 48)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportFields:
    """What a report says, as far as it differs from one guest to the next."""

    report_data: bytes
    host_data: bytes
    measurement: bytes = MEASUREMENT
    policy: int = GUEST_POLICY
    vmpl: int = 0
    version: int = 3
    reported_tcb: Tcb = TCB
    committed_tcb: Tcb = TCB
    current_tcb: Tcb = TCB
    chip_id: bytes | None = None
    """64 bytes; None for the machine's own."""


@dataclass(frozen=True)
class _Authority:
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate


class UnsafeSimulatedMachine:
    """A machine with its own ARK, ASK and VCEK, and a maker of endorsed firmware.

    Args:
        home: Folder of its keys, made on first use with mode 0700. Making them takes seconds.
        now: Start of validity of certificates that are made.
    """

    def __init__(self, home: Path, *, now: datetime) -> None:
        _log.warning("simulated SNP hardware in %s protects nothing", home)
        self.home = home
        # The file is written last: with it, everything else is there.
        if not (home / "chip-id").exists():
            _make_machine(home, now=now)
        self.chip_id = bytes.fromhex((home / "chip-id").read_text().strip())
        key = read_key(home / "vcek-key.pem")
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("a VCEK is an elliptic curve key")
        self._key = key
        self.certificates = (home / "chain.pem").read_bytes()
        """PEM: VCEK, ASK, ARK."""
        self.endorsement = (home / "endorsement.cose").read_bytes()
        """COSE_Sign1 over `MEASUREMENT`."""
        root = x509.load_pem_x509_certificates(self.certificates)[-1]
        self.roots = {_fingerprint(root).hex(): PRODUCT}
        """What an attestation service must believe, see `policies.attestation.amd`."""
        uvm_root = x509.load_pem_x509_certificate((home / "uvm-root.pem").read_bytes())
        self.endorser = Endorser(_endorser_did(uvm_root), UVM_FEED, UVM_SVN)
        """Who an attestation service must believe about firmware."""

    def sign_report(self, fields: ReportFields) -> bytes:
        """Return the 1184 bytes of a signed report."""
        body = _encode(fields, chip_id=self.chip_id)
        signature = self._key.sign(body[:SIGNED_BYTES], ec.ECDSA(SHA384()))
        r, s = decode_dss_signature(signature)
        body[0x2A0:0x2E8] = r.to_bytes(72, "little")
        body[0x2E8:0x330] = s.to_bytes(72, "little")
        return bytes(body)


def _encode(fields: ReportFields, *, chip_id: bytes) -> bytearray:
    body = bytearray(REPORT_BYTES)
    struct.pack_into("<IIQ", body, 0x000, fields.version, 2, fields.policy)
    struct.pack_into("<II", body, 0x030, fields.vmpl, 1)
    body[0x038:0x040] = _encode_tcb(fields.current_tcb)
    struct.pack_into("<QI", body, 0x040, 0x1, 0)
    body[0x050:0x090] = fields.report_data
    body[0x090:0x0C0] = fields.measurement
    body[0x0C0:0x0E0] = fields.host_data
    body[0x140:0x160] = hashlib.sha256(b"report id" + fields.host_data).digest()
    body[0x160:0x180] = b"\xff" * 32
    body[0x180:0x188] = _encode_tcb(fields.reported_tcb)
    if fields.version >= 3:
        body[0x188:0x18B] = b"\x19\x01\x01"
    body[0x1A0:0x1E0] = fields.chip_id or chip_id
    body[0x1E0:0x1E8] = _encode_tcb(fields.committed_tcb)
    body[0x1E8:0x1EB] = body[0x1EC:0x1EF] = b"\x1d\x37\x01"
    body[0x1F0:0x1F8] = _encode_tcb(fields.current_tcb)
    if len(body) != REPORT_BYTES:
        raise ValueError("a field of the report has another length than its place")
    return body


def _encode_tcb(tcb: Tcb) -> bytes:
    return bytes((tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode))


def _make_machine(home: Path, *, now: datetime) -> None:
    ark = _authority("ARK-Milan", issuer=None, bits=4096, now=now)
    ask = _authority("SEV-Milan", issuer=ark, bits=4096, now=now)
    chip_id = secrets.token_bytes(64)
    vcek = ec.generate_private_key(ec.SECP384R1())
    leaf = _vcek_certificate(vcek.public_key(), issuer=ask, chip_id=chip_id, now=now)
    chain = b"".join(
        item.public_bytes(Encoding.PEM) for item in (leaf, ask.certificate, ark.certificate)
    )
    write_key(home / "ark-key.pem", ark.key)
    write_key(home / "ask-key.pem", ask.key)
    write_key(home / "vcek-key.pem", vcek)
    write_private(home / "chain.pem", chain)
    uvm_root, endorsement = _make_endorsement(now)
    write_private(home / "uvm-root.pem", uvm_root.public_bytes(Encoding.PEM))
    write_private(home / "endorsement.cose", endorsement)
    write_private(home / "chip-id", chip_id.hex().encode())


def _authority(
    common_name: str, *, issuer: _Authority | None, bits: int, now: datetime
) -> _Authority:
    key = rsa.generate_private_key(65537, bits)
    subject = _name(common_name)
    certificate = (
        _builder(subject, issuer=issuer.certificate.subject if issuer else subject, now=now)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(issuer.key if issuer else key, SHA384(), rsa_padding=_PSS)
    )
    return _Authority(key, certificate)


def _vcek_certificate(
    key: ec.EllipticCurvePublicKey, *, issuer: _Authority, chip_id: bytes, now: datetime
) -> x509.Certificate:
    values = {
        f"{OID_BASE}.1": _der_integer(1),
        OID_PRODUCT: b"\x16\x08Milan-B0",
        TCB_OIDS["bootloader"]: _der_integer(TCB.bootloader),
        TCB_OIDS["tee"]: _der_integer(TCB.tee),
        TCB_OIDS["snp"]: _der_integer(TCB.snp),
        TCB_OIDS["microcode"]: _der_integer(TCB.microcode),
        OID_HARDWARE: chip_id,
    }
    builder = _builder(_name("SEV-VCEK"), issuer=issuer.certificate.subject, now=now).public_key(
        key
    )
    for oid, value in values.items():
        builder = builder.add_extension(
            x509.UnrecognizedExtension(ObjectIdentifier(oid), value), critical=False
        )
    return builder.sign(issuer.key, SHA384(), rsa_padding=_PSS)


def _der_integer(value: int) -> bytes:
    content = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes((0x02, len(content))) + content


def _make_endorsement(now: datetime) -> tuple[x509.Certificate, bytes]:
    root = _authority("Unsafe simulated firmware root", issuer=None, bits=3072, now=now)
    key = rsa.generate_private_key(65537, 3072)
    leaf = (
        _builder(_name("Unsafe simulated firmware"), issuer=root.certificate.subject, now=now)
        .public_key(key.public_key())
        .add_extension(x509.ExtendedKeyUsage([ObjectIdentifier(UVM_PURPOSE)]), critical=False)
        .sign(root.key, SHA256())
    )
    protected = cbor2.dumps(
        {
            1: -38,
            3: "application/json",
            33: [item.public_bytes(Encoding.DER) for item in (leaf, root.certificate)],
            "iss": _endorser_did(root.certificate),
            "feed": UVM_FEED,
        }
    )
    payload = json.dumps(
        {
            "x-ms-sevsnpvm-launchmeasurement": MEASUREMENT.hex(),
            "x-ms-sevsnpvm-guestsvn": str(UVM_SVN),
        }
    ).encode()
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    signature = key.sign(signed, _PSS, SHA384())
    return root.certificate, cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))


def _endorser_did(root: x509.Certificate) -> str:
    return f"did:x509:0:sha256:{encode_base64url(_fingerprint(root))}::eku:{UVM_PURPOSE}"


def _fingerprint(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(SHA256())


def _builder(subject: x509.Name, *, issuer: x509.Name, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Unsafe Simulated Devices"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
