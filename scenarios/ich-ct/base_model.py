"""Write the base model of the CT scenario: a 3D U-Net that has not seen any data yet.

The weights are a random start from a fixed seed. Everything that the model knows in the end comes
from the hospitals' patients, under the privacy they agreed to.

    python base_model.py --out base          # writes base/model.safetensors
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from policies.wire.models import UNet3d
from trainer.models.unet import UNet
from trainer.models.weights import write_weights

CONFIG = Path(__file__).resolve().parent / "config" / "model_config.json"
FILE = "model.safetensors"


def base_model(*, seed: int) -> bytes:
    """Return the weights of the network that the scenario's configuration describes."""
    part = json.loads(CONFIG.read_bytes())
    config = UNet3d.model_validate_json(json.dumps(part["model"]), by_alias=True, by_name=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return write_weights(UNet(config).state_dict())


def main() -> None:
    """Write the base model into a new folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    parser.add_argument("--seed", type=int, default=2026)
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    data = base_model(seed=args.seed)
    (args.out / FILE).write_bytes(data)
    sys.stdout.write(json.dumps({"out": str(args.out / FILE), "bytes": len(data)}) + "\n")


if __name__ == "__main__":
    main()
