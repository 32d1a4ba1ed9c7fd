"""Write one party's patients for the MRI scenario: real brains, grown lesions.

The two real patients in `data/` are copied whole (one to provider A, one to B). Every other patient
is made: a block of slices is cut from one of three real anatomies (the two patients without their
tumours, and the MNI152 T1 template) under a random affine and elastic change, a lesion of random
shape, place and contrast is grown into it, and the provider's scanner adds its gain, bias field and
noise. The same provider, patient number and seed always give the same bytes; no number is used by
two providers.

    python generate.py --out volumes/A --provider A --patients 220 --seed 7
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array: TypeAlias = npt.NDArray[np.float32]

HERE = Path(__file__).resolve().parent
GRID = 96
"""Pixels along each side of a slice."""
PIXEL_MM = 2.0
SLICE_MM = 5.0
PATIENTS_PER_PROVIDER = 1000
_WHITE_MATTER = 400.0


@dataclass(frozen=True)
class Scanner:
    """How one provider's images differ from another's."""

    gain: float
    """Multiplies every intensity."""
    gamma: float
    """Exponent of the tissue contrast."""
    noise: float
    """Standard deviation of the Rician noise, white matter being 1."""
    bias: float
    """Strength of the low-frequency shading."""
    lesion: float
    """Multiplies the lesion's radii."""


SCANNERS = {
    "A": Scanner(gain=1.0, gamma=1.0, noise=0.03, bias=0.10, lesion=1.0),
    "B": Scanner(gain=1.7, gamma=0.8, noise=0.05, bias=0.15, lesion=1.1),
    "C": Scanner(gain=0.6, gamma=1.2, noise=0.04, bias=0.08, lesion=0.9),
    "D": Scanner(gain=2.4, gamma=1.0, noise=0.07, bias=0.20, lesion=1.05),
}
COHORTS = (*SCANNERS, "test", "validation")
"""The four providers, the developer's public test patients, and patients for choosing a recipe."""
REAL_PATIENTS = {"A": "brain1", "B": "brain2"}


@dataclass(frozen=True)
class Anatomy:
    """A brain without skull or tumour."""

    voxels: Array
    """[X, Y, Z], white matter near 1, outside the brain 0."""
    spacing: tuple[float, float, float]
    """Millimetres between voxels."""
    levels: tuple[float, float]
    """Lowest and highest slice, in voxels, between which a block may be cut."""


def _disc(radius: int) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(np.hypot(x, y) <= radius)


def _brain_mask(voxels: Array) -> npt.NDArray[np.bool_]:
    """Cut the brain out of a head, slice by slice: the biggest piece of even tissue."""
    smooth = ndimage.gaussian_filter(voxels, (1, 1, 0))
    tissue = (smooth > 0.6) & (smooth < 1.55)
    mask = np.zeros(voxels.shape, dtype=bool)
    for level in range(voxels.shape[2]):
        pieces, count = ndimage.label(ndimage.binary_erosion(tissue[:, :, level], _disc(4)))
        if count == 0:
            continue
        sizes = ndimage.sum_labels(pieces > 0, pieces, range(1, count + 1))
        piece = ndimage.binary_dilation(pieces == 1 + np.argmax(sizes), _disc(4))
        closed = ndimage.binary_closing(np.pad(piece, 12), _disc(10))[12:-12, 12:-12]
        mask[:, :, level] = ndimage.binary_erosion(ndimage.binary_fill_holes(closed), _disc(2))
    return mask


