from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from tests.graphs import Maker, network
from trainer.models.errors import ModelRefused
from trainer.models.onnx_model import open_onnx, write_onnx
from trainer.privacy.opacus_engine import check_layers


def run(data: bytes, inputs: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    return np.asarray(found)


def images(count: int = 5, side: int = 12) -> torch.Tensor:
    return torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(4))


def test_the_network_computes_what_onnxruntime_computes() -> None:
    data = network().data()
    model = open_onnx(data).eval()
    got = model(images()).detach().numpy()
    np.testing.assert_allclose(got, run(data, images()), rtol=1e-4, atol=1e-5)


def test_every_layer_that_is_trained_has_per_sample_gradients() -> None:
    check_layers(open_onnx(network().data()))


def test_trained_weights_are_written_into_the_graph() -> None:
    data = network().data()
    model = open_onnx(data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    written = write_onnx(data, model.state_dict())
    np.testing.assert_allclose(
        run(written, images()), model.eval()(images()).detach().numpy(), rtol=1e-4, atol=1e-5
    )
    reopened = open_onnx(written).state_dict()
    assert all(torch.equal(reopened[name], value) for name, value in model.state_dict().items())


def test_frozen_initialisers_are_not_trained() -> None:
    maker = network()
    maker.frozen = ["conv.weight", "conv.bias"]
    names = {name for name, p in open_onnx(maker.data()).named_parameters() if not p.requires_grad}
    assert names == {"layers.0.weight", "layers.0.bias"}


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ModelRefused, match="another network"):
        write_onnx(network().data(), {"layers.0.weight": torch.zeros(1)})


def with_operator(operator: str) -> Callable[[Maker], None]:
    def change(maker: Maker) -> None:
        maker.nodes[1] = helper.make_node(operator, ["c"], ["r"])

    return change


def with_opset(version: int) -> Callable[[Maker], None]:
    def change(maker: Maker) -> None:
        maker.opset = version

    return change


def with_array(name: str, value: Any) -> Callable[[Maker], None]:
    def change(maker: Maker) -> None:
        maker.arrays[name] = value

    return change


def with_node(place: int, **attributes: Any) -> Callable[[Maker], None]:
    def change(maker: Maker) -> None:
        for name, value in attributes.items():
            old = [item for item in maker.nodes[place].attribute if item.name == name]
            for item in old:
                maker.nodes[place].attribute.remove(item)
            maker.nodes[place].attribute.append(helper.make_attribute(name, value))

    return change


def shared_weight(maker: Maker) -> None:
    maker.nodes.insert(1, helper.make_node("Add", ["c", "factor"], ["e"]))
    maker.nodes[2].input[0] = "e"


def reshape_over_samples(maker: Maker) -> None:
    maker.arrays["shape"] = np.array([1, -1], dtype=np.int64)
    maker.nodes[-2] = helper.make_node("Reshape", ["s", "shape"], ["f"])


def frozen_unknown(maker: Maker) -> None:
    maker.frozen = ["nothing"]


def other_domain(maker: Maker) -> None:
    maker.nodes[1] = helper.make_node("Relu", ["c"], ["r"], domain="com.microsoft")
    maker.domains = ["com.microsoft"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_operator("Erf"), "Erf is not on the list"),
        (with_operator("Dropout"), "Dropout is not on the list"),
        (with_opset(10), "opset 10"),
        (with_opset(12), "GroupNormalization"),
        (with_opset(18), "GroupNormalization is deprecated"),
        (with_opset(30), "opset"),
        (with_array("conv.bias", np.full(4, np.nan, dtype=np.float32)), "not finite"),
        (with_array("conv.bias", np.zeros(4, dtype=np.float64)), "float64|type"),
        (with_node(0, auto_pad="SAME_UPPER"), "auto_pad"),
        (with_node(0, pads=[1, 0, 1, 1]), "pads"),
        (with_node(3, ceil_mode=1), "ceil_mode|shape"),
        (with_node(2, num_groups=3), "groups"),
        (with_node(-1, alpha=0.5), "alpha"),
        (shared_weight, "shared weights"),
        (reshape_over_samples, "may mix samples"),
        (frozen_unknown, "nothing"),
        (other_domain, "com.microsoft"),
    ],
)
def test_a_graph_is_refused_for_anything_off_the_list(
    change: Callable[[Maker], None], says: str
) -> None:
    maker = network()
    change(maker)
    with pytest.raises(ModelRefused, match=says):
        open_onnx(maker.data())


