from __future__ import annotations

import base64
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import tink
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tink import secret_key_access, streaming_aead

from policies.errors import DocumentError
from policies.wire.base import canonical_json, sha256
from tests.unit.trainer.sealed.conftest import contents
from trainer.sealed import (
    Limits,
    OctKek,
    OpeningKek,
    RsaPrivateKek,
    SealedError,
    SealReason,
    seal,
    unseal,
)

MAGIC = b"depa-sealed/1\n"


def sealed(folder: Path, kek: RsaPrivateKek | OctKek, *, version: str = "1") -> bytes:
    out = folder.parent / f"v{version}.sealed"
    out.unlink(missing_ok=True)
    public = kek.public if isinstance(kek, RsaPrivateKek) else kek
    seal(folder, out, dataset="icmr", version=version, kek=public)
    return out.read_bytes()


def open_it(
    data: bytes,
    *,
    kek: OpeningKek,
    room: Path,
    digest: str | None = None,
    dataset: str = "icmr",
    version: str = "1",
    limits: Limits | None = None,
) -> Path:
    unseal(
        io.BytesIO(data),
        kek=kek,
        expected_digest=digest or sha256(data),
        dataset=dataset,
        version=version,
        into=room / "icmr",
        limits=limits,
    )
    return room / "icmr"


def refused(data: bytes, *, kek: OpeningKek, room: Path, **how: object) -> SealedError:
    with pytest.raises(SealedError) as caught:
        open_it(data, kek=kek, room=room, **how)  # type: ignore[arg-type]  # passed through
    assert list(room.iterdir()) == []
    return caught.value


def split(data: bytes) -> tuple[dict[str, object], bytes]:
    """Take a sealed file apart by its documentation, not by the code under test."""
    assert data.startswith(MAGIC)
    start = len(MAGIC) + 4
    length = int.from_bytes(data[len(MAGIC) : start], "big")
    return json.loads(data[start : start + length]), data[start + length :]


def rebuild(header: dict[str, object], body: bytes) -> bytes:
    text = canonical_json(header)
    return MAGIC + len(text).to_bytes(4, "big") + text + body


def test_what_is_sealed_is_unsealed(
    folder: Path, room: Path, rsa_kek: RsaPrivateKek, oct_kek: OctKek
) -> None:
    for kek in (rsa_kek, oct_kek):
        place = room / kek.kind
        place.mkdir()
        opened = open_it(sealed(folder, kek), kek=kek, room=place)
        assert contents(opened) == contents(folder)
        assert [path.name for path in place.iterdir()] == ["icmr"]


def test_unsealed_files_are_private(folder: Path, room: Path, oct_kek: OctKek) -> None:
    opened = open_it(sealed(folder, oct_kek), kek=oct_kek, room=room)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in opened.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(opened.stat().st_mode) == 0o700
    assert stat.S_IMODE((opened / "more").stat().st_mode) == 0o700


def test_a_single_file_is_sealed_like_a_folder(tmp_path: Path, room: Path, oct_kek: OctKek) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    opened = open_it(sealed(model, oct_kek), kek=oct_kek, room=room)
    assert contents(opened) == {"model.safetensors": b"weights"}


def test_digest_and_size_are_those_of_the_file(folder: Path, oct_kek: OctKek) -> None:
    blob = seal(folder, folder.parent / "a", dataset="icmr", version="1", kek=oct_kek)
    assert blob.digest == sha256(blob.path.read_bytes())
    assert blob.size == blob.path.stat().st_size


def test_two_seals_share_neither_key_nor_ciphertext(folder: Path, oct_kek: OctKek) -> None:
    first, second = split(sealed(folder, oct_kek)), split(sealed(folder, oct_kek))
    assert first[0]["wrappedKey"] != second[0]["wrappedKey"]
    assert first[1][:64] != second[1][:64]


def test_nothing_of_the_plaintext_stands_in_the_file(folder: Path, oct_kek: OctKek) -> None:
    data = sealed(folder, oct_kek)
    assert b"safetensors" not in data
    assert bytes(range(256)) not in data


def test_a_stream_that_cannot_seek_is_enough(folder: Path, room: Path, oct_kek: OctKek) -> None:
    data = sealed(folder, oct_kek)

    class Trickle(io.RawIOBase):
        def __init__(self) -> None:
            self._source = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            return self._source.read(min(size, 1000))

    unseal(
        Trickle(),  # type: ignore[arg-type]  # a RawIOBase is a BinaryIO
        kek=oct_kek,
        expected_digest=sha256(data),
        dataset="icmr",
        version="1",
        into=room / "icmr",
    )
    assert contents(room / "icmr") == contents(folder)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(
    tmp_path: Path, room: Path, oct_kek: OctKek, where: float, bit: int
) -> None:
    small = tmp_path / "small.json"
    small.write_bytes(b"{}")
    original = sealed(small, oct_kek)
    data = bytearray(original)
    data[int(where * len(data))] ^= 1 << bit
    # With the contract's digest, and even if the digest had been changed along with the file.
    for digest in (sha256(original), sha256(bytes(data))):
        refused(bytes(data), kek=oct_kek, room=room, digest=digest)


