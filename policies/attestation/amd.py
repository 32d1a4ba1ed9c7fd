"""AMD's certificates: the chain from a report's signing key to a pinned root (AMD 57230, 55766).

A chain is leaf, intermediate, root: VCEK, ASK, ARK or VLEK, ASVK, ARK. Revocation lists are the
caller's: they need
the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import load_der_public_key

from policies.attestation import der
from policies.attestation.certificate import load_certificate
from policies.attestation.report import Tcb
from policies.errors import EvidenceError

AMD_ROOTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd": "Milan",
        "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1": "Genoa",
        "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a": "Turin",
    }
)
"""SHA-256 of the DER of each ARK that AMD publishes, and the product line it stands for."""

OID_BASE: Final = "1.3.6.1.4.1.3704.1"
OID_PRODUCT: Final = f"{OID_BASE}.2"
OID_HARDWARE: Final = f"{OID_BASE}.4"
OID_PROVIDER: Final = f"{OID_BASE}.5"
TCB_OIDS: Final = MappingProxyType(
    {
        "bootloader": f"{OID_BASE}.3.1",
        "tee": f"{OID_BASE}.3.2",
        "snp": f"{OID_BASE}.3.3",
        "microcode": f"{OID_BASE}.3.8",
    }
)
OID_FMC: Final = f"{OID_BASE}.3.9"
_RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
_COMMON_NAME: Final = "2.5.4.3"
_MAX_CERTIFICATE_BYTES: Final = 16 * 1024
_PSS: Final = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)


@dataclass(frozen=True)
class EndorsementKey:
    """A VCEK or VLEK certificate, and what it binds the key to."""

    kind: str
    """`VCEK`: one chip at one TCB; `VLEK`: one cloud provider at one TCB."""
    product: str
    """Product line: `Milan`, `Genoa`, `Turin`."""
    tcb: Tcb
    hardware_id: bytes | None
    provider: str | None
    public_key: ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class _Certificate:
    """The parts of an X.509 certificate that a chain is checked by."""

    name: str
    tbs: bytes
    signature: bytes
    issuer: bytes
    subject: bytes
    not_before: datetime
    not_after: datetime
    public_key: bytes
    extensions: Mapping[str, bytes]


def verify_chain(
    chain: Sequence[bytes], *, now: datetime, roots: Mapping[str, str] = AMD_ROOTS
) -> EndorsementKey:
    """Return the key that the chain proves to be AMD's for a chip or provider.

    Args:
        chain: DER certificates: leaf, intermediate, root.
        now: Instant at which all three must be valid.
        roots: SHA-256 hex of a root's DER to its product line.

    Raises:
        EvidenceError: naming the link that does not hold.
    """
    if len(chain) != 3:
        raise EvidenceError(
            "amd.chain", expected="leaf, intermediate and root", got=f"{len(chain)} certificates"
        )
    # (1) The root is pinned by all of its bytes.
    fingerprint = hashlib.sha256(chain[2]).hexdigest()
    line = roots.get(fingerprint)
    if line is None:
        raise EvidenceError("amd.root", expected="a pinned ARK", got=fingerprint)
    leaf, intermediate, root = map(_parse, chain)
    # (2) Each is signed by the next, valid now, and is what its name says.
    _verify_link(root, issuer=root)
    _verify_link(intermediate, issuer=root)
    _verify_link(leaf, issuer=intermediate)
    for certificate in (leaf, intermediate, root):
        if not certificate.not_before <= now <= certificate.not_after:
            raise EvidenceError(
                "amd.validity",
                expected=f"{certificate.name} valid at {now.isoformat()}",
                got=f"{certificate.not_before.isoformat()} to {certificate.not_after.isoformat()}",
            )
    key = _endorsement_key(leaf)
    issuers = {"VCEK": f"SEV-{line}", "VLEK": f"SEV-VLEK-{line}"}
    if intermediate.name != issuers[key.kind]:
        raise EvidenceError("amd.intermediate", expected=issuers[key.kind], got=intermediate.name)
    _require_authority(chain[1])
    # (3) The leaf is of the root's product line.
    if key.product != line:
        raise EvidenceError("amd.product", expected=line, got=key.product)
    return key


def _verify_link(certificate: _Certificate, *, issuer: _Certificate) -> None:
    if certificate.issuer != issuer.subject:
        raise EvidenceError(
            "amd.issuer", expected=issuer.name, got=f"another issuer of {certificate.name}"
        )
    try:
        key = load_der_public_key(issuer.public_key)
    except ValueError:
        raise EvidenceError(
            "amd.key", expected="a public key", got=f"the key of {issuer.name}"
        ) from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 4096:
        raise EvidenceError("amd.key", expected="RSA of 4096 bits", got=f"the key of {issuer.name}")
    try:
        key.verify(certificate.signature, certificate.tbs, _PSS, SHA384())
    except InvalidSignature:
        raise EvidenceError(
            "amd.signature",
            expected=f"{certificate.name} signed by {issuer.name}",
            got="an invalid signature",
        ) from None


def _require_authority(encoded: bytes) -> None:
    # Intermediates have proper serial numbers.
    try:
        extensions = load_certificate(encoded).extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    except (ValueError, x509.ExtensionNotFound):
        raise EvidenceError("amd.intermediate", expected="a CA certificate", got="none") from None
    if not constraints.value.ca:
        raise EvidenceError("amd.intermediate", expected="a CA certificate", got="an end entity")


def _parse(encoded: bytes) -> _Certificate:
    if len(encoded) > _MAX_CERTIFICATE_BYTES:
        raise EvidenceError(
            "amd.certificate", expected=f"at most {_MAX_CERTIFICATE_BYTES} bytes", got=len(encoded)
        )
    parts = list(der.parse(encoded, tag=der.SEQUENCE).children())
    if [part.tag for part in parts] != [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
        raise EvidenceError(
            "amd.certificate", expected="an X.509 certificate", got="another structure"
        )
    tbs = list(parts[0].children())
    tags = [item.tag for item in tbs]
    # version [0], serial, algorithm, issuer, validity, subject, key, extensions [3] (RFC 5280, 4.1)
    if tags != [0xA0, der.INTEGER, *[der.SEQUENCE] * 5, 0xA3]:
        raise EvidenceError(
            "amd.certificate", expected="an X.509 version 3 certificate", got="another structure"
        )
    algorithm = next(parts[1].children(), None)
    if tbs[2].encoded != parts[1].encoded or algorithm is None or algorithm.tag != der.OBJECT_ID:
        raise EvidenceError("amd.algorithm", expected="one signature algorithm", got="two")
    if der.object_id(algorithm.content) != _RSASSA_PSS:
        raise EvidenceError(
            "amd.algorithm", expected="RSASSA-PSS", got=der.object_id(algorithm.content)
        )
    if parts[2].content[:1] != b"\0":
        raise EvidenceError("amd.signature", expected="whole bytes", got="unused bits")
    validity = [_time(item) for item in tbs[4].children()]
    if len(validity) != 2:
        raise EvidenceError("amd.validity", expected="two times", got=len(validity))
    return _Certificate(
        name=_common_name(tbs[5]),
        tbs=parts[0].encoded,
        signature=parts[2].content[1:],
        issuer=tbs[3].encoded,
        subject=tbs[5].encoded,
        not_before=validity[0],
        not_after=validity[1],
        public_key=tbs[6].encoded,
        extensions=_extensions(tbs[7]),
    )


def _common_name(name: der.Element) -> str:
    for relative in name.children():
        for attribute in relative.children():
            parts = list(attribute.children())
            if len(parts) == 2 and der.object_id(parts[0].content) == _COMMON_NAME:
                return parts[1].content.decode("ascii", "replace")
    raise EvidenceError("amd.name", expected="a common name", got="none")


def _time(element: der.Element) -> datetime:
    text = element.content.decode("ascii", "replace")
    try:
        if element.tag == der.GENERALIZED_TIME:
            return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
        moment = datetime.strptime(text, "%y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise EvidenceError("amd.validity", expected="a UTC time", got=text) from None
    # RFC 5280, 4.1.2.5.1: two-digit years from 50 are of the last century.
    return moment.replace(year=moment.year - 100) if moment.year >= 2050 else moment


def _extensions(element: der.Element) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for extension in der.parse(element.content, tag=der.SEQUENCE).children():
        parts = list(extension.children())
        if (
            len(parts) not in (2, 3)
            or parts[0].tag != der.OBJECT_ID
            or parts[-1].tag != der.OCTET_STRING
        ):
            raise EvidenceError(
                "amd.extension", expected="an identifier and a value", got="another structure"
            )
        name = der.object_id(parts[0].content)
        if name in found:
            raise EvidenceError(
                "amd.extension", expected="each extension once", got=f"{name} twice"
            )
        found[name] = parts[-1].content
    return MappingProxyType(found)


def _endorsement_key(leaf: _Certificate) -> EndorsementKey:
    kinds = {"SEV-VCEK": "VCEK", "SEV-VLEK": "VLEK"}
    if leaf.name not in kinds:
        raise EvidenceError("amd.leaf", expected="SEV-VCEK or SEV-VLEK", got=leaf.name)
    for name in (OID_PRODUCT, *TCB_OIDS.values()):
        if name not in leaf.extensions:
            raise EvidenceError("amd.extension", expected=name, got="none")
    product = der.parse(leaf.extensions[OID_PRODUCT], tag=der.IA5_STRING).content.decode(
        "ascii", "replace"
    )
    levels = {name: der.integer(leaf.extensions[oid]) for name, oid in TCB_OIDS.items()}
    if OID_FMC in leaf.extensions:
        levels["fmc"] = der.integer(leaf.extensions[OID_FMC])
    if not all(0 <= level <= 255 for level in levels.values()):
        raise EvidenceError("amd.tcb", expected="levels from 0 to 255", got=levels)
    key = load_der_public_key(leaf.public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise EvidenceError("amd.key", expected="P-384", got=f"the key of {leaf.name}")
    provider = leaf.extensions.get(OID_PROVIDER)
    return EndorsementKey(
        kind=kinds[leaf.name],
        product=product.split("-", maxsplit=1)[0],
        tcb=Tcb(**levels),
        hardware_id=_hardware_id(leaf.extensions.get(OID_HARDWARE)),
        provider=None if provider is None else _text(provider),
        public_key=key,
    )


def _hardware_id(value: bytes | None) -> bytes | None:
    # Certificates in the field carry the raw bytes (64, Turin 8); the specification says OCTET
    # STRING.
    if value is None or len(value) in (8, 64):
        return value
    return der.parse(value, tag=der.OCTET_STRING).content


def _text(value: bytes) -> str:
    tag = value[0] if value[:1] in (b"\x0c", b"\x13", b"\x16") else der.IA5_STRING
    return der.parse(value, tag=tag).content.decode("ascii", "replace")