@pytest.mark.parametrize("data", [b"", b"not onnx", b"\x08\x0a", b"\x00" * 100])
def test_a_file_that_is_no_graph_is_refused(data: bytes) -> None:
    with pytest.raises(ModelRefused, match="onnx"):
        open_onnx(data)


def test_every_cut_of_a_file_is_refused() -> None:
    data = network().data()
    for length in range(0, len(data) - 1, 97):
        with pytest.raises(ModelRefused):
            open_onnx(data[:length])


def test_weights_in_another_file_are_refused() -> None:
    model = onnx.load_model_from_string(network().data())
    item = model.graph.initializer[0]
    item.ClearField("raw_data")
    item.data_location = TensorProto.EXTERNAL
    item.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(ModelRefused, match="lies in another file"):
        open_onnx(model.SerializeToString())


def test_functions_are_refused() -> None:
    model = onnx.load_model_from_string(network().data())
    function = helper.make_function(
        "local", "F", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], []
    )
    function.opset_import.append(helper.make_opsetid("", 21))
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    with pytest.raises(ModelRefused):
        open_onnx(model.SerializeToString())


def test_a_graph_too_large_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.models.graph.MAX_BYTES", 10)
    with pytest.raises(ModelRefused, match="at most 10 are allowed"):
        open_onnx(network().data())


def test_a_plain_export_of_linear_layers_with_untransposed_weights_is_opened() -> None:
    maker = network()
    maker.arrays["gemm.weight"] = np.ascontiguousarray(maker.arrays["gemm.weight"].T)
    with_node(-1, transB=0)(maker)
    data = maker.data()
    model = open_onnx(data)
    np.testing.assert_allclose(
        model.eval()(images()).detach().numpy(), run(data, images()), rtol=1e-4, atol=1e-5
    )
    written = onnx.load_model_from_string(write_onnx(data, model.state_dict()))
    arrays = {item.name: numpy_helper.to_array(item) for item in written.graph.initializer}
    np.testing.assert_array_equal(arrays["gemm.weight"], maker.arrays["gemm.weight"])


def reshape_by_constant(maker: Maker) -> None:
    maker.arrays["shape"] = np.array([0, -1], dtype=np.int64)
    maker.nodes[-2] = helper.make_node("Reshape", ["s", "shape"], ["f"])


def global_average(maker: Maker) -> None:
    maker.nodes[-2:-1] = [
        helper.make_node("GlobalAveragePool", ["s"], ["h"]),
        helper.make_node("Sigmoid", ["h"], ["i"]),
        helper.make_node("Identity", ["i"], ["k"]),
        helper.make_node("Flatten", ["k"], ["f"]),
    ]
    maker.arrays["gemm.weight"] = maker.arrays["gemm.weight"][:, :8]


def product(maker: Maker) -> None:
    maker.nodes[8] = helper.make_node("Mul", ["t", "d"], ["u"])
    del maker.arrays["factor"]


@pytest.mark.parametrize("change", [reshape_by_constant, global_average, product])
def test_other_layers_compute_what_onnxruntime_computes(change: Callable[[Maker], None]) -> None:
    maker = network()
    change(maker)
    data = maker.data()
    got = open_onnx(data).eval()(images()).detach().numpy()
    np.testing.assert_allclose(got, run(data, images()), rtol=1e-4, atol=1e-5)


def test_parameters_are_found_by_their_layers() -> None:
    kinds = {type(layer) for layer in open_onnx(network().data()).layers}
    assert {nn.Conv2d, nn.GroupNorm, nn.Linear} <= kinds