def test_one_flipped_byte_is_named_as_a_wrong_digest(
    folder: Path, room: Path, rsa_kek: RsaPrivateKek
) -> None:
    data = bytearray(sealed(folder, rsa_kek))
    digest = sha256(bytes(data))
    data[len(data) // 2] ^= 1
    error = refused(bytes(data), kek=rsa_kek, room=room, digest=digest)
    assert error.reason is SealReason.DIGEST
    assert error.expected == digest
    assert error.got == sha256(bytes(data))


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "cut by one byte": lambda data: data[:-1],
    "cut at a segment": lambda data: data[: len(data) - len(split(data)[1]) + 2**20],
    "a byte more": lambda data: data + b"\0",
    "a segment more": lambda data: data + bytes(2**20),
    "twice": lambda data: data + data,
    "segment flipped": lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_body_is_refused_even_with_a_matching_digest(
    folder: Path, room: Path, oct_kek: OctKek, change: str
) -> None:
    data = sealed(folder, oct_kek)
    changed = CHANGES[change](data)
    assert refused(changed, kek=oct_kek, room=room).reason is SealReason.AUTHENTICATION
    by_digest = refused(changed, kek=oct_kek, room=room, digest=sha256(data))
    assert by_digest.reason is SealReason.DIGEST


def test_another_files_header_is_refused(folder: Path, room: Path, oct_kek: OctKek) -> None:
    header, _ = split(sealed(folder, oct_kek))
    _, body = split(sealed(folder, oct_kek))
    swapped = rebuild(header, body)
    assert refused(swapped, kek=oct_kek, room=room).reason is SealReason.AUTHENTICATION


def test_a_relabelled_header_is_refused(folder: Path, room: Path, oct_kek: OctKek) -> None:
    header, body = split(sealed(folder, oct_kek, version="1"))
    relabelled = rebuild({**header, "datasetVersion": "2"}, body)
    error = refused(relabelled, kek=oct_kek, room=room, version="2")
    assert error.reason is SealReason.AUTHENTICATION


def test_another_data_set_is_refused_by_name(folder: Path, room: Path, oct_kek: OctKek) -> None:
    error = refused(sealed(folder, oct_kek), kek=oct_kek, room=room, dataset="brats")
    assert (error.reason, error.expected, error.got) == (SealReason.DATASET, "brats", "icmr")


@pytest.mark.parametrize(("stored", "wanted"), [("1", "2"), ("2", "1")])
def test_another_version_is_refused_by_name(
    folder: Path, room: Path, oct_kek: OctKek, stored: str, wanted: str
) -> None:
    current = sealed(folder, oct_kek, version=wanted)
    other = sealed(folder, oct_kek, version=stored)
    error = refused(other, kek=oct_kek, room=room, version=wanted, digest=sha256(current))
    assert (error.reason, error.expected, error.got) == (SealReason.VERSION, wanted, stored)


def test_a_reseal_of_the_same_version_is_refused(folder: Path, room: Path, oct_kek: OctKek) -> None:
    agreed = sha256(sealed(folder, oct_kek))
    error = refused(sealed(folder, oct_kek), kek=oct_kek, room=room, digest=agreed)
    assert error.reason is SealReason.DIGEST


def test_a_key_of_another_name_or_kind_is_refused(
    folder: Path, room: Path, oct_kek: OctKek, rsa_kek: RsaPrivateKek
) -> None:
    data = sealed(folder, oct_kek)
    for kek in (rsa_kek, OctKek("other", oct_kek.secret)):
        assert refused(data, kek=kek, room=room).reason is SealReason.KEY


def test_another_key_of_the_same_name_is_refused(
    folder: Path, room: Path, oct_kek: OctKek, rsa_kek: RsaPrivateKek
) -> None:
    other = RsaPrivateKek("icmr-kek", rsa.generate_private_key(65537, 2048))
    for data, kek in (
        (sealed(folder, oct_kek), OctKek("icmr-kek", bytes(32))),
        (sealed(folder, rsa_kek), other),
    ):
        error = refused(data, kek=kek, room=room)
        assert error.reason is SealReason.KEY
        assert "vault holds another version" in error.hint


HEADERS: dict[str, Callable[[dict[str, object], bytes], bytes]] = {
    "other magic": lambda header, body: b"depa-sealed/2\n" + rebuild(header, body)[14:],
    "nothing": lambda _header, _body: b"",
    "magic only": lambda _header, _body: MAGIC,
    "short header": lambda _header, _body: MAGIC + b"\0\0\1\0{}",
    "huge header": lambda _header, _body: MAGIC + b"\x7f\xff\xff\xff" + b"x" * 2**17,
    "no JSON": lambda _header, body: MAGIC + b"\0\0\0\2[}" + body,
    "not canonical": lambda header, body: (
        MAGIC + (len(json.dumps(header))).to_bytes(4, "big") + json.dumps(header).encode() + body
    ),
    "unknown field": lambda header, body: rebuild({**header, "more": 1}, body),
    "missing field": lambda header, body: rebuild(
        {key: value for key, value in header.items() if key != "keyName"}, body
    ),
    "other version": lambda header, body: rebuild({**header, "version": 2}, body),
    "bad base64": lambda header, body: rebuild({**header, "wrappedKey": "AAAAA"}, body),
    "loose base64": lambda header, body: rebuild({**header, "wrappedKey": "AAB="}, body),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_malformed_header_is_refused(
    folder: Path, room: Path, oct_kek: OctKek, name: str
) -> None:
    data = HEADERS[name](*split(sealed(folder, oct_kek)))
    assert refused(data, kek=oct_kek, room=room).reason is SealReason.FORMAT


def test_a_foreign_keyset_is_refused(folder: Path, room: Path, oct_kek: OctKek) -> None:
    streaming_aead.register()
    template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_4KB
    keyset = tink.proto_keyset_format.serialize(
        tink.new_keyset_handle(template), secret_key_access.TOKEN
    )
    header, body = split(sealed(folder, oct_kek))
    for material in (keyset, b"no keyset at all"):
        wrapped = aes_key_wrap_with_padding(oct_kek.secret, material)
        data = rebuild({**header, "wrappedKey": base64.b64encode(wrapped).decode()}, body)
        error = refused(data, kek=oct_kek, room=room)
        assert error.reason is SealReason.KEY
        assert "AES256_GCM_HKDF_1MB" in str(error)


def test_limits_are_kept(folder: Path, room: Path, oct_kek: OctKek) -> None:
    data = sealed(folder, oct_kek)
    for limits in (Limits(files=2), Limits(total_bytes=1_000_000)):
        assert refused(data, kek=oct_kek, room=room, limits=limits).reason is SealReason.LIMIT


def test_a_failing_source_is_not_taken_for_the_end(
    folder: Path, room: Path, oct_kek: OctKek
) -> None:
    data = sealed(folder, oct_kek)

    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 2**20:
                raise ConnectionResetError("the store hung up")
            return super().read(size)

    with pytest.raises(ConnectionResetError, match="hung up"):
        unseal(
            Breaks(data),
            kek=oct_kek,
            expected_digest=sha256(data),
            dataset="icmr",
            version="1",
            into=room / "icmr",
        )
    assert list(room.iterdir()) == []


def test_an_existing_folder_is_never_unsealed_into(
    folder: Path, room: Path, oct_kek: OctKek
) -> None:
    (room / "icmr").mkdir()
    with pytest.raises(SealedError, match="exists"):
        open_it(sealed(folder, oct_kek), kek=oct_kek, room=room)
    assert list((room / "icmr").iterdir()) == []


def test_sealing_leaves_no_half_file_and_overwrites_none(tmp_path: Path, oct_kek: OctKek) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out.sealed"
    with pytest.raises(SealedError, match="a file or a folder of files"):
        seal(tmp_path / "empty", out, dataset="icmr", version="1", kek=oct_kek)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    out.write_text("mine")
    (tmp_path / "empty" / "a").touch()
    with pytest.raises(SealedError, match="exists"):
        seal(tmp_path / "empty", out, dataset="icmr", version="1", kek=oct_kek)
    assert out.read_text() == "mine"


def test_a_link_in_the_folder_is_refused(folder: Path, oct_kek: OctKek) -> None:
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(SealedError, match="link"):
        seal(folder, folder.parent / "out", dataset="icmr", version="1", kek=oct_kek)


def test_ids_that_are_no_plain_names_are_refused(folder: Path, oct_kek: OctKek) -> None:
    with pytest.raises(DocumentError, match="/dataset"):
        seal(folder, folder.parent / "out", dataset="../icmr", version="1", kek=oct_kek)
