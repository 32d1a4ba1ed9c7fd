"""Small ONNX graphs with one of each layer, for tests to bend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass
class Maker:
    """The pieces of a graph before they are put together."""

    nodes: list[onnx.NodeProto]
    arrays: dict[str, Any]
    frozen: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    opset: int = 21
    side: int = 12
    classes: int = 3
    sample: tuple[int, ...] | None = None
    """Shape of one sample; a picture of one channel without it."""
    answer: tuple[int, ...] | None = None
    """Shape of what comes of it; classes without it."""

    def data(self) -> bytes:
        """Return the bytes of the file, unchecked."""
        graph = helper.make_graph(
            self.nodes,
            "test",
            [_value("x", self.sample or (1, self.side, self.side))],
            [_value("y", self.answer or (self.classes,))],
            [numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in self.domains]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        if self.frozen:
            helper.set_model_props(model, {"depa.frozen": ",".join(self.frozen)})
        data: bytes = model.SerializeToString()
        return data


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])


def network() -> Maker:
    """Return convolution, normalisation, pooling, a skip and a linear layer, [n, 1, 12, 12] in."""
    rng = np.random.default_rng(6)

    def array(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32) * 0.3

    return Maker(
        nodes=[
            helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node(
                "GroupNormalization", ["r", "norm.scale", "norm.bias"], ["g"], num_groups=2
            ),
            helper.make_node("MaxPool", ["g"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("AveragePool", ["g"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Concat", ["m", "a"], ["j"], axis=1),
            helper.make_node("Conv", ["j", "depth.weight"], ["d"], group=4, strides=[2, 2]),
            helper.make_node("Tanh", ["d"], ["t"]),
            helper.make_node("Mul", ["t", "factor"], ["u"]),
            helper.make_node("Add", ["u", "d"], ["s"]),
            helper.make_node("Flatten", ["s"], ["f"]),
            helper.make_node("Gemm", ["f", "gemm.weight", "gemm.bias"], ["y"], transB=1),
        ],
        arrays={
            "conv.weight": array(4, 1, 3, 3),
            "conv.bias": array(4),
            "norm.scale": array(4),
            "norm.bias": array(4),
            "depth.weight": array(8, 2, 2, 2),
            "factor": np.array([0.5], dtype=np.float32),
            "gemm.weight": array(3, 72),
            "gemm.bias": array(3),
        },
    )


def depas_cnn() -> Maker:
    """Return the network of DEPA's MNIST scenario as its exporter writes it: operator set 11."""
    rng = np.random.default_rng(8)

    def array(*shape: int) -> Any:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    node, half = helper.make_node, {"kernel_shape": [2, 2], "strides": [2, 2]}
    return Maker(
        nodes=[
            node("Conv", ["x", "conv1.weight", "conv1.bias"], ["a"], kernel_shape=[3, 3]),
            node("Relu", ["a"], ["b"]),
            node("MaxPool", ["b"], ["c"], **half),
            node("Conv", ["c", "conv2.weight", "conv2.bias"], ["d"], kernel_shape=[3, 3]),
            node("Relu", ["d"], ["e"]),
            node("MaxPool", ["e"], ["f"], **half),
            node("Flatten", ["f"], ["g"]),
            node("Gemm", ["g", "fc1.weight", "fc1.bias"], ["h"], transB=1),
            node("Relu", ["h"], ["i"]),
            node("Gemm", ["i", "fc2.weight", "fc2.bias"], ["y"], transB=1),
        ],
        arrays={
            "conv1.weight": array(32, 1, 3, 3),
            "conv1.bias": np.zeros(32, dtype=np.float32),
            "conv2.weight": array(64, 32, 3, 3),
            "conv2.bias": np.zeros(64, dtype=np.float32),
            "fc1.weight": array(128, 1600),
            "fc1.bias": np.zeros(128, dtype=np.float32),
            "fc2.weight": array(10, 128),
            "fc2.bias": np.zeros(10, dtype=np.float32),
        },
        opset=11,
        side=28,
        classes=10,
    )


def volume_network(sides: tuple[int, ...] = (4, 8, 12)) -> Maker:
    """Return a U-Net of two levels with two ways up, `[n, 2, *sides]` to `[n, 1, *sides]`."""
    rng = np.random.default_rng(6)
    d = len(sides)
    ones, twos = [1] * d, [2] * d
    half = {"kernel_shape": twos, "strides": twos}

    def array(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32) * 0.3

    node = helper.make_node
    return Maker(
        nodes=[
            node("Conv", ["x", "near.weight", "near.bias"], ["c"], pads=[1] * 2 * d),
            node("InstanceNormalization", ["c", "own.scale", "own.bias"], ["i"]),
            node("LeakyRelu", ["i"], ["r"], alpha=0.1),
            node("MaxPool", ["r"], ["m"], **half),
            node("AveragePool", ["r"], ["a"], **half),
            node("Concat", ["m", "a"], ["j"], axis=1),
            node("Conv", ["j", "deep.weight"], ["e"], group=2, pads=[1] * 2 * d),
            node("GroupNormalization", ["e", "norm.scale", "norm.bias"], ["g"], num_groups=2),
            node("ConvTranspose", ["g", "up.weight", "up.bias"], ["u"], strides=twos),
            node("Resize", ["g", "", "scales"], ["w"], mode="linear"),
            node(
                "Resize", ["m", "", "scales"], ["v"], mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            ),
            node("Concat", ["u", "w", "v", "r"], ["k"], axis=1),
            node("Conv", ["k", "last.weight"], ["l"], pads=[1] * 2 * d),
            node("GlobalAveragePool", ["l"], ["s"]),
            node("Sigmoid", ["s"], ["t"]),
            node("Mul", ["l", "t"], ["q"]),
            node("Conv", ["q", "head.weight", "head.bias"], ["y"]),
        ],
        arrays={
            "near.weight": array(4, 2, *[3] * d),
            "near.bias": array(4),
            "own.scale": array(4),
            "own.bias": array(4),
            "deep.weight": array(8, 4, *[3] * d),
            "norm.scale": array(8),
            "norm.bias": array(8),
            "up.weight": array(8, 4, *twos),
            "up.bias": array(4),
            "scales": np.array([1, 1, *twos], dtype=np.float32),
            "last.weight": array(4, 20, *[3] * d),
            "head.weight": array(1, 4, *ones),
            "head.bias": array(1),
        },
        sample=(2, *sides),
        answer=(1, *sides),
    )  # fmt: skip
