"""Prepare a data set folder from a folder of volumes: an executor around a pure function.

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
from typing import TypeAlias

import numpy as np
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from trainer.data.errors import DataError, VolumeRefused
from trainer.data.manifest import (
    MANIFEST,
    Manifest,
    PatientEntry,
    VolumeEntry,
    VolumesManifest,
)
from trainer.data.preprocess import PatientSlices, Recipe, slice_volume
from trainer.data.volumes import PatientFiles, find_patients, read_volume
from trainer.data.whole import PatientVolume, VolumeRecipe, whole_volume

_Result: TypeAlias = PatientSlices | PatientVolume | VolumeRefused


@dataclass(frozen=True)
class Report:
    """What became of every patient."""

    manifest: Manifest | VolumesManifest
    refused: tuple[VolumeRefused, ...]
    """Patients that are left out, each with its reason, sorted by name."""


def prepare(source: Path, out: Path, *, recipe: Recipe | VolumeRecipe, jobs: int = 1) -> Report:
    """Read the volumes under `source` and write the data set folder `out`.

    Args:
        source: Folder with volumes (see `trainer.data.volumes`).
        out: Folder to create; it MUST not exist.
        recipe: How volumes become slices, or volumes of one spacing.
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
    entries: list[PatientEntry | VolumeEntry] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    scratch.mkdir()
    try:
        for result in _results(found.patients, recipe=recipe, jobs=jobs):
            if isinstance(result, VolumeRefused):
                refused.append(result)
                continue
            path = scratch / f"{result.patient}.safetensors"
            # safetensors writes memory as it lies: a turned view would come back as another image.
            tensors = {"image": result.image, "mask": result.mask}
            save_file({name: np.ascontiguousarray(part) for name, part in tensors.items()}, path)
            entries.append(_entry(result))
        manifest = _manifest(source, entries, refused, recipe)
        (scratch / MANIFEST).write_bytes(manifest.canonical())
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Report(manifest, tuple(sorted(refused, key=lambda one: one.patient)))


def _manifest(
    source: Path,
    entries: list[PatientEntry | VolumeEntry],
    refused: list[VolumeRefused],
    recipe: Recipe | VolumeRecipe,
) -> Manifest | VolumesManifest:
    if not entries:
        reasons = "; ".join(str(one) for one in refused[:3])
        raise DataError(f"{source}: no patient is left of {len(refused)}: {reasons}")
    channels = recipe.scale.channels
    if isinstance(recipe, VolumeRecipe):
        return VolumesManifest(
            patients=tuple(entry for entry in entries if isinstance(entry, VolumeEntry)),
            channels=channels,
            spacing=recipe.spacing,
            recipe=recipe.to_json(),
        )
    return Manifest(
        patients=tuple(entry for entry in entries if isinstance(entry, PatientEntry)),
        channels=channels,
        size=recipe.size,
        recipe=recipe.to_json(),
    )


def _entry(result: PatientSlices | PatientVolume) -> PatientEntry | VolumeEntry:
    if isinstance(result, PatientSlices):
        return PatientEntry(patient=result.patient, slices=len(result.image))
    depth, height, width = result.mask.shape[1:]
    return VolumeEntry(patient=result.patient, shape=(depth, height, width))


def _results(
    patients: Iterable[PatientFiles], *, recipe: Recipe | VolumeRecipe, jobs: int
) -> Iterator[_Result]:
    """Yield each patient's result in order, at most two volumes a process in memory."""
    one = partial(_one, recipe=recipe)
    if jobs == 1:
        yield from map(one, patients)
        return
    with processes(jobs) as pool:
        waiting = iter(patients)
        running: deque[Future[_Result]] = deque(
            pool.submit(one, files) for files in islice(waiting, 2 * jobs)
        )
        while running:
            yield running.popleft().result()
            running.extend(pool.submit(one, files) for files in islice(waiting, 1))


def processes(jobs: int) -> ProcessPoolExecutor:
    """Return at most `jobs` processes, each of which computes with one thread."""
    # Spawned, not forked: a fork of a process with threads may inherit a held lock.
    spawn = get_context("spawn")
    return ProcessPoolExecutor(min(jobs, os.cpu_count() or 1), spawn, initializer=_use_one_thread)


def _use_one_thread() -> None:
    # Each process's linear algebra would start a thread for every processor, and all wait for all.
    threadpool_limits(limits=1)  # type: ignore[no-untyped-call]  # it has no types


def _one(files: PatientFiles, *, recipe: Recipe | VolumeRecipe) -> _Result:
    try:
        volume = read_volume(files)
        if isinstance(recipe, VolumeRecipe):
            return whole_volume(volume, recipe=recipe)
        return slice_volume(volume, recipe=recipe)
    except VolumeRefused as refused:
        return refused.with_traceback(None)
