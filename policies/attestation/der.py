"""A strict reader for the few DER structures that `cryptography` will stop loading.

AMD issues every VCEK and VLEK with serial number 0, which RFC 5280 forbids and `cryptography`
announces to refuse.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from policies.errors import EvidenceError

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_ID: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
SET: Final = 0x31

MAX_PEM_BYTES: Final = 64 * 1024
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def refuse(what: str, *, expected: object, got: object) -> EvidenceError:
    """Return the error for malformed DER."""
    return EvidenceError(f"certificate.{what}", expected=expected, got=got)


@dataclass(frozen=True)
class Element:
    """One tag-length-value."""

    tag: int
    content: bytes
    encoded: bytes
    """The whole element, header included: what a signature or a hash covers."""

    def children(self) -> Iterator[Element]:
        """Yield the elements inside a constructed one; the content is consumed whole."""
        rest = self.content
        while rest:
            element, rest = _read(rest)
            yield element


def _read(data: bytes) -> tuple[Element, bytes]:
    if len(data) < 2:
        raise refuse("der", expected="tag and length", got="end of input")
    tag, length, start = data[0], data[1], 2
    if tag & 0x1F == 0x1F:
        raise refuse("der", expected="a one-byte tag", got=f"0x{tag:02x}")
    if length & 0x80:
        size = length & 0x7F
        start += size
        length = int.from_bytes(data[2:start], "big")
        if not 1 <= size <= 3 or len(data) < start or length < 0x80 or data[2] == 0:
            raise refuse("der", expected="the shortest definite length", got="another encoding")
    end = start + length
    if len(data) < end:
        raise refuse("der", expected=f"{end} bytes", got=f"{len(data)} bytes")
    return Element(tag, data[start:end], data[:end]), data[end:]


def parse(data: bytes, *, tag: int) -> Element:
    """Return the one element that `data` consists of.

    Raises:
        EvidenceError: if it has another tag, or something follows it.
    """
    element, rest = _read(data)
    if element.tag != tag:
        raise refuse("der", expected=f"tag 0x{tag:02x}", got=f"tag 0x{element.tag:02x}")
    if rest:
        raise refuse("der", expected="nothing after the element", got=f"{len(rest)} more bytes")
    return element


def integer(data: bytes) -> int:
    """Return the value of a DER INTEGER; `02 02 00 d9` is 217."""
    content = parse(data, tag=INTEGER).content
    if not content:
        raise refuse("der", expected="an integer", got="no content")
    return int.from_bytes(content, "big", signed=True)


def serial_number(certificate: bytes) -> int:
    """Return the serial number of an X.509 certificate, also one that RFC 5280 forbids.

    Raises:
        EvidenceError: if it is no certificate.
    """
    signed = next(parse(certificate, tag=SEQUENCE).children(), None)
    fields = [] if signed is None else [item for item in signed.children() if item.tag != _VERSION]
    if not fields:
        raise refuse("der", expected="a certificate", got="an empty one")
    return integer(fields[0].encoded)


def object_id(content: bytes) -> str:
    """Return the dotted form of an OBJECT IDENTIFIER's content."""
    arcs, value = [], 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    if not arcs or content[-1] & 0x80:
        raise refuse("der", expected="an object identifier", got=content.hex())
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def pem_certificates(pem: bytes) -> tuple[bytes, ...]:
    """Return the DER certificates of a PEM bundle, in order.

    Raises:
        EvidenceError: if it is too long, holds none, or holds anything else.
    """
    if len(pem) > MAX_PEM_BYTES:
        raise refuse("pem", expected=f"at most {MAX_PEM_BYTES} bytes", got=f"{len(pem)} bytes")
    blocks = _PEM.findall(pem)
    if not blocks or _PEM.sub(b"", pem).strip():
        raise refuse("pem", expected="certificates and nothing else", got=f"{len(blocks)} found")
    try:
        return tuple(base64.b64decode(b"".join(block.split()), validate=True) for block in blocks)
    except binascii.Error:
        raise refuse("pem", expected="base64", got="another encoding") from None
