"""How long it takes to open a sealed data set and load every patient, against Tink alone.

Tink's own stream decrypts the same bytes from front to back and throws them away: it hashes, keeps,
copies and checks nothing. Ours, in the same process and with the allocator set as in training:

* prove: reads the file once, copies it as it is, and checks digest, segments and archive;
* open: reads the copy, checks every number of every patient, and keeps what fits into memory;
* units: returns every patient as numbers of 32 bits.

All three are what a run waits for, and are counted. Each figure is the least of some rounds, since
other work on the machine only ever adds to it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from trainer.data.manifest import MANIFEST, Manifest, PatientEntry
from trainer.data.slices import SliceDataset
from trainer.memory import keep_freed_memory
from trainer.sealed.container import read_header
from trainer.sealed.dataset import MAGIC, SealedHeader, decode_base64, hold, seal
from trainer.sealed.keys import OctKek

_SIDE = 256
_SLICES = 8
_ROUNDS = 5
_KEK = OctKek("bench-key", bytes(32))


def over_tink(megabytes: int) -> dict[str, float]:
    """Return the times of opening and loading a data set divided by that of Tink's stream.

    The whole, then what of it is spent on proving, opening and loading.
    """
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _write(root / "plain", patients=max(1, megabytes * 10**6 // (_SLICES * _SIDE**2 * 3)))
        sealed = root / "set.sealed"
        blob = seal(root / "plain", sealed, dataset="set", version="1", kek=_KEK)
        tink, ours = [], []
        for _ in range(_ROUNDS):
            tink.append(_tink(sealed))
            ours.append(_ours(sealed, root / "copy.sealed", digest=blob.digest))
            (root / "copy.sealed").unlink()
    best = min(ours, key=sum)
    names = ("unseal_load", "unseal_prove", "unseal_open", "unseal_units")
    return {
        f"{name}_over_tink": seconds / min(tink)
        for name, seconds in zip(names, (sum(best), *best), strict=True)
    }


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


def _tink(sealed: Path) -> float:
    started = time.perf_counter()
    with sealed.open("rb", buffering=0) as file:
        header_bytes, header = read_header(file, magic=MAGIC, header_type=SealedHeader)
        primitive = _KEK.unwrap(decode_base64(header.wrapped_key)).primitive()
        with primitive.new_decrypting_stream(file, header_bytes) as plain:
            while plain.read(2**20):
                pass
    return time.perf_counter() - started


def _ours(sealed: Path, copy: Path, *, digest: str) -> tuple[float, float, float]:
    started = time.perf_counter()
    with sealed.open("rb") as stream:
        files = hold(
            stream, kek=_KEK, expected_digest=digest, dataset="set", version="1", into=copy
        )
    proven = time.perf_counter()
    units = SliceDataset(files)
    opened = time.perf_counter()
    for index in range(len(units)):
        units.unit(index)
    return proven - started, opened - proven, time.perf_counter() - opened
