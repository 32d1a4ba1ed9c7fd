"""DICOM files of several frames and of other encodings: read exactly, or refused by name."""

from __future__ import annotations

import logging
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.unit.trainer.data.dicom_maker import compressed, ct_head, enhanced, series
from tests.unit.trainer.data.makers import save
from trainer.data.dicom import open_series
from trainer.data.errors import VolumeRefused
from trainer.data.volumes import find_patients, read_volume

IMAGE, MASK = (np.repeat(np.repeat(part, 2, axis=0), 2, axis=1) for part in ct_head())
ENCODINGS = [RLELossless, JPEGLSLossless, JPEG2000Lossless]


def named(syntax: UID) -> str:
    return syntax.name


def test_the_frames_of_one_file_are_the_slices_of_a_volume(tmp_path: Path) -> None:
    grid = open_series(enhanced(tmp_path / "ct" / "all.dcm", IMAGE), patient="p1")
    assert np.array_equal(grid.upright(), IMAGE.astype(np.float32))
    assert grid.spacing == (2.0, 2.0, 5.0)
    one_a_file = open_series(series(tmp_path / "single", IMAGE), patient="p1")
    assert np.allclose(grid.upright_affine, one_a_file.upright_affine)


def test_a_series_may_be_several_files_of_several_frames(tmp_path: Path) -> None:
    enhanced(tmp_path / "ct" / "a.dcm", IMAGE, order=[8, 1, 6, 3])
    enhanced(tmp_path / "ct" / "b.dcm", IMAGE, order=[0, 2, 7], number=2)
    folder = enhanced(tmp_path / "ct" / "c.dcm", IMAGE, order=[4, 5], number=3)
    assert np.array_equal(open_series(folder, patient="p1").upright(), IMAGE.astype(np.float32))


def test_a_patient_with_one_file_of_frames_is_found(tmp_path: Path) -> None:
    enhanced(tmp_path / "p1" / "study" / "ct.dcm", IMAGE)
    save(tmp_path / "p1" / "p1_seg.nii.gz", MASK)
    (files,) = find_patients(tmp_path, modalities=("ct",)).patients
    volume = read_volume(files)
    assert np.median(volume.image[0][volume.mask]) == 70


@pytest.mark.parametrize("syntax", ENCODINGS, ids=named)
def test_what_is_compressed_without_loss_is_read_exactly(tmp_path: Path, syntax: UID) -> None:
    single = compressed(series(tmp_path / "single", IMAGE), syntax)
    many = compressed(enhanced(tmp_path / "many" / "ct.dcm", IMAGE), syntax)
    assert dcmread(many / "ct.dcm").file_meta.TransferSyntaxUID == syntax
    for folder in (single, many):
        grid = open_series(folder, patient="p1")
        assert np.array_equal(grid.upright(), IMAGE.astype(np.float32))


@pytest.mark.parametrize("offsets", ["none", "basic", "extended"])
def test_frames_are_found_by_every_kind_of_offsets(tmp_path: Path, offsets: str) -> None:
    folder = compressed(enhanced(tmp_path / "ct" / "ct.dcm", IMAGE), RLELossless)
    one = dcmread(folder / "ct.dcm")
    frames = list(generate_frames(one.PixelData, number_of_frames=one.NumberOfFrames))
    one.PixelData = encapsulate(frames, has_bot=offsets == "basic")
    if offsets == "extended":
        lengths = [len(frame) for frame in frames]
        starts = np.cumsum([0, *(length + 8 for length in lengths[:-1])])
        one.ExtendedOffsetTable = struct.pack(f"<{len(frames)}Q", *starts.tolist())
        one.ExtendedOffsetTableLengths = struct.pack(f"<{len(frames)}Q", *lengths)
    one["PixelData"].VR = "OB"
    one.save_as(folder / "ct.dcm")
    assert np.array_equal(open_series(folder, patient="p1").upright(), IMAGE.astype(np.float32))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=named)
def test_other_ways_to_write_without_compression_are_read(tmp_path: Path, syntax: UID) -> None:
    def bend(one: Dataset) -> None:
        one.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            one.PixelData = np.frombuffer(one.PixelData, "<i2").astype(">i2").tobytes()

    folder = enhanced(tmp_path / "ct" / "ct.dcm", IMAGE, bend=bend)
    assert np.array_equal(open_series(folder, patient="p1").upright(), IMAGE.astype(np.float32))


REFUSED = [
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSNearLossless,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    UID("1.2.840.10008.1.2.4.102"),
    UID("1.2.3.4.5"),
]


