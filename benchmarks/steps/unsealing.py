"""How long it takes to open a sealed data set and load every patient, against Tink alone.

Tink's own stream decrypts the same bytes from front to back and throws them away. Ours reads them
twice: once to prove digest, segments and archive, once patient by patient, each number checked.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from trainer.data.manifest import MANIFEST, Manifest, PatientEntry
from trainer.data.slices import SliceDataset
from trainer.sealed.container import read_header
from trainer.sealed.dataset import MAGIC, SealedHeader, decode_base64, hold, seal
from trainer.sealed.keys import OctKek

_SIDE = 256
_SLICES = 8
_ROUNDS = 3
_KEK = OctKek("bench-key", bytes(32))


def over_tink(megabytes: int) -> float:
    """Return the time of opening and loading a data set divided by that of Tink's stream."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _write(root / "plain", patients=max(1, megabytes * 10**6 // (_SLICES * _SIDE**2 * 3)))
        sealed = root / "set.sealed"
        blob = seal(root / "plain", sealed, dataset="set", version="1", kek=_KEK)
        ours, theirs = [], []
        for number in range(_ROUNDS):
            started = time.perf_counter()
            _tink(sealed)
            theirs.append(time.perf_counter() - started)
            started = time.perf_counter()
            _ours(sealed, root / f"copy-{number}.sealed", digest=blob.digest)
            ours.append(time.perf_counter() - started)
    return statistics.median(ours) / statistics.median(theirs)


def _write(folder: Path, *, patients: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(1)
    entries = []
    for number in range(patients):
        image = rng.standard_normal((_SLICES, 1, _SIDE, _SIDE), dtype=np.float32).astype(np.float16)
        name = f"p{number:05d}"
        mask = (image > 1).astype(np.uint8)
        save_file({"image": image, "mask": mask}, folder / f"{name}.safetensors")
        entries.append(PatientEntry(patient=name, slices=_SLICES))
    manifest = Manifest(patients=tuple(entries), channels=1, size=(_SIDE, _SIDE), recipe={})
    (folder / MANIFEST).write_bytes(manifest.canonical())


def _tink(sealed: Path) -> None:
    with sealed.open("rb", buffering=0) as file:
        header_bytes, header = read_header(file, magic=MAGIC, header_type=SealedHeader)
        primitive = _KEK.unwrap(decode_base64(header.wrapped_key)).primitive()
        with primitive.new_decrypting_stream(file, header_bytes) as plain:
            while plain.read(2**20):
                pass


def _ours(sealed: Path, copy: Path, *, digest: str) -> None:
    with sealed.open("rb") as stream:
        files = hold(
            stream, kek=_KEK, expected_digest=digest, dataset="set", version="1", into=copy
        )
    # The first reading keeps what fits into memory, as in a clean room.
    units = SliceDataset(files)
    for index in range(len(units)):
        units.unit(index)
