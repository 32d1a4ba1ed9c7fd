"""Seal what training made to the consumer's key, and open it there.

A fresh data key is encrypted by HPKE (RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
AES-256-GCM), the body by that data key, so that any size works. HPKE does not say who sealed: the
digest of the file comes from the signed run report.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pydantic import Field, StringConstraints

from policies.wire.base import Document, canonical_json
from trainer.sealed.archive import Limits
from trainer.sealed.container import SealedBlob, open_sealed, write_sealed
from trainer.sealed.dataset import Base64, decode_base64
from trainer.sealed.errors import SealedError, SealReason
from trainer.sealed.keys import DataKey

MAGIC = b"depa-output/1\n"

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_InfoText = Annotated[str, StringConstraints(pattern=r"\A[\x20-\x7e]{1,500}\z")]


class OutputHeader(Document):
    """What stands in the clear before a sealed output."""

    kind: ClassVar[str] = "header of a sealed output"

    version: Literal[1] = 1
    info: dict[_InfoText, _InfoText] = Field(max_length=16)
    """What the output belongs to: contract and run."""
    encrypted_key: Base64
    """HPKE encapsulated key and ciphertext of the data key."""


def seal_output(
    source: Path, out: Path, *, recipient: X25519PublicKey, info: Mapping[str, str]
) -> SealedBlob:
    """Seal a file or folder to the consumer into the new file `out`.

    Args:
        source: What to seal.
        out: Sealed file to create; it appears complete or not at all.
        recipient: The consumer's key, from the contract.
        info: What it belongs to, for example `{"contract": "sha256:...", "run": "run-..."}`;
            whoever opens it must say the same.

    Raises:
        SealedError: when `out` exists or the source is no plain file or folder of files.
    """
    key = DataKey.generate()
    encrypted = _SUITE.encrypt(key.keyset, recipient, info=_hpke_info(info))
    header = OutputHeader.from_json(
        {
            "version": 1,
            "info": dict(info),
            "encryptedKey": base64.b64encode(encrypted).decode(),
        }
    )
    return write_sealed(out, magic=MAGIC, header=header.canonical(), key=key, source=source)


def open_output(
    stream: BinaryIO,
    *,
    key: X25519PrivateKey,
    info: Mapping[str, str],
    expected_digest: str,
    into: Path,
    limits: Limits | None = None,
) -> OutputHeader:
    """Open a sealed output into the new folder `into`.

    Args:
        stream: The sealed file from its first byte.
        key: The consumer's private key.
        info: What the output must belong to.
        expected_digest: `sha256:...` of the sealed file, from the run report.
        into: Folder to create.
        limits: How much may be unpacked.

    Raises:
        SealedError: when the file is not exactly the reported one, or not for this key.
    """

    def unlock(header: OutputHeader) -> DataKey:
        if header.info != dict(info):
            raise SealedError(SealReason.INFO, expected=dict(info), got=header.info)
        encrypted = decode_base64(header.encrypted_key)
        try:
            keyset = _SUITE.decrypt(encrypted, key, info=_hpke_info(info))
        except (InvalidTag, ValueError):
            expected = "an output sealed to this key"
            raise SealedError(SealReason.KEY, expected=expected, got="another") from None
        return DataKey.parse(keyset)

    return open_sealed(
        stream,
        magic=MAGIC,
        header_type=OutputHeader,
        unlock=unlock,
        expected_digest=expected_digest,
        into=into,
        limits=limits or Limits(),
    )


def _hpke_info(info: Mapping[str, str]) -> bytes:
    return MAGIC + canonical_json(dict(info))