def _patient_anatomy(name: str, *, levels: tuple[int, int]) -> Anatomy:
    """Return a real patient's brain, its tumour replaced by the mirrored other hemisphere."""
    image = nib.as_closest_canonical(nib.load(HERE / "data" / f"{name}_image.nii.gz"))
    label = nib.as_closest_canonical(nib.load(HERE / "data" / f"{name}_label.nii.gz"))
    low, high = levels
    voxels = np.asarray(image.dataobj, dtype=np.float32)[:, :, low:high]
    tumour = np.asarray(label.dataobj)[:, :, low:high] > 0
    centre = voxels[100:156, 90:166, voxels.shape[2] // 2]
    voxels = voxels / np.median(centre[centre > 0])
    brain = _brain_mask(voxels)
    middle = round(float(np.mean(np.nonzero(brain)[0])))
    mirrored = np.roll(voxels[::-1], 2 * middle - voxels.shape[0] + 1, axis=0)
    near = ndimage.binary_dilation(tumour, _disc(8)[:, :, None])
    weight = ndimage.gaussian_filter(near.astype(np.float32), (4, 4, 0.5))
    healthy = np.clip(voxels * (1 - weight) + mirrored * weight, 0, 1.3) * brain
    step = PIXEL_MM / float(image.header.get_zooms()[0])
    healthy = ndimage.gaussian_filter(healthy, (step / 2.5, step / 2.5, 0))
    coarse = ndimage.zoom(healthy, (1 / step, 1 / step, 1), order=1)
    spacing = (PIXEL_MM, PIXEL_MM, float(image.header.get_zooms()[2]))
    return Anatomy(np.asarray(coarse, dtype=np.float32), spacing, (0.0, coarse.shape[2] - 1.0))


def _template_anatomy() -> Anatomy:
    """Return the MNI152 T1 template (ICBM 2009a symmetric, as nilearn ships it) at 2 mm."""
    found = importlib.util.find_spec("nilearn")
    if found is None or found.origin is None:
        sys.exit("error: the MNI152 template comes with nilearn: pip install 'depa[demo]'")
    name = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    voxels = np.asarray(nib.load(Path(found.origin).parent / name).dataobj, dtype=np.float32)
    x, y, z = (side // 2 * 2 for side in voxels.shape)
    halves = voxels[:x, :y, :z].reshape(x // 2, 2, y // 2, 2, z // 2, 2).mean(axis=(1, 3, 5))
    return Anatomy(halves / np.float32(225), (PIXEL_MM,) * 3, (28.0, 68.0))


@cache
def anatomies() -> tuple[Anatomy, ...]:
    """Return the three brains that every made patient starts from."""
    return (
        _template_anatomy(),
        _patient_anatomy("brain1", levels=(9, 19)),
        _patient_anatomy("brain2", levels=(8, 18)),
    )


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...], *, nodes: int) -> Array:
    """Return a field over `shape` that varies slowly, with a standard deviation near 1."""
    coarse = rng.standard_normal([min(nodes, side) for side in shape]).astype(np.float32)
    field = coarse
    for axis, side in enumerate(shape):
        at = np.linspace(0, coarse.shape[axis] - 1, side)
        low = np.minimum(at.astype(int), coarse.shape[axis] - 2)
        part = (at - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        field = np.take(field, low, axis) * (1 - part) + np.take(field, low + 1, axis) * part
    return field


def _cut_block(rng: np.random.Generator, anatomy: Anatomy, slices: int) -> Array:
    """Cut [GRID, GRID, slices] from an anatomy under a random affine and elastic change."""
    turn = np.deg2rad(rng.uniform(-12, 12))
    scale = rng.uniform(0.88, 1.12, 2) * np.array([rng.choice([-1, 1]), 1])
    shape = (GRID, GRID, slices)
    x, y, z = (
        np.indices(shape, dtype=np.float32) - (np.array(shape) - 1)[:, None, None, None] / 2
    ).astype(np.float32)
    bend = [_smooth_field(rng, shape, nodes=5) * rng.uniform(0.5, 2.0) for _ in range(2)]
    shift = rng.uniform(-4, 4, 2)
    x, y = (x + shift[0] + bend[0]) / scale[0], (y + shift[1] + bend[1]) / scale[1]
    z = z * SLICE_MM / anatomy.spacing[2] + np.float32(rng.uniform(-0.06, 0.06)) * x
    reach = (slices - 1) / 2 * SLICE_MM / anatomy.spacing[2]
    low, high = anatomy.levels[0] + reach, anatomy.levels[1] - reach
    level = rng.uniform(low, high) if low < high else (low + high) / 2
    nonzero = np.nonzero(anatomy.voxels.max(axis=2))
    middle = [(float(axis.min()) + float(axis.max())) / 2 for axis in nonzero]
    where = [
        x * np.cos(turn) - y * np.sin(turn) + middle[0],
        x * np.sin(turn) + y * np.cos(turn) + middle[1],
        np.clip(z + level, *anatomy.levels),
    ]
    block = ndimage.map_coordinates(anatomy.voxels, where, order=1, mode="constant")
    return np.asarray(block, dtype=np.float32)


def _grow_lesion(rng: np.random.Generator, brain: Array, *, size: float) -> tuple[Array, Array]:
    """Return a lesion's depth (above 0 inside, 1 at its heart) and its label, both like `brain`.

    Labels follow BraTS: 1 necrotic core, 2 oedema, 4 enhancing rim.
    """
    inside = ndimage.binary_erosion(brain > 0.3, np.ones((9, 9, 1)))
    inside[:, :, [0, -1]] = False
    places = np.argwhere(inside if inside.any() else brain > 0.3)
    centre = places[rng.integers(len(places))]
    radii = rng.uniform([7.5, 7.5, 2.2], [12.5, 12.5, 3.6]) * size
    turn = rng.uniform(0, np.pi)
    grid = np.meshgrid(*map(np.arange, brain.shape), indexing="ij")
    dx, dy, dz = (axis - at for axis, at in zip(grid, centre, strict=True))
    along = (dx * np.cos(turn) + dy * np.sin(turn)) / radii[0]
    across = (dy * np.cos(turn) - dx * np.sin(turn)) / radii[1]
    distance = np.sqrt(along**2 + across**2 + (dz / radii[2]) ** 4)
    rough = _smooth_field(rng, brain.shape, nodes=12) * rng.uniform(0.06, 0.2)
    depth = np.where(brain > 0.15, 1 - distance + rough, -1).astype(np.float32)
    label = np.where(depth > 0, 2, 0)
    core = rng.uniform(0.45, 0.75)
    if rng.random() < 0.5:
        label = np.where(depth > core - 0.15, 4, label)
        label = np.where(depth > core, 1, label)
    return depth, label.astype(np.float32)


def make_patient(rng: np.random.Generator, scanner: Scanner) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Return one made patient: image and label, [GRID, GRID, 6..8]."""
    sources = anatomies()
    brain = _cut_block(rng, sources[rng.integers(len(sources))], int(rng.integers(6, 9)))
    tissue = np.where(brain > 0.1, np.maximum(brain, 0) ** scanner.gamma, 0)
    depth, label = _grow_lesion(rng, brain, size=scanner.lesion)
    bright = rng.uniform(0.4, 1.0)
    texture = 1 + 0.12 * _smooth_field(rng, brain.shape, nodes=20)
    glow = np.clip(depth / rng.uniform(0.08, 0.22) + 0.4, 0, 1) * texture * bright
    glow = np.where(label == 1, glow * rng.uniform(0.3, 1.0), glow)
    glow = np.where(label == 4, glow * rng.uniform(1.0, 1.3), glow)
    # A lesion replaces the tissue's own contrast; it is not merely added to it.
    inside = np.clip(depth / 0.15 + 0.4, 0, 1)
    image = tissue * (1 - 0.7 * inside) + 0.7 * inside + glow
    image *= np.exp(scanner.bias * _smooth_field(rng, brain.shape, nodes=3))
    noise = rng.standard_normal((2, *brain.shape), dtype=np.float32) * scanner.noise
    image = np.hypot(image + noise[0], noise[1]) * (brain > 0.1)
    gain = _WHITE_MATTER * scanner.gain * rng.uniform(0.85, 1.15)
    return (image * gain).astype(np.float32), label.astype(np.uint8)


def _write(folder: Path, patient: str, image: Array, label: npt.NDArray[np.uint8]) -> None:
    affine = np.diag([PIXEL_MM, PIXEL_MM, SLICE_MM, 1.0])
    (folder / patient).mkdir()
    voxels = np.clip(np.rint(image), 0, 32767).astype(np.int16)
    for kind, array in (("flair", voxels), ("seg", label)):
        nib.save(nib.Nifti1Image(array, affine), folder / patient / f"{patient}_{kind}.nii.gz")


def generate_cohort(out_dir: Path, *, provider: str, patients: int, seed: int) -> Path:
    """Write `patients` patients of one cohort, real ones included, into the new folder `out_dir`.

    Raises:
        ValueError: for an unknown cohort or a number of patients it has no names for.
        FileExistsError: when the folder is already there.
    """
    if provider not in COHORTS:
        raise ValueError(f"provider: expected one of {', '.join(COHORTS)}, got {provider!r}")
    if not 1 <= patients <= PATIENTS_PER_PROVIDER:
        raise ValueError(f"patients: expected 1 to {PATIENTS_PER_PROVIDER}, got {patients}")
    out_dir.mkdir(parents=True)
    real = REAL_PATIENTS.get(provider)
    if real is not None:
        for part in ("image", "label"):
            shutil.copy(HERE / "data" / f"{real}_{part}.nii.gz", out_dir)
    cohort = COHORTS.index(provider)
    for number in range(patients - (real is not None)):
        rng = np.random.default_rng([seed, cohort, number])
        scanner = SCANNERS.get(provider) or SCANNERS["ABCD"[number % 4]]
        name = f"BraTS20_Training_{cohort * PATIENTS_PER_PROVIDER + number + 1:03d}"
        _write(out_dir, name, *make_patient(rng, scanner))
    return out_dir


def contact_sheet(folder: Path, png: Path, *, patients: int = 24) -> None:
    """Draw the middle lesion slice of the first patients, the lesion outlined, to look at."""
    from matplotlib.figure import Figure  # noqa: PLC0415, only needed to look

    chosen = sorted(folder.glob("*/*_flair.nii.gz"))[:patients]
    rows = -(-len(chosen) // 8)
    figure = Figure(figsize=(16, 2 * rows), layout="tight")
    for place, path in enumerate(chosen):
        image = np.asarray(nib.load(path).dataobj)
        label = np.asarray(nib.load(str(path).replace("_flair", "_seg")).dataobj) > 0
        level = int(np.argmax(label.sum(axis=(0, 1))))
        axes = figure.add_subplot(rows, 8, place + 1)
        axes.imshow(image[:, :, level].T, cmap="gray", origin="lower")
        axes.contour(label[:, :, level].T, [0.5], colors="red", linewidths=0.6)
        axes.axis("off")
    figure.savefig(png, dpi=60)


def main() -> None:
    """Read the command line and write one cohort."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    parser.add_argument("--provider", choices=COHORTS, required=True)
    parser.add_argument("--patients", type=int, default=220)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--sheet", type=Path, help="also draw a contact sheet to this PNG")
    args = parser.parse_args()
    generate_cohort(args.out, provider=args.provider, patients=args.patients, seed=args.seed)
    if args.sheet is not None:
        contact_sheet(args.out, args.sheet)
    report = {"out": str(args.out), "provider": args.provider, "patients": args.patients}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
