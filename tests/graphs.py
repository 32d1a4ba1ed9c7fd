"""A small ONNX graph with one of each layer, for tests to bend."""

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

    def data(self) -> bytes:
        """Return the bytes of the file, unchecked."""
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, self.side, self.side])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", self.classes])],
            [numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in self.domains]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        if self.frozen:
            helper.set_model_props(model, {"depa.frozen": ",".join(self.frozen)})
        data: bytes = model.SerializeToString()
        return data


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
