from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.unit.trainer.sealed.conftest import contents
from trainer.data.join import open_dataset
from trainer.data.manifest import MANIFEST, Manifest, PatientEntry
from trainer.data.slices import SliceDataset
from trainer.sealed import HeldFiles, Limits, OctKek, SealedError, SealReason, hold, seal, unseal
from trainer.sealed.segments import SEGMENT_BYTES

KEK = OctKek("icmr-kek", bytes(range(32)))
BIG = 1 << 40


def sealed(source: Path, out: Path) -> bytes:
    seal(source, out, dataset="brats-a", version="1", kek=KEK)
    return out.read_bytes()


def held(data: bytes, into: Path, *, stream: io.BytesIO | None = None, **how: Any) -> HeldFiles:
    wanted: dict[str, Any] = {
        "kek": KEK,
        "expected_digest": "sha256:" + hashlib.sha256(data).hexdigest(),
        "dataset": "brats-a",
        "version": "1",
    }
    return hold(stream or io.BytesIO(data), into=into, **{**wanted, **how})


def test_every_file_is_what_was_sealed_in_any_order(
    folder: Path, tmp_path: Path, room: Path
) -> None:
    files = held(sealed(folder, tmp_path / "x"), room / "brats-a.sealed")
    expected = contents(folder)
    assert files.names() == set(expected)
    assert files.name == "brats-a"
    for name in [*sorted(expected), *sorted(expected, reverse=True)]:
        assert files.read(name, limit=BIG) == expected[name]


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 511, 512, SEGMENT_BYTES - 56, SEGMENT_BYTES - 1568, 2_100_000])
        | st.integers(0, 3000),
        min_size=1,
        max_size=5,
    )
)
def test_files_of_any_size_lie_in_the_segments_where_tink_has_put_them(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    root = tmp_path_factory.mktemp("sizes")
    (root / "in").mkdir()
    for number, size in enumerate(sizes):
        data = np.random.default_rng(number).bytes(size)
        (root / "in" / f"{number}.bin").write_bytes(data)
    files = held(sealed(root / "in", root / "x.sealed"), root / "held.sealed")
    for number in reversed(range(len(sizes))):
        name = f"{number}.bin"
        assert files.read(name, limit=BIG) == (root / "in" / name).read_bytes()


def test_what_is_held_on_the_disk_is_ciphertext_and_private(
    folder: Path, tmp_path: Path, room: Path
) -> None:
    files = held(sealed(folder, tmp_path / "x"), room / "brats-a.sealed")
    files.read("more/p1.safetensors", limit=BIG)
    (copy,) = room.rglob("*")
    assert copy.stat().st_mode & 0o077 == 0
    for plain in (b'{"version"', b"p1.safetensors", b"ustar", bytes(range(200))):
        assert plain not in copy.read_bytes()


@pytest.mark.parametrize("at", [0, 14, 20, 400, 600, 1_048_000, -1])
def test_any_flipped_byte_is_refused_and_leaves_nothing(
    folder: Path, tmp_path: Path, room: Path, at: int
) -> None:
    data = bytearray(sealed(folder, tmp_path / "x"))
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    data[at] ^= 1
    with pytest.raises(SealedError):
        held(bytes(data), room / "a.sealed", expected_digest=digest)
    # And by whoever has changed the contract's digest too.
    with pytest.raises(SealedError):
        held(bytes(data), room / "a.sealed")
    assert list(room.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 16, 100_000, 1_200_000])
def test_a_file_that_is_cut_off_is_refused(
    folder: Path, tmp_path: Path, room: Path, cut: int
) -> None:
    data = sealed(folder, tmp_path / "x")[:-cut]
    with pytest.raises(SealedError):
        held(data, room / "a.sealed")
    assert list(room.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dataset": "brats-b"}, SealReason.DATASET),
        ({"version": "2"}, SealReason.VERSION),
        ({"kek": OctKek("another", bytes(32))}, SealReason.KEY),
        ({"kek": OctKek("icmr-kek", bytes(32))}, SealReason.KEY),
        ({"expected_digest": "sha256:" + "0" * 64}, SealReason.DIGEST),
        ({"limits": Limits(files=1)}, SealReason.LIMIT),
        ({"limits": Limits(total_bytes=1000)}, SealReason.LIMIT),
    ],
)
def test_what_is_not_the_file_of_the_contract_is_refused_by_name(
    folder: Path, tmp_path: Path, room: Path, change: dict[str, Any], reason: SealReason
) -> None:
    data = sealed(folder, tmp_path / "x")
    with pytest.raises(SealedError) as refused:
        held(data, room / "a.sealed", **change)
    assert refused.value.reason is reason
    assert list(room.iterdir()) == []


