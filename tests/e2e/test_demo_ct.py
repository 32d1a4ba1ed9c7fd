"""The whole way of the data with scans of three hospitals, one of which writes DICOM."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.played import play


@pytest.mark.slow
def test_scans_in_dicom_and_nifti_train_one_model_of_three_dimensions(tmp_path: Path) -> None:
    played = play(tmp_path / "kept", "--scenario", "ich-ct")
    assert played.figures["refusals"] == 3
    assert 0 < played.figures["epsilon"] <= 8.0
    assert "dice" in played.figures
    assert "ICH_cut: slice" in played.told
    formats = {item["format"] for item in played.contract["datasets"]}
    assert formats == {"volumes"}
    for item in played.contract["datasets"]:
        sealed = played.folder / "stack" / "blobs" / item["url"].rpartition("/")[2]
        for plain in (b"ICH_", b"data_offsets", b"DICM"):
            assert plain not in sealed.read_bytes()
    assert (played.folder / "homes" / "developer" / "masks.png").read_bytes().startswith(b"\x89PNG")
