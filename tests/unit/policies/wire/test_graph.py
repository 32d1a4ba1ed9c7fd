from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError
from torch import nn

from policies.errors import DocumentError
from policies.parameters import most_parameters
from policies.shapes import graph_parameters, output_shape
from policies.wire.contract import Contract
from policies.wire.graph import RESERVED, GraphModel
from policies.wire.pipeline import Pipeline
from tests.described import ByHand, conv, graph, graph_json, layer, step, volume_graph_json
from tests.samples import contract_json, pipeline_json
from tests.unit.policies.good import change

BATCH_NORM = layer("BatchNorm2d", numFeatures=4)


def bent(*changes: tuple[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(graph_json())
    for pointer, value in changes:
        change(document, pointer, value)
    return document


def refused(*changes: tuple[str, Any]) -> str:
    with pytest.raises(ValidationError) as error:
        graph(bent(*changes))
    return str(error.value)


def pipeline(model: dict[str, Any], **changes: Any) -> Pipeline:
    return Pipeline.from_json(pipeline_json("sha256:" + "a" * 64, model=model, **changes))


def test_a_graph_survives_its_json() -> None:
    assert GraphModel.model_validate_json(graph().model_dump_json(by_alias=True)) == graph()


def test_parts_are_unrolled_in_order_with_their_own_values() -> None:
    nodes = graph().nodes()
    assert [node.name for node in nodes if "#" not in node.name] == [
        "first.conv",
        "first.norm",
        "pool",
        "deep.conv",
        "deep.norm",
        "up.conv",
        "last.conv",
        "last.norm",
        "head",
    ]
    (joined,) = (node for node in nodes if node.layer.layer == "Concat")
    assert joined.inputs == ("up.wide", "x1")
    assert joined.output == "x3"


def test_the_number_of_parameters_is_that_of_the_network_written_by_hand() -> None:
    assert graph_parameters(graph()) == sum(value.numel() for value in ByHand().parameters())
    agreed = Contract.from_json(contract_json())
    assert most_parameters(pipeline(graph_json()), agreed) == graph_parameters(graph())


def test_the_output_has_the_shape_that_the_layers_give() -> None:
    assert output_shape(graph(), (1, 8, 8)) == (1, 8, 8)
    assert output_shape(graph(), (1, 64, 32)) == (1, 64, 32)


@pytest.mark.parametrize(
    "name",
    ["torch.os.system", "nn.Conv2d", "os.system", "__import__", "Conv1d", "Dropout", "eval", ""],
)
def test_a_layer_that_is_not_on_the_list_is_refused(name: str) -> None:
    assert "class" in refused(("/layers/head", layer(name)))
    assert refused(("/forward/3/ops", ["last", layer(name)]))


@pytest.mark.parametrize("op", ["F.torch.os.system", "torch.sigmoid", "missing", "_layers"])
def test_an_operation_that_is_no_layer_of_the_graph_is_refused(op: str) -> None:
    assert refused(("/forward/3/ops", ["last", "head", op]))


@pytest.mark.parametrize(
    "name", ["train", "forward", "keys", "state_dict", "a.b", "0", "é", "a" * 33]
)
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    assert refused((f"/layers/{name}", layer("ReLU")))


def test_every_name_of_the_running_library_is_reserved() -> None:
    possible = {name for name in dir(nn.ModuleDict()) if not name.startswith("_")}
    assert {name for name in possible if len(name) <= 32} <= RESERVED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("/forward/0/inputs", ["y"])], "value 'y' is not computed before its use"),
        ([("/forward/1/inputs", ["x2"])], "value 'x2' is not computed before its use"),
        ([("/forward/1/output", "x1")], "value 'x1' is computed twice"),
        ([("/output", "x9")], "output 'x9' is not computed"),
        ([("/output", "x")], "output 'x' is not computed"),
        ([("/inputs", ["x", "z"])], "expected one input"),
        ([("/layers/extra", layer("ReLU"))], "layer 'extra' is used 0 times"),
        ([("/forward/3/ops", ["last", "head", "head"])], "layer 'head' is used 2 times"),
        ([("/forward/3/ops", ["last", "last", "head"])], "layer 'last' is used 2 times"),
        ([("/layers/head", conv("$in_ch", 1))], r"\$in_ch is a parameter"),
        ([("/layers/first/params", {"in_ch": 1})], r"parameters \['out_ch'\] of Block"),
        ([("/layers/first/params/other", 1)], r"parameters \['other'\] of Block"),
        ([("/layers/first/params/out_ch", 5)], "5 channels are not a multiple of numGroups"),
        ([("/layers/first/params/out_ch", 0)], "greater than or equal to 1"),
        ([("/layers/first/submodule", "Other")], r"submodules \['Other'\] are not defined"),
        ([("/submodules/Other", graph_json()["submodules"]["Block"])], "not used"),
        ([("/forward/2/inputs", ["x2"])], "Up takes 2 values, got 1"),
        ([("/forward/0/inputs", ["x", "x"])], "Block takes 1 values, got 2"),
        ([("/submodules/Up/forward/1/inputs", ["wide"])], "Concat takes several values, got 1"),
    ],
)
def test_a_graph_that_does_not_hang_together_is_refused(
    changes: list[tuple[str, Any]], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        graph(bent(*changes))


def test_the_axis_of_the_samples_cannot_be_named() -> None:
    assert "dim" in refused(("/submodules/Up/forward/1/ops", [layer("Concat", dim=0)]))


def test_a_graph_that_unrolls_into_too_many_layers_is_refused() -> None:
    document = bent()
    document["forward"] = [
        step(["first"], ["x"], "x1"),
        *(step([layer("ReLU")] * 10, ["x1"], f"y{number}") for number in range(60)),
    ]
    with pytest.raises(ValidationError, match="more than 512 layers run"):
        graph(document)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("/layers/head/params/inChannels", 5)], "inChannels is 5, the value has 4"),
        ([("/layers/deep/params/in_ch", 2)], "inChannels is 2, the value has 4"),
        ([("/layers/deep/params/out_ch", 4)], r"layer up\.conv \(Conv2d\): inChannels is 8"),
        ([("/layers/pool/params/stride", 1)], r"layer up\.#13 \(Concat\): values have shapes"),
        (
            [("/forward/1/ops", [layer("Flatten"), "pool", "deep"])],
            r"height and width, got \[16384",
        ),
        ([("/forward/1/ops", ["pool"] * 7 + ["deep"])], "a window of 2 does not fit"),
        ([("/layers/head", layer("Linear", inFeatures=8, outFeatures=4))], "inFeatures is 8"),
        ([("/layers/head/params/outChannels", 2)], r"the graph gives \[2, 64, 64\]"),
    ],
)
def test_a_pipeline_whose_graph_does_not_fit_its_data_is_refused(
    changes: list[tuple[str, Any]], message: str
) -> None:
    with pytest.raises(DocumentError, match=message):
        pipeline(bent(*changes))


