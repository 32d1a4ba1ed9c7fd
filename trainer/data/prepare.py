"""Prepare a data set folder from a folder of volumes: an executor around `slice_volume`.

The folder holds one `<patient>.safetensors` a patient and `dataset.json`. It appears complete or
not at all, and the same volumes and recipe give the same bytes in any number of processes.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from safetensors.numpy import save_file

from trainer.data.errors import DataError, VolumeRefused
from trainer.data.manifest import MANIFEST, Manifest, PatientEntry
from trainer.data.preprocess import PatientSlices, Recipe, slice_volume
from trainer.data.volumes import PatientFiles, find_patients, read_volume


@dataclass(frozen=True)
class Report:
    """What became of every patient."""

    manifest: Manifest
    refused: tuple[VolumeRefused, ...]
    """Patients that are left out, each with its reason, sorted by name."""


def prepare(source: Path, out: Path, *, recipe: Recipe, jobs: int = 1) -> Report:
    """Read the volumes under `source` and write the data set folder `out`.

    Args:
        source: Folder with volumes (see `trainer.data.volumes`).
        out: Folder to create; it MUST not exist.
        recipe: How volumes become slices.
        jobs: Processes; 1 works in this one.

    Raises:
        DataError: when `out` exists, or when no patient is left; then nothing is written.
    """
    if out.exists():
        raise DataError(f"{out} exists", hint="choose another folder or remove it first")
    if jobs < 1:
        raise DataError(f"jobs: expected at least 1, got {jobs}")
    found = find_patients(source, modalities=recipe.modalities)
    refused = list(found.refused)
    entries: list[PatientEntry] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    scratch.mkdir()
    try:
        for result in _results(found.patients, recipe=recipe, jobs=jobs):
            if isinstance(result, VolumeRefused):
                refused.append(result)
                continue
            path = scratch / f"{result.patient}.safetensors"
            save_file({"image": result.image, "mask": result.mask}, path)
            entries.append(PatientEntry(patient=result.patient, slices=len(result.image)))
        manifest = _manifest(source, entries, refused, recipe)
        (scratch / MANIFEST).write_bytes(manifest.canonical())
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Report(manifest, tuple(sorted(refused, key=lambda one: one.patient)))


def _manifest(
    source: Path, entries: list[PatientEntry], refused: list[VolumeRefused], recipe: Recipe
) -> Manifest:
    if not entries:
        reasons = "; ".join(str(one) for one in refused[:3])
        raise DataError(f"{source}: no patient is left of {len(refused)}: {reasons}")
    return Manifest(
        patients=tuple(entries),
        channels=len(recipe.modalities),
        size=recipe.size,
        recipe=recipe.to_json(),
    )


def _results(
    patients: Iterable[PatientFiles], *, recipe: Recipe, jobs: int
) -> Iterator[PatientSlices | VolumeRefused]:
    """Yield each patient's result in order, at most two volumes a process in memory."""
    one = partial(_one, recipe=recipe)
    if jobs == 1:
        yield from map(one, patients)
        return
    # Spawned, not forked: a fork of a process with threads may inherit a held lock.
    with ProcessPoolExecutor(min(jobs, os.cpu_count() or 1), get_context("spawn")) as pool:
        waiting = iter(patients)
        running: deque[Future[PatientSlices | VolumeRefused]] = deque(
            pool.submit(one, files) for files in islice(waiting, 2 * jobs)
        )
        while running:
            yield running.popleft().result()
            running.extend(pool.submit(one, files) for files in islice(waiting, 1))


def _one(files: PatientFiles, *, recipe: Recipe) -> PatientSlices | VolumeRefused:
    try:
        return slice_volume(read_volume(files), recipe=recipe)
    except VolumeRefused as refused:
        return refused.with_traceback(None)