def test_a_copy_that_is_exchanged_after_it_was_proven_is_refused_even_with_the_same_key(
    folder: Path, tmp_path: Path, room: Path
) -> None:
    copy = room / "a.sealed"
    data = sealed(folder, tmp_path / "x")
    files = held(data, copy)
    (folder / "more" / "p1.safetensors").write_bytes(bytes(1_280_000))
    other = sealed(folder, tmp_path / "y")
    copy.write_bytes(other)
    with pytest.raises(SealedError) as refused:
        files.read("more/p1.safetensors", limit=BIG)
    assert refused.value.reason is SealReason.AUTHENTICATION
    copy.write_bytes(data)
    assert len(files.read("more/p1.safetensors", limit=BIG)) == 1_280_000


def test_a_file_that_is_not_there_or_too_long_is_refused(
    folder: Path, tmp_path: Path, room: Path
) -> None:
    files = held(sealed(folder, tmp_path / "x"), room / "a.sealed")
    with pytest.raises(SealedError, match="expected a file 'nobody', got none"):
        files.read("nobody", limit=BIG)
    with pytest.raises(SealedError, match="at most 100 bytes"):
        files.read("more/p1.safetensors", limit=100)


def test_an_existing_file_is_never_written_over(folder: Path, tmp_path: Path, room: Path) -> None:
    (room / "a.sealed").write_bytes(b"mine")
    with pytest.raises(SealedError, match="exists"):
        held(sealed(folder, tmp_path / "x"), room / "a.sealed")
    assert (room / "a.sealed").read_bytes() == b"mine"


def test_no_secret_is_shown(folder: Path, tmp_path: Path, room: Path) -> None:
    files = held(sealed(folder, tmp_path / "x"), room / "a.sealed")
    assert "\\x" not in repr(files)


def cohort(folder: Path, *, patients: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(patients)
    entries = []
    for number in range(patients):
        image = rng.standard_normal((4, 1, 256, 256)).astype(np.float16)
        name = f"p{number:03d}"
        save_file(
            {"image": image, "mask": (image > 0).astype(np.uint8)}, folder / f"{name}.safetensors"
        )
        entries.append(PatientEntry(patient=name, slices=4))
    manifest = Manifest(patients=tuple(entries), channels=1, size=(256, 256), recipe={})
    (folder / MANIFEST).write_bytes(manifest.canonical())
    return folder


def test_a_data_set_is_the_same_held_or_unsealed(tmp_path: Path, room: Path) -> None:
    data = sealed(cohort(tmp_path / "in", patients=3), tmp_path / "x")
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    unseal(
        io.BytesIO(data), kek=KEK, expected_digest=digest, dataset="brats-a", version="1",
        into=room / "plain",
    )  # fmt: skip
    plain = open_dataset(room / "plain")
    streamed = SliceDataset(held(data, room / "a.sealed"), keep_bytes=0)
    assert len(plain) == len(streamed) == 3
    for index in (2, 0, 1):
        for one, two in zip(plain.unit(index), streamed.unit(index), strict=True):
            assert np.array_equal(one, two)


_READ_ALL = """
import sys
from pathlib import Path
from tests.unit.trainer.sealed.test_held import KEK
from trainer.data.slices import SliceDataset
from trainer.sealed import hold
path, digest, into = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
def pass_over():
    with path.open("rb") as file:
        files = hold(
            file, kek=KEK, expected_digest=digest, dataset="brats-a", version="1", into=into
        )
    units = SliceDataset(files, keep_bytes=0)
    for index in range(len(units)):
        units.unit(index)
pass_over()
# Not from getrusage, which a child inherits from its parent.
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def test_peak_memory_does_not_grow_with_the_number_of_patients(tmp_path: Path) -> None:
    peaks = []
    for patients in (2, 42):
        data = sealed(cohort(tmp_path / f"in{patients}", patients=patients), tmp_path / "x")
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        arguments = [str(tmp_path / "x"), digest, str(tmp_path / f"copy{patients}")]
        command = [sys.executable, "-c", _READ_ALL, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
        (tmp_path / "x").unlink()
    # 40 more patients are 30 MB, of which none may stay.
    assert peaks[1] - peaks[0] < 8, peaks