@pytest.mark.parametrize("syntax", REFUSED, ids=named)
def test_what_is_not_read_is_named_with_what_to_do(tmp_path: Path, syntax: UID) -> None:
    def bend(one: Dataset) -> None:
        one.file_meta.TransferSyntaxUID = syntax
        if syntax.is_private or syntax.is_encapsulated:
            one.PixelData = encapsulate([b"no picture"])
            one["PixelData"].VR = "OB"

    folder = tmp_path / "ct"
    try:
        enhanced(folder / "ct.dcm", IMAGE, bend=bend)
    except ValueError:
        # Nothing writes a private way of writing: its name is put over another of one length.
        enhanced(folder / "ct.dcm", IMAGE)
        path = folder / "ct.dcm"
        known = b"1.2.840.10008.1.2.1"
        data = path.read_bytes().replace(known, syntax.encode().ljust(len(known), b"\0"), 1)
        path.write_bytes(data)
    with pytest.raises(VolumeRefused) as refused:
        open_series(folder, patient="p1")
    assert f"ct.dcm is compressed ({syntax.name[:64]}): " in str(refused.value)
    assert "convert it first" in str(refused.value)


def test_a_file_that_inflates_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    def bend(one: Dataset) -> None:
        one.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        one.ICCProfile = bytes(10_000_000)

    folder = enhanced(tmp_path / "ct" / "ct.dcm", IMAGE, bend=bend)
    assert (folder / "ct.dcm").stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(VolumeRefused, match="Deflated"):
        open_series(folder, patient="p1")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000


def _groups(at: int, change: Callable[[Dataset], None]) -> Callable[[Dataset], None]:
    return lambda one: change(one.PerFrameFunctionalGroupsSequence[at])


def _moved(group: Dataset) -> None:
    x, y, z = group.PlanePositionSequence[0].ImagePositionPatient
    group.PlanePositionSequence[0].ImagePositionPatient = [x, y, z - 5]


def _turned(group: Dataset) -> None:
    item = Dataset()
    item.ImageOrientationPatient = [0, 1, 0, -1, 0, 0]
    group.PlaneOrientationSequence = [item]


def _fewer(one: Dataset) -> None:
    del one.PerFrameFunctionalGroupsSequence[-1]


def _larger(one: Dataset) -> None:
    one.Rows = one.Columns = 65535


def _cut(one: Dataset) -> None:
    one.PixelData = one.PixelData[:-100]


def _set(**fields: object) -> Callable[[Dataset], None]:
    def bend(one: Dataset) -> None:
        for name, value in fields.items():
            setattr(one, name, value)

    return bend


BENDS: dict[str, tuple[Callable[[Dataset], None], str]] = {
    "a frame at another's place": (_groups(2, _moved), r"frame \d of ct.dcm lie at the same place"),
    "a frame turned": (_groups(2, _turned), "frame 3 of ct.dcm is turned or scaled unlike frame 1"),
    "a frame without a place": (
        _groups(3, lambda group: delattr(group, "PlanePositionSequence")),
        "has no ImagePositionPatient",
    ),
    "an empty place": (
        _groups(3, lambda group: setattr(group, "PlanePositionSequence", [])),
        "has no ImagePositionPatient",
    ),
    "a frame without a scale": (
        _groups(3, lambda group: delattr(group, "PixelValueTransformationSequence")),
        "no Hounsfield units",
    ),
    "a place missing": (_fewer, "9 frames and 8 places"),
    "no places": (
        lambda one: delattr(one, "PerFrameFunctionalGroupsSequence"),
        "9 frames and does not say where each lies",
    ),
    "more frames than there are": (_set(NumberOfFrames=10), "10 frames and 9 places"),
    "frames without number": (_set(NumberOfFrames=-3), "-3 frames"),
    "more frames than are read": (
        _set(NumberOfFrames=5000, PerFrameFunctionalGroupsSequence=[Dataset()] * 5000),
        "5000 frames and 5000 places, expected as many, up to 4096",
    ),
    "huge slices": (_larger, "4294836225 pixels a slice, expected 1 to 16777216"),
    "colours": (_set(SamplesPerPixel=3, PhotometricInterpretation="RGB"), r"no grey image \(RGB"),
    "pixels missing": (_cut, "ct.dcm is damaged"),
    "odd bits": (_set(BitsAllocated=1, BitsStored=1, HighBit=0), "1 bits a pixel"),
}


@pytest.mark.parametrize("name", BENDS)
def test_a_bent_file_of_frames_is_refused_by_name(tmp_path: Path, name: str) -> None:
    bend, reason = BENDS[name]
    folder = enhanced(tmp_path / "ct" / "ct.dcm", IMAGE, bend=bend)
    with pytest.raises(VolumeRefused, match=reason) as refused:
        open_series(folder, patient="p1").upright()
    assert "\n" not in str(refused.value)
    assert "P1" not in str(refused.value)


