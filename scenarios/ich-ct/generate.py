"""Write one hospital's patients for the CT scenario: heads made of simple geometry, and bleedings.

A head is a stack of nested ellipsoids (scalp, skull, brain, ventricles) with a random size and
direction; a bleeding of one of four kinds is put where such bleedings are. Hospital A writes DICOM
series, the others NIfTI files; each has its own scanner: noise, sharpness, offset and voxels. The
same hospital, patient number and seed always give the same bytes; no number is used by two.

    python generate.py --out scans/A --provider A --patients 200 --seed 7
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import nibabel as nib
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy import ndimage

Array: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Rng: TypeAlias = np.random.Generator

PATIENTS_PER_PROVIDER = 1000
FIELD_MM = (190.0, 230.0, 150.0)
"""What the scanners see, from right to left, front to back, bottom to top."""
_UID = "1.2.826.0.1.3680043.8.498"
"""Root of identifiers that the DICOM library gives away for made data."""
AIR, SCALP, BONE, GREY, WHITE, FLUID = -1000.0, 15.0, 900.0, 37.0, 29.0, 6.0


@dataclass(frozen=True)
class Scanner:
    """How one hospital's scans differ from another's."""

    voxel: tuple[float, float, float]
    """Millimetres."""
    noise: float
    """Standard deviation in Hounsfield units."""
    blur: float
    """Sharpness of the reconstruction: a Gaussian of so many millimetres in the plane."""
    offset: float
    """Hounsfield units too many."""
    dicom: bool


SCANNERS = {
    "A": Scanner((2.5, 2.5, 5.0), noise=6.0, blur=1.0, offset=0.0, dicom=True),
    "B": Scanner((2.2, 2.2, 4.5), noise=8.0, blur=0.7, offset=1.5, dicom=False),
    "C": Scanner((2.8, 2.8, 6.0), noise=5.0, blur=1.5, offset=-1.5, dicom=False),
}
COHORTS = (*SCANNERS, "test", "validation")
"""The hospitals, the developer's public test patients, and patients for choosing a recipe."""
KINDS = ("intraparenchymal", "subdural", "epidural", "intraventricular")


@dataclass(frozen=True)
class Head:
    """A head on a scanner's grid, before anything has bled."""

    hounsfield: Array
    brain: Mask
    ventricles: Mask
    depth: Array
    """Millimetres, about, from the inner side of the skull inwards."""
    place: tuple[Array, Array, Array]
    """Millimetres from the middle of the brain along the head's own axes."""


def _smooth(rng: Rng, shape: tuple[int, ...], *, nodes: int) -> Array:
    """Return a field that varies slowly, with a standard deviation near 1."""
    coarse = rng.standard_normal([nodes] * 3)
    zoom = [side / nodes for side in shape]
    return np.asarray(ndimage.zoom(coarse, zoom, order=1, grid_mode=True, mode="nearest"), "f4")


def _axes(rng: Rng, voxel: tuple[float, float, float]) -> tuple[Array, Array, Array]:
    """Return the voxels' places along the axes of a head that is a little turned and shifted."""
    shape = [round(side / step) for side, step in zip(FIELD_MM, voxel, strict=True)]
    x, y, z = (
        ((np.arange(side) - (side - 1) / 2) * step + rng.uniform(-4, 4)).astype(np.float32)
        for side, step in zip(shape, voxel, strict=True)
    )
    grid = np.meshgrid(x, y, z, indexing="ij")
    turn, tilt = np.deg2rad(rng.uniform(-10, 10, 2)).astype(np.float32)
    across = grid[0] * np.cos(turn) + grid[1] * np.sin(turn)
    along = grid[1] * np.cos(turn) - grid[0] * np.sin(turn)
    up = grid[2] * np.cos(tilt) + across * np.sin(tilt)
    return across * np.cos(tilt) - grid[2] * np.sin(tilt), along, up


