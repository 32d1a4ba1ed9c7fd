"""How long it takes to prepare volumes in two processes, against one.

The volumes are of the size of a head scan at 1 mm, so that reading and resampling count, and not
the start of the processes alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from trainer.data.prepare import prepare
from trainer.data.preprocess import Recipe

_SHAPE = (180, 216, 160)
_DIFFERENT = 4


def over_serial(volumes: int) -> float:
    """Return the time of preparing `volumes` volumes in two processes divided by that in one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "volumes", volumes)
        seconds = {}
        for jobs in (1, 2):
            started = time.perf_counter()
            prepare(folder / "volumes", folder / f"set-{jobs}", recipe=Recipe(), jobs=jobs)
            seconds[jobs] = time.perf_counter() - started
    return seconds[2] / seconds[1]


def over_serial_apart(volumes: int) -> float:
    """Return the same, measured by a program of its own.

    Spawned processes load the program that starts them: they should not load a training benchmark.
    """
    command = [sys.executable, __file__, str(volumes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this file
    return float(done.stdout)


def _write(folder: Path, volumes: int) -> None:
    folder.mkdir()
    x, y, z = (np.linspace(-1, 1, side, dtype=np.float32) for side in _SHAPE)
    radius = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)
    lesion = ((radius < 0.5) & (x[:, None, None] > 0.2)).astype(np.uint8)
    for number in range(volumes):
        image = folder / f"p{number:03d}_image.nii.gz"
        label = folder / f"p{number:03d}_label.nii.gz"
        if number >= _DIFFERENT:
            for path in (image, label):
                shutil.copy(path.with_name(f"p{number % _DIFFERENT:03d}_{path.name[5:]}"), path)
            continue
        noise = np.random.default_rng(number).normal(0, 20, _SHAPE)
        head = np.where(radius < 0.9, 400 + noise, 0).astype(np.int16)
        nib.save(nib.Nifti1Image(head, np.eye(4)), image)
        nib.save(nib.Nifti1Image(lesion, np.eye(4)), label)


if __name__ == "__main__":
    print(over_serial(int(sys.argv[1])))
