"""Seal data sets and base models for a vault key, and open them in the clean room."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, Literal

from pydantic import StringConstraints

from policies.wire.base import Document, Slug
from trainer.sealed.archive import Limits
from trainer.sealed.container import SealedBlob, open_sealed, write_sealed
from trainer.sealed.errors import SealedError, SealReason
from trainer.sealed.held import HeldFiles, hold_sealed, reopen_sealed
from trainer.sealed.keys import DataKey, OpeningKek, SealingKek

MAGIC = b"depa-sealed/1\n"

Base64 = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9+/]{4,2048}={0,2}\z")]


class SealedHeader(Document):
    """What stands in the clear before the ciphertext, authenticated with it."""

    kind: ClassVar[str] = "header of a sealed file"

    version: Literal[1] = 1
    dataset: Slug
    """Id of the data set or base model in the contract."""
    dataset_version: Slug
    """The provider's version of it: a contract names one."""
    key_name: Slug
    """The vault's key that wraps the data key."""
    key_kind: Literal["rsa", "oct"]
    """`rsa`: RSA-OAEP-256; `oct`: AES-KWP."""
    wrapped_key: Base64


def seal(source: Path, out: Path, *, dataset: Slug, version: Slug, kek: SealingKek) -> SealedBlob:
    """Seal a folder or one file into the new file `out` under a fresh data key.

    Args:
        source: Folder of regular files, or a file.
        out: Sealed file to create; it appears complete or not at all.
        dataset: Id of the data set or base model in the contract.
        version: Version of it.
        kek: Key that wraps the data key.

    Raises:
        SealedError: when `out` exists or the source is no plain file or folder of files.
        policies.errors.DocumentError: when an id is not a plain name.
    """
    key = DataKey.generate()
    header = SealedHeader.from_json(
        {
            "version": 1,
            "dataset": dataset,
            "datasetVersion": version,
            "keyName": kek.name,
            "keyKind": kek.kind,
            "wrappedKey": base64.b64encode(kek.wrap(key)).decode(),
        }
    )
    return write_sealed(out, magic=MAGIC, header=header.canonical(), key=key, source=source)


def unseal(
    stream: BinaryIO,
    *,
    kek: OpeningKek,
    expected_digest: str,
    dataset: Slug,
    version: Slug,
    into: Path,
    limits: Limits | None = None,
) -> SealedHeader:
    """Open a sealed file into the new folder `into`; nothing is there unless all of it is proven.

    Args:
        stream: The sealed file from its first byte; need not be seekable.
        kek: The key that the vault released.
        expected_digest: `sha256:...` of the sealed file, from the contract.
        dataset: Id that the contract gives the file.
        version: Version that the contract names.
        into: Folder to create, on encrypted memory or storage; its parent MUST be private.
        limits: How much may be unpacked.

    Raises:
        SealedError: when the file is not exactly the one of the contract; nothing is left behind.
    """
    return open_sealed(
        stream,
        magic=MAGIC,
        header_type=SealedHeader,
        unlock=partial(_unlock, kek=kek, dataset=dataset, version=version),
        expected_digest=expected_digest,
        into=into,
        limits=limits or Limits(),
    )


def hold(
    stream: BinaryIO,
    *,
    kek: OpeningKek,
    expected_digest: str,
    dataset: Slug,
    version: Slug,
    into: Path,
    limits: Limits | None = None,
) -> HeldFiles:
    """Copy a sealed file, still sealed, and give its files one by one as they are asked for.

    Args:
        stream: The sealed file from its first byte; need not be seekable.
        kek: The key that the vault released.
        expected_digest: `sha256:...` of the sealed file, from the contract.
        dataset: Id that the contract gives the file.
        version: Version that the contract names.
        into: File to create, for ciphertext; its disk need not be trusted.
        limits: How much may be inside.

    Raises:
        SealedError: when the file is not exactly the one of the contract; nothing is left behind.
    """
    return hold_sealed(
        stream,
        magic=MAGIC,
        header_type=SealedHeader,
        unlock=partial(_unlock, kek=kek, dataset=dataset, version=version),
        expected_digest=expected_digest,
        into=into,
        limits=limits or Limits(),
    )


def reopen(path: Path, *, key: DataKey, expected_digest: str) -> HeldFiles:
    """Open a copy that `hold` has made, with the data key of this one file.

    Raises:
        SealedError: when it is not the file of the contract.
    """
    return reopen_sealed(
        path,
        magic=MAGIC,
        header_type=SealedHeader,
        key=key,
        expected_digest=expected_digest,
        limits=Limits(),
    )


def held_name(dataset: Slug) -> str:
    """Return what the copy of a file that is held is called."""
    return f"{dataset}.sealed"


def _unlock(header: SealedHeader, *, kek: OpeningKek, dataset: str, version: str) -> DataKey:
    for reason, expected, got in (
        (SealReason.DATASET, dataset, header.dataset),
        (SealReason.VERSION, version, header.dataset_version),
        (SealReason.KEY, (kek.kind, kek.name), (header.key_kind, header.key_name)),
    ):
        if expected != got:
            raise SealedError(reason, expected=expected, got=got)
    return kek.unwrap(decode_base64(header.wrapped_key))


def decode_base64(text: str) -> bytes:
    """Decode base64 strictly.

    Raises:
        SealedError: when it is not canonical base64.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if base64.b64encode(data).decode() != text:
        raise SealedError(SealReason.FORMAT, expected="canonical base64", got="another text")
    return data