def make_head(rng: Rng, voxel: tuple[float, float, float]) -> Head:
    """Return a head of random size: scalp, skull, grey and white matter, ventricles."""
    x, y, z = _axes(rng, voxel)
    sides = np.array([64.0, 82.0, 68.0]) * rng.uniform(0.92, 1.06) * rng.uniform(0.96, 1.04, 3)
    skull = rng.uniform(5.0, 8.0)
    radius = np.sqrt((x / sides[0]) ** 2 + (y / sides[1]) ** 2 + (z / sides[2]) ** 2)
    depth = ((1 - radius) * sides.mean()).astype(np.float32)
    brain = depth > 0
    bend = _smooth(rng, x.shape, nodes=7)
    rim = 5 + 2.5 * bend
    image = np.full(x.shape, AIR, dtype=np.float32)
    image[depth > -skull - rng.uniform(4, 7)] = SCALP
    image[depth > -skull] = BONE * rng.uniform(0.85, 1.15)
    image[brain] = WHITE
    image[brain & (depth < rim)] = GREY
    # The falx, and furrows at the surface that hold fluid.
    image[brain & (np.abs(x) < 1.2) & (z > -10)] = GREY + 8
    image[brain & (depth < 3) & (_smooth(rng, x.shape, nodes=16) > 0.8)] = FLUID
    ventricles = _ventricles(rng, x, y, z)
    image[ventricles] = FLUID
    # A calcified gland: bright, small, and no bleeding.
    image[(x**2 + (y + 8) ** 2 + (z + 4) ** 2 < rng.uniform(2, 4) ** 2) & brain] = 140
    return Head(image, brain, ventricles, depth, (x, y, z))


def _ventricles(rng: Rng, x: Array, y: Array, z: Array) -> Mask:
    width, length = rng.uniform(6, 10), rng.uniform(24, 32)
    found = np.zeros(x.shape, dtype=bool)
    for side in (-1, 1):
        bow = side * (9 + 0.008 * y**2)
        found |= ((x - bow) / width) ** 2 + (y / length) ** 2 + ((z - 6) / 11) ** 2 < 1
    return found


def bleed(rng: Rng, head: Head, kind: str) -> Mask:
    """Return where a bleeding of one of the `KINDS` is."""
    x, y, z = head.place
    rough = _smooth(rng, x.shape, nodes=9)
    if kind == "intraventricular":
        level = rng.uniform(-6, 10)
        return np.asarray(head.ventricles & (y + 3 * rough < level))
    way = rng.standard_normal(3)
    way[2] *= 0.3
    way /= np.linalg.norm(way)
    if kind == "intraparenchymal":
        radii = rng.uniform(12, 24, 3)
        at = way * rng.uniform(18, 42)
        distance = sum(
            ((axis - middle) / radius) ** 2
            for axis, middle, radius in zip((x, y, z), at, radii, strict=True)
        )
        inside = np.sqrt(distance) < 1 + 0.18 * rough
        return np.asarray(inside & head.brain & ~head.ventricles & (head.depth > 4))
    toward = (x * way[0] + y * way[1] + z * way[2]) / np.sqrt(x**2 + y**2 + z**2 + 1)
    if kind == "subdural":
        thick = rng.uniform(6, 13) * np.clip((toward - 0.45) / 0.3, 0, 1) * (1 + 0.2 * rough)
    else:
        thick = rng.uniform(12, 24) * np.clip((toward - 0.8) / 0.2, 0, 1) * (1 + 0.1 * rough)
    return np.asarray(head.brain & (head.depth < thick))


def make_patient(
    rng: Rng, scanner: Scanner, *, healthy: bool
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Return one patient's scan in Hounsfield units and the mask of the bleeding."""
    head = make_head(rng, scanner.voxel)
    image, mask = head.hounsfield, np.zeros(head.brain.shape, dtype=bool)
    if not healthy:
        kind = KINDS[rng.integers(len(KINDS))]
        mask = bleed(rng, head, kind)
        if kind == "intraparenchymal":
            near = ndimage.binary_dilation(mask, iterations=2) & head.brain & ~head.ventricles
            image[near] = 20
        blood = rng.uniform(58, 78) + 4 * _smooth(rng, image.shape, nodes=8)
        image[mask] = blood[mask]
    image = np.asarray(image, dtype=np.float32)
    sigma = [scanner.blur / scanner.voxel[0], scanner.blur / scanner.voxel[1], 0.3]
    image = ndimage.gaussian_filter(image, sigma)
    image += scanner.offset + scanner.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16), mask.astype(np.uint8)


