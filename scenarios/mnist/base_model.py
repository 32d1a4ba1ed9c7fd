"""Write the base model of the MNIST scenario: an ONNX graph that looks at strokes.

The first layers are fixed and know nothing of any data: derivatives of a Gaussian in eight
directions, rectified, averaged over cells, and normalised for each picture. They are what
histograms of oriented gradients are, and are listed as frozen in the graph's metadata, so that no
privacy is spent on them. The linear layer after them is what the provider's digits train.

    python base_model.py --out base          # writes base/model.onnx
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, checker, helper, numpy_helper

FILE = "model.onnx"
DIRECTIONS = 8
KERNEL = 5
SIGMA = 1.0
CELL, STRIDE = 6, 3
SIDE = 28
CLASSES = 10
OPSET = 21
IR_VERSION = 10
FROZEN = ("strokes.weight", "norm.scale", "norm.bias")


def stroke_filters() -> npt.NDArray[np.float32]:
    """Return the directed derivatives of a Gaussian, [DIRECTIONS, 1, KERNEL, KERNEL]."""
    reach = KERNEL // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    bell = np.exp(-(x**2 + y**2) / (2 * SIGMA**2))
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    filters = np.stack([(np.cos(a) * x + np.sin(a) * y) * bell for a in angles])
    filters *= 2 / np.abs(filters).sum(axis=(1, 2), keepdims=True)
    return filters[:, None].astype(np.float32)


def base_model() -> bytes:
    """Return the ONNX file; it is the same every time."""
    cells = (SIDE - CELL) // STRIDE + 1
    features = DIRECTIONS * cells * cells
    arrays: dict[str, npt.NDArray[Any]] = {
        "strokes.weight": stroke_filters(),
        "norm.scale": np.ones(DIRECTIONS, dtype=np.float32),
        "norm.bias": np.zeros(DIRECTIONS, dtype=np.float32),
        "classes.weight": np.zeros((CLASSES, features), dtype=np.float32),
        "classes.bias": np.zeros(CLASSES, dtype=np.float32),
    }
    edge, pool = [KERNEL // 2] * 4, [CELL, CELL]
    nodes = [
        helper.make_node("Conv", ["digits", "strokes.weight"], ["strokes"], pads=edge),
        helper.make_node("Relu", ["strokes"], ["lit"]),
        helper.make_node(
            "AveragePool", ["lit"], ["cells"], kernel_shape=pool, strides=[STRIDE, STRIDE]
        ),
        helper.make_node(
            "GroupNormalization", ["cells", "norm.scale", "norm.bias"], ["even"], num_groups=1
        ),
        helper.make_node("Flatten", ["even"], ["features"]),
        helper.make_node(
            "Gemm", ["features", "classes.weight", "classes.bias"], ["logits"], transB=1
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("digits", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    helper.set_model_props(model, {"depa.frozen": ",".join(FROZEN)})
    checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def main() -> None:
    """Write the base model into a new folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to create")
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    data = base_model()
    (args.out / FILE).write_bytes(data)
    sys.stdout.write(json.dumps({"out": str(args.out / FILE), "bytes": len(data)}) + "\n")


if __name__ == "__main__":
    main()