def test_a_sample_that_becomes_too_large_is_refused() -> None:
    wide = bent(("/layers/first/params/out_ch", 4096), ("/layers/deep/params/in_ch", 4096))
    with pytest.raises(ValueError, match=r"layer first\.conv .*too large"):
        output_shape(graph(wide), (1, 64, 64))


VOLUMES = {"kind": "volumes", "patch": [4, 8, 8], "channels": 2, "classes": 1}


def test_a_graph_of_layers_for_volumes_fits_volumes() -> None:
    model = volume_graph_json()
    assert output_shape(graph(model), (2, 4, 8, 8)) == (1, 4, 8, 8)
    document = contract_json()
    document["constraints"]["models"] = ["graph"]
    agreed = Contract.from_json(document)
    made = pipeline(model, dataset=VOLUMES)
    assert most_parameters(made, agreed) == graph_parameters(graph(model))
    assert Pipeline.parse(made.canonical()) == made


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"layers/head": layer("Conv2d", inChannels=4, outChannels=1, kernelSize=1)},
            r"layer head \(Conv2d\): expected channels, height and width, got \[4, 4, 8, 8\]",
        ),
        ({"layers/head/params/outChannels": 2}, r"gives \[2, 4, 8, 8\], .* asks for \[1, 4, 8, 8"),
        ({"layers/pool": layer("MaxPool3d", kernelSize=5)}, "a window of 5 does not fit"),
        ({"layers/up/params/padding": 20}, "padding 20 leaves nothing"),
        ({"layers/up/params/outputPadding": 2}, "outputPadding 2 is not less than stride"),
        ({"layers/up/params/inChannels": 4}, "inChannels is 4, the value has 8"),
        ({"layers/up/params/groups": 3}, "not a multiple of groups"),
        ({"layers/wide/params/mode": "bilinear"}, r"wide \(Upsample\): expected channels, height"),
        ({"layers/wide/params/scaleFactor": 8, "layers/pool/params/stride": 1}, "values have"),
    ],
)
def test_a_graph_for_volumes_that_does_not_fit_is_refused(
    changes: dict[str, Any], says: str
) -> None:
    model = volume_graph_json()
    for pointer, value in changes.items():
        change(model, f"/{pointer}", value)
    with pytest.raises(DocumentError, match=says):
        pipeline(model, dataset=VOLUMES)


def test_a_graph_for_volumes_does_not_fit_slices_nor_the_other_way_round() -> None:
    with pytest.raises(DocumentError, match="expected channels, depth, height and width"):
        pipeline(volume_graph_json(), dataset={"kind": "slices", "size": [8, 8], "channels": 2})
    with pytest.raises(DocumentError, match=r"expected channels, height and width, got \[1, 4"):
        pipeline(graph_json(), dataset={**VOLUMES, "channels": 1})


def test_a_volume_that_becomes_too_large_is_refused() -> None:
    large = volume_graph_json()
    change(large, "/layers/wide/params/scaleFactor", 8)
    with pytest.raises(ValueError, match=r"layer wide \(Upsample\): a sample becomes too large"):
        output_shape(graph(large), (2, 64, 64, 64))


def test_a_described_graph_is_written_as_safetensors() -> None:
    with pytest.raises(DocumentError, match="output onnx does not fit model graph"):
        pipeline(graph_json(), output="onnx")


def test_layers_that_couple_a_batch_are_named() -> None:
    assert graph().coupled == ()
    coupled = bent(("/submodules/Block/layers/norm", layer("BatchNorm2d", numFeatures="$out_ch")))
    assert graph(coupled).coupled == (
        "first.norm (BatchNorm2d)",
        "deep.norm (BatchNorm2d)",
        "last.norm (BatchNorm2d)",
    )


def test_a_graph_says_whether_it_gives_probabilities() -> None:
    assert not graph().gives_probabilities
    assert graph(bent(("/forward/3/ops", ["last", "head", layer("Sigmoid")]))).gives_probabilities
    inner = bent(("/forward/3/ops", ["last", layer("Sigmoid"), "head"]))
    assert not graph(inner).gives_probabilities
