"""What is done to a held file by who may write its disk, knows its key, or breaks its reading."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.unit.trainer.sealed.test_held import BIG, held, sealed
from trainer.sealed import HeldFiles, SealedError, SealReason
from trainer.sealed import source as source_module
from trainer.sealed.dataset import MAGIC, reopen

NAME = "more/p1.safetensors"
SEGMENT = 1024**2


def start_of(data: bytes) -> int:
    """Return where the ciphertext starts in a sealed file."""
    length = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "big")
    return len(MAGIC) + 4 + length


def resealed(data: bytes, files: HeldFiles) -> bytes:
    """Change one byte inside the second segment, as whoever knows the data key can."""
    start = start_of(data)
    head = data[start : start + 40]
    header = data[len(MAGIC) + 4 : start]
    derived = HKDF(SHA256(), 32, salt=head[1:33], info=header).derive(files.key.secret)
    nonce = head[33:40] + (1).to_bytes(4, "big") + b"\x01"
    cipher, at = AESGCM(derived), start + SEGMENT
    plain = bytearray(cipher.decrypt(nonce, data[at:], None))
    plain[0] ^= 1
    return data[:at] + cipher.encrypt(nonce, bytes(plain), None)


def test_a_segment_exchanged_by_who_knows_the_key_is_refused(
    folder: Path, tmp_path: Path, room: Path
) -> None:
    copy, data = room / "a.sealed", sealed(folder, tmp_path / "x")
    files = held(data, copy)
    copy.write_bytes(resealed(data, files))
    with pytest.raises(SealedError, match="another segment than was there before") as refused:
        files.read(NAME, limit=BIG)
    assert refused.value.reason is SealReason.AUTHENTICATION
    # The forgery is one that the cipher alone would take.
    forged = copy.read_bytes()
    with pytest.raises(SealedError) as another:
        held(forged, room / "b", expected_digest="sha256:" + hashlib.sha256(data).hexdigest())
    assert another.value.reason is SealReason.DIGEST
    assert len(held(forged, room / "c").read(NAME, limit=BIG)) == 1_280_000


def test_a_copy_exchanged_before_it_is_opened_again_is_refused(
    folder: Path, tmp_path: Path, room: Path
) -> None:
    copy, data = room / "a.sealed", sealed(folder, tmp_path / "x")
    files, digest = held(data, copy), "sha256:" + hashlib.sha256(data).hexdigest()
    again = reopen(copy, key=files.key, expected_digest=digest)
    assert again.read(NAME, limit=BIG) == files.read(NAME, limit=BIG)
    for other, reason in (
        (resealed(data, files), SealReason.DIGEST),
        (data + b"\0", SealReason.AUTHENTICATION),
        (data[:-1], SealReason.AUTHENTICATION),
    ):
        copy.write_bytes(other)
        with pytest.raises(SealedError) as refused:
            reopen(copy, key=files.key, expected_digest=digest)
        assert refused.value.reason is reason
    assert threads() == []


@pytest.mark.parametrize("size", [0, 100, SEGMENT + 100])
def test_a_copy_that_is_cut_off_after_it_was_proven_is_refused(
    folder: Path, tmp_path: Path, room: Path, size: int
) -> None:
    copy, data = room / "a.sealed", sealed(folder, tmp_path / "x")
    files = held(data, copy)
    copy.write_bytes(data[: start_of(data) + size])
    with pytest.raises(SealedError) as refused:
        files.read(NAME, limit=BIG)
    assert refused.value.reason is SealReason.AUTHENTICATION


def test_segments_that_changed_places_are_refused(folder: Path, tmp_path: Path, room: Path) -> None:
    (folder / "more" / "p2.safetensors").write_bytes(bytes(3 * SEGMENT))
    data = sealed(folder, tmp_path / "x")
    at = start_of(data) + SEGMENT
    one, two = data[at : at + SEGMENT], data[at + SEGMENT : at + 2 * SEGMENT]
    swapped = data[:at] + two + one + data[at + 2 * SEGMENT :]
    with pytest.raises(SealedError) as refused:
        held(swapped, room / "a.sealed")
    assert refused.value.reason is SealReason.AUTHENTICATION
    files = held(data, room / "a.sealed")
    (room / "a.sealed").write_bytes(swapped)
    with pytest.raises(SealedError, match="another segment than was there before"):
        files.read("more/p2.safetensors", limit=BIG)


class Exchanging(io.BytesIO):
    """Writes another copy beside the one that is being written, in its place, at its end."""

    def __init__(self, data: bytes, copy: Path, other: bytes) -> None:
        super().__init__(data)
        self._copy, self._other = copy, other

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            self._copy.unlink()
            self._copy.write_bytes(self._other)
        return data


def test_a_copy_exchanged_while_it_is_written_is_never_believed(
    folder: Path, tmp_path: Path, room: Path
) -> None:
    data, copy = sealed(folder, tmp_path / "x"), room / "a.sealed"
    (folder / "more" / "p1.safetensors").write_bytes(bytes(1_280_000))
    other = sealed(folder, tmp_path / "y")
    stream = Exchanging(data, copy, other)
    files = held(data, copy, stream=stream)
    assert copy.read_bytes() == other
    with pytest.raises(SealedError, match="another segment than was there before"):
        files.read(NAME, limit=BIG)


class Trickling(io.BytesIO):
    """Gives a few bytes at a time, as a network may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 70_001))


def test_a_stream_that_trickles_is_the_same_file(folder: Path, tmp_path: Path, room: Path) -> None:
    data = sealed(folder, tmp_path / "x")
    files = held(data, room / "a.sealed", stream=Trickling(data))
    assert files.read(NAME, limit=BIG) == (folder / NAME).read_bytes()
    assert (room / "a.sealed").read_bytes() == data


class Broken(io.BytesIO):
    """Breaks off in the second segment."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > SEGMENT:
            raise OSError("the line is down")
        return super().read(size)


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("sha256")]


def test_a_stream_that_breaks_off_leaves_no_copy_and_no_thread(
    folder: Path, tmp_path: Path, room: Path
) -> None:
    data = sealed(folder, tmp_path / "x")
    with pytest.raises(OSError, match="the line is down"):
        held(data, room / "a.sealed", stream=Broken(data))
    assert list(room.iterdir()) == []
    assert threads() == []


def test_a_failure_of_the_second_thread_is_raised_and_leaves_nothing(
    folder: Path, tmp_path: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sealed(folder, tmp_path / "x")
    digest = "sha256:" + hashlib.sha256(data).hexdigest()

    class Failing:
        def update(self, part: bytes) -> None:
            if len(part) > 1000:
                raise MemoryError("no room to hash")

    monkeypatch.setattr(source_module, "hashlib", SimpleNamespace(sha256=Failing))
    with pytest.raises(MemoryError, match="no room to hash"):
        held(data, room / "a.sealed", expected_digest=digest)
    assert list(room.iterdir()) == []
    assert threads() == []


def test_a_file_that_is_not_the_contracts_is_read_to_its_end_to_say_so(
    folder: Path, tmp_path: Path, room: Path
) -> None:
    data = bytearray(sealed(folder, tmp_path / "x"))
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    data[start_of(data) + 50] ^= 1
    with pytest.raises(SealedError) as refused:
        held(bytes(data), room / "a.sealed", expected_digest=digest)
    assert refused.value.reason is SealReason.DIGEST
    assert refused.value.got == "sha256:" + hashlib.sha256(data).hexdigest()
    assert threads() == []