def encoded(folder: Path, syntax: UID, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    """Write a file of frames whose encoded frames are changed."""
    compressed(enhanced(folder / "ct.dcm", IMAGE), syntax)
    one = dcmread(folder / "ct.dcm")
    frames = list(generate_frames(one.PixelData, number_of_frames=one.NumberOfFrames))
    one.PixelData = encapsulate(change(frames))
    one["PixelData"].VR = "OB"
    one.save_as(folder / "ct.dcm")
    return folder


def _put(at: int, data: bytes) -> Callable[[list[bytes]], list[bytes]]:
    def change(frames: list[bytes]) -> list[bytes]:
        frame = bytearray(frames[4])
        frame[at : at + len(data)] = data
        return [*frames[:4], bytes(frame), *frames[5:]]

    return change


def _runs(frames: list[bytes]) -> list[bytes]:
    """A frame of a few thousand bytes that says that there are very many."""
    segment = b"\x81\x00" * 4000
    header = struct.pack("<16L", 2, 64, 64 + len(segment), *[0] * 13)
    return [*frames[:4], header + segment + segment, *frames[5:]]


def _jpeg_ls_size(frames: list[bytes]) -> list[bytes]:
    at = frames[4].index(b"\xff\xf7")
    return _put(at + 5, struct.pack(">HH", 60_000, 60_000))(frames)


CHANGES: dict[str, tuple[UID, Callable[[list[bytes]], list[bytes]], str]] = {
    "runs without end": (RLELossless, _runs, "512000 bytes in a segment, expected 2688"),
    "runs of one byte more": (RLELossless, _put(0, struct.pack("<L", 3)), "3 segments a frame"),
    "segments out of order": (
        RLELossless, _put(4, struct.pack("<2L", 90, 64)), "do not lie one after the other",
    ),
    "segments outside": (
        RLELossless, _put(8, struct.pack("<L", 1 << 30)), "do not lie one after the other",
    ),
    "a huge JPEG-LS": (JPEGLSLossless, _jpeg_ls_size, "holds 1 x 60000 x 60000 numbers of 16 bits"),
    "no JPEG-LS": (JPEGLSLossless, _put(0, b"no"), "is no JPEG-LS image"),
    "a huge JPEG 2000": (
        JPEG2000Lossless, _put(8, struct.pack(">2L", 1 << 30, 1 << 30)), "which are too small",
    ),
    "a huge tile of JPEG 2000": (
        JPEG2000Lossless,
        _put(8, struct.pack(">6L", 1 << 30, 1 << 30, 0, 0, 1 << 30, 1 << 30)),
        "holds 1 x 1073741824 x 1073741824 numbers",
    ),
    "tiles of one pixel": (
        JPEG2000Lossless, _put(24, struct.pack(">2L", 1, 0)), "tiles of 1 x 0 pixels",
    ),
    "three components": (JPEG2000Lossless, _put(40, struct.pack(">H", 3)), "holds 3 x 56 x 48"),
    "no JPEG 2000": (JPEG2000Lossless, _put(0, b"none"), "is no JPEG 2000 code stream"),
    "a frame missing": (RLELossless, lambda frames: frames[:-1], "8 frames|9 frames|fragment"),
    "a frame too many": (JPEG2000Lossless, lambda frames: [*frames, frames[0]], "10 frames"),
    "a frame cut": (
        JPEG2000Lossless, lambda frames: [*frames[:-1], frames[-1][:60]], "ct.dcm is damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_an_encoded_frame_that_is_not_what_the_file_says_is_refused_before_it_is_decoded(
    tmp_path: Path,
    name: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    syntax, change, reason = CHANGES[name]
    grid = open_series(encoded(tmp_path / "ct", syntax, change), patient="p1")
    caplog.clear()
    with caplog.at_level(logging.WARNING), pytest.raises(VolumeRefused, match=reason):
        grid.upright()
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[UID | None, bytes]:
    """Return the bytes of a file of frames in every encoding."""
    root, found = tmp_path_factory.mktemp("whole"), {}
    small = IMAGE[:32, :32, :4]
    for number, syntax in enumerate([None, *ENCODINGS]):
        folder = enhanced(root / str(number) / "ct.dcm", small)
        found[syntax] = (
            (folder if syntax is None else compressed(folder, syntax)) / "ct.dcm"
        ).read_bytes()
    return found


@settings(max_examples=150, deadline=None)
@given(
    syntax=st.sampled_from([None, *ENCODINGS]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    ),
    end=st.floats(0, 1) | st.just(1.0),
)
def test_whatever_a_file_holds_it_is_read_or_refused_in_one_line(
    whole: dict[UID | None, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    syntax: UID | None,
    changes: list[tuple[float, int]],
    end: float,
) -> None:
    data = bytearray(whole[syntax])
    for place, value in changes:
        data[int(place * len(data))] = value
    folder = tmp_path_factory.mktemp("ct")
    (folder / "ct.dcm").write_bytes(data[: int(end * len(data))])
    said = ""
    try:
        assert open_series(folder, patient="p1").upright().dtype == np.float32
    except VolumeRefused as refused:
        said = str(refused)
    finally:
        shutil.rmtree(folder)
    assert "\n" not in said
    assert len(said) < 400
