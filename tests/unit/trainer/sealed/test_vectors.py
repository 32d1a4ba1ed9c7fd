"""Files of format 1 open forever, with this code and by the formats' documents alone."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from tink.proto import aes_gcm_hkdf_streaming_pb2, tink_pb2

from tests.unit.trainer.sealed.conftest import contents
from trainer.sealed import OctKek, load_kek, open_output, seal, unseal

VECTORS = Path(__file__).parents[3] / "vectors" / "sealed-file"
CASES: dict[str, Any] = json.loads((VECTORS / "cases.json").read_bytes())
CONTENT = {name: bytes.fromhex(data) for name, data in CASES["content"].items()}


def by_the_documents(data: bytes, key: bytes) -> bytes:
    """Open a file under a symmetric key with nothing of the code under test, nor Tink's cipher.

    Tink, "Streaming AEAD wire format": header length (1 byte), salt (32), nonce prefix (7), then
    segments of 1 MiB (the first one shorter by the header) under HKDF-SHA256(key, salt, info =
    associated data); a segment's nonce is prefix, number (4 bytes), last-segment flag (1 byte).
    """
    magic, _, rest = data.partition(b"\n")
    assert magic == b"depa-sealed/1"
    length = int.from_bytes(rest[:4], "big")
    header, body = rest[4 : 4 + length], rest[4 + length :]
    wrapped = base64.b64decode(json.loads(header)["wrappedKey"])
    keyset: Any = tink_pb2.Keyset.FromString(aes_key_unwrap_with_padding(key, wrapped))  # type: ignore[attr-defined]  # generated
    value: Any = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey.FromString(  # type: ignore[attr-defined]  # generated
        keyset.key[0].key_data.value
    )
    assert body[0] == 40
    salt, prefix = body[1:33], body[33:40]
    cipher = AESGCM(HKDF(SHA256(), 32, salt, header).derive(value.key_value))
    segments = [body[40 : 2**20]]
    segments += [body[at : at + 2**20] for at in range(2**20, len(body), 2**20)]
    plain = b""
    for number, segment in enumerate(segments):
        last = bytes([number == len(segments) - 1])
        plain += cipher.decrypt(prefix + number.to_bytes(4, "big") + last, segment, b"")
    return plain


def untar(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {one.name: archive.extractfile(one) for one in archive.getmembers()}
        return {name: file.read() for name, file in files.items() if file is not None}


@pytest.mark.parametrize("kind", ["oct", "rsa"])
def test_a_frozen_data_set_opens(room: Path, kind: str) -> None:
    material = bytes.fromhex(CASES[f"{kind}Key"])
    kek = load_kek(material, name=CASES["keyName"], kind=kind)  # type: ignore[arg-type]  # oct or rsa
    with (VECTORS / f"{kind}.sealed").open("rb") as stream:
        unseal(
            stream,
            kek=kek,
            expected_digest=CASES["digests"][f"{kind}.sealed"],
            dataset=CASES["dataset"],
            version=CASES["version"],
            into=room / "out",
        )
    assert contents(room / "out") == CONTENT


def test_a_frozen_output_opens(room: Path) -> None:
    with (VECTORS / "output.sealed").open("rb") as stream:
        open_output(
            stream,
            key=X25519PrivateKey.from_private_bytes(bytes.fromhex(CASES["x25519Key"])),
            info=CASES["info"],
            expected_digest=CASES["digests"]["output.sealed"],
            into=room / "out",
        )
    assert contents(room / "out") == CONTENT


def test_the_format_is_what_its_documents_say(folder: Path, oct_kek: OctKek) -> None:
    frozen = by_the_documents((VECTORS / "oct.sealed").read_bytes(), bytes.fromhex(CASES["octKey"]))
    assert untar(frozen) == CONTENT
    blob = seal(folder, folder.parent / "new", dataset="icmr", version="1", kek=oct_kek)
    assert blob.size > 2**20
    assert untar(by_the_documents(blob.path.read_bytes(), oct_kek.secret)) == contents(folder)