def _affine(scanner: Scanner, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    affine = np.diag([*scanner.voxel, 1.0])
    affine[:3, 3] = [
        -(side - 1) / 2 * step for side, step in zip(shape, scanner.voxel, strict=True)
    ]
    return affine


def _write_series(
    folder: Path, patient: str, image: npt.NDArray[np.int16], scanner: Scanner
) -> None:
    """Write one DICOM file a slice, as a scanner does: head first, columns to the left."""
    folder.mkdir()
    x, y, z = scanner.voxel
    corner = [-(image.shape[0] - 1) / 2 * x, -(image.shape[1] - 1) / 2 * y]
    number = int(patient.rpartition("_")[2])
    for level in range(image.shape[2]):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = CTImageStorage
        uid = f"{_UID}.{number}.{level + 1}"
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = uid
        one.StudyInstanceUID, one.SeriesInstanceUID = f"{_UID}.{number}.0.1", f"{_UID}.{number}.0.2"
        one.PatientID, one.Modality, one.InstanceNumber = patient, "CT", level + 1
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        height = round((level - (image.shape[2] - 1) / 2) * z, 4)
        one.ImagePositionPatient = [round(corner[0], 4), round(corner[1], 4), height]
        one.PixelSpacing, one.SliceThickness = [y, x], z
        one.Rows, one.Columns = image.shape[1], image.shape[0]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
        one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1, -1024, "HU"
        stored = image[::-1, ::-1, level].T.astype(np.int32) + 1024
        one.PixelData = stored.astype("<u2").tobytes()
        one.save_as(folder / f"slice{level + 1:03d}.dcm", enforce_file_format=True)


def _write(
    root: Path,
    patient: str,
    image: npt.NDArray[np.int16],
    mask: npt.NDArray[np.uint8],
    scanner: Scanner,
) -> None:
    folder = root / patient
    folder.mkdir()
    affine = _affine(scanner, image.shape)
    if scanner.dicom:
        _write_series(folder / f"{patient}_ct", patient, image, scanner)
    else:
        nib.save(nib.Nifti1Image(image, affine), folder / f"{patient}_ct.nii.gz")
    nib.save(nib.Nifti1Image(mask, affine), folder / f"{patient}_seg.nii.gz")


def generate_cohort(out_dir: Path, *, provider: str, patients: int, seed: int) -> Path:
    """Write `patients` patients of one cohort into the new folder `out_dir`.

    One in ten has not bled; the developer's patients all have.

    Raises:
        ValueError: for an unknown cohort or a number of patients it has no names for.
        FileExistsError: when the folder is already there.
    """
    if provider not in COHORTS:
        raise ValueError(f"provider: expected one of {', '.join(COHORTS)}, got {provider!r}")
    if not 1 <= patients <= PATIENTS_PER_PROVIDER:
        raise ValueError(f"patients: expected 1 to {PATIENTS_PER_PROVIDER}, got {patients}")
    out_dir.mkdir(parents=True)
    cohort = COHORTS.index(provider)
    for number in range(patients):
        rng = np.random.default_rng([seed, cohort, number])
        scanner = SCANNERS.get(provider) or SCANNERS["ABC"[number % 3]]
        healthy = provider in SCANNERS and bool(rng.random() < 0.1)
        name = f"ICH_{cohort * PATIENTS_PER_PROVIDER + number + 1:04d}"
        _write(out_dir, name, *make_patient(rng, scanner, healthy=healthy), scanner)
    return out_dir


def contact_sheet(folder: Path, png: Path, *, patients: int = 24) -> None:
    """Draw the slice with most blood of the first patients, outlined, through a brain window."""
    from matplotlib.figure import Figure  # noqa: PLC0415, only needed to look

    chosen = sorted(folder.glob("*/*_ct.nii.gz"))[:patients]
    rows = -(-len(chosen) // 8)
    figure = Figure(figsize=(16, 2.2 * rows), layout="tight")
    for place, path in enumerate(chosen):
        image = np.asarray(nib.load(path).dataobj)
        label = np.asarray(nib.load(str(path).replace("_ct", "_seg")).dataobj) > 0
        level = int(np.argmax(label.sum(axis=(0, 1))))
        axes = figure.add_subplot(rows, 8, place + 1)
        axes.imshow(image[:, :, level].T, cmap="gray", origin="lower", vmin=0, vmax=80)
        if label.any():
            axes.contour(label[:, :, level].T, [0.5], colors="red", linewidths=0.6)
        axes.axis("off")
    figure.savefig(png, dpi=60)


def main() -> None:
    """Read the command line and write one cohort."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    parser.add_argument("--provider", choices=COHORTS, required=True)
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--sheet", type=Path, help="also draw a contact sheet to this PNG (NIfTI)")
    args = parser.parse_args()
    generate_cohort(args.out, provider=args.provider, patients=args.patients, seed=args.seed)
    if args.sheet is not None:
        contact_sheet(args.out, args.sheet)
    report = {"out": str(args.out), "provider": args.provider, "patients": args.patients}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
