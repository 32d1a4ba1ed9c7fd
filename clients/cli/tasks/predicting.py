"""Look for something in scans with a fetched model, and write where it was found."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from clients.cli.errors import Refused, UsageError
from clients.cli.files import new_folder
from clients.cli.output import Answer, Output
from clients.cli.tasks.origin import Origin, read_origin
from clients.cli.tasks.overlay import draw_overlay
from trainer.data.errors import VolumeRefused
from trainer.data.manifest import Manifest, VolumesManifest, read_manifest
from trainer.data.recipes import AnyRecipe, read_recipe
from trainer.data.volumes import Scan, read_scan
from trainer.metrics.masks import Mask
from trainer.models.factory import build_model
from trainer.segment import Segmenter

_SCANNER = 1
"""Code of NIfTI for coordinates of the scanner."""


@dataclass(frozen=True)
class Predicted:
    """What was found in one scan."""

    patient: str
    masks: tuple[str, ...]
    """Files, one a class."""
    overlay: str
    millilitres: tuple[float, ...]
    """Found of each class."""

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Return what programs read of it."""
        return {
            "scan": self.patient,
            "masks": [str(folder / name) for name in self.masks],
            "overlay": str(folder / self.overlay),
            "millilitres": [round(one, 3) for one in self.millilitres],
        }


def predict_scans(
    model: Path,
    scans: Sequence[Path],
    *,
    folder: Path,
    like: Path | None,
    overlap: float,
    output: Output,
) -> Answer:
    """Write masks and pictures of what a model finds into the new `folder`.

    Raises:
        UsageError: when the folder exists, or nothing says how scans are prepared.
        Refused: when the model is another one than its origin says, or no scan can be read.
        DataError: when the model does not look for masks, or `like` was prepared otherwise.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists already", hint="choose another folder")
    origin, base = read_origin(model)
    recipe = _recipe(origin, like)
    train = origin.pipeline.train
    segmenter = Segmenter(build_model(train.model, base=base), train, recipe, overlap=overlap)
    done: list[Predicted] = []
    refused: list[VolumeRefused] = []
    with new_folder(folder) as scratch:
        scratch.mkdir()
        for result in _predicted(segmenter, scans, scratch, output):
            if isinstance(result, VolumeRefused):
                output.note(f"left out: {result}")
                refused.append(result)
            else:
                done.append(result)
        if not done:
            reasons = "; ".join(str(one) for one in refused[:3])
            raise Refused(f"no scan is left of {len(refused)}: {reasons}")
    return Answer(
        {
            "model": str(model),
            "run": origin.run,
            "folder": str(folder),
            "scans": [one.to_json(folder) for one in done],
            "refused": [{"scan": one.patient, "reason": one.reason} for one in refused],
        },
        f"{folder}: what the model of {origin.run} finds in {len(done)} scans, "
        f"{len(refused)} left out",
        columns=("scan", "found", "mask", "picture"),
        rows=[
            (one.patient, _amount(one.millilitres), ", ".join(one.masks), one.overlay)
            for one in done
        ],
    )


def _recipe(origin: Origin, like: Path | None) -> AnyRecipe:
    if like is not None:
        manifest = read_manifest(like)
        recipe = manifest.recipe if isinstance(manifest, Manifest | VolumesManifest) else {}
        return read_recipe(manifest.layout, recipe)
    if origin.preparation is None:
        raise UsageError(
            "nothing says how scans are prepared for this model",
            hint="give --like, a folder that was prepared as the training data was",
        )
    return read_recipe(origin.preparation.layout, origin.preparation.recipe)


def _predicted(
    segmenter: Segmenter, scans: Sequence[Path], folder: Path, output: Output
) -> Iterator[Predicted | VolumeRefused]:
    seen: set[str] = set()
    # A CT is shown as the network sees it first: without a window its bones hide all else.
    windows = segmenter.recipe.windows
    greys = windows[0].span if windows else None
    for number, path in enumerate(scans, 1):
        try:
            scan = read_scan(path, modalities=segmenter.recipe.modalities)
            if scan.patient in seen:
                raise VolumeRefused(scan.patient, "another scan has this name")
            seen.add(scan.patient)
            with output.bar(f"{scan.patient} ({number}/{len(scans)})") as show:
                found = segmenter.find(scan, on_parts=show)
        except VolumeRefused as refused:
            yield refused.with_traceback(None)
        else:
            yield _written(scan, found, folder, greys=greys)


def _written(
    scan: Scan, found: Mask, folder: Path, *, greys: tuple[float, float] | None
) -> Predicted:
    numbers = [""] if len(found) == 1 else [str(index + 1) for index in range(len(found))]
    names = tuple(f"{scan.patient}_mask{number}.nii.gz" for number in numbers)
    for name, mask in zip(names, found, strict=True):
        (folder / name).write_bytes(_nifti(scan, mask))
    picture = f"{scan.patient}.png"
    every = np.asarray(found.any(axis=0))
    drawn = draw_overlay(scan.image[0], every, spacing=scan.grid.spacing, greys=greys)
    (folder / picture).write_bytes(drawn)
    each = float(np.prod(scan.grid.spacing)) / 1000
    sizes = tuple(float(mask.sum()) * each for mask in found)
    return Predicted(scan.patient, names, picture, sizes)


def _nifti(scan: Scan, mask: Mask) -> bytes:
    """Return the file of a mask on the very voxels of the scan, with nothing else of it."""
    stored = scan.grid.stored(mask.astype(np.float32)).astype(np.uint8)
    image = nib.Nifti1Image(stored, scan.grid.affine)
    image.set_sform(scan.grid.affine, code=_SCANNER)
    image.set_qform(scan.grid.affine, code=_SCANNER)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), mtime=0)


def _amount(millilitres: Sequence[float]) -> str:
    return ", ".join(f"{one:.1f} ml" for one in millilitres)
