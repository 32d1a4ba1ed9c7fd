from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from policies.depa.network import graph_of
from policies.depa.pipeline import is_depa_pipeline
from policies.errors import DocumentError
from policies.shapes import graph_parameters, output_shape
from policies.wire.graph import GraphModel
from tests import described
from tests.depa import document, given, imported, imported_pipeline
from tests.unit.policies.good import change

TRAIN = "/pipeline/1/config"
LOSS = f"{TRAIN}/loss_config"
NETWORK = f"{TRAIN}/model_config"
CLASSIFIER = {
    "layers": {
        "conv": {
            "class": "nn.Conv2d",
            "params": {"in_channels": 1, "out_channels": 6, "kernel_size": [5, 5]},
        },
        "pool": {"class": "nn.MaxPool2d", "params": {"kernel_size": 2, "stride": 2}},
        "fc": {"class": "torch.nn.Linear", "params": {"in_features": 216, "out_features": 10}},
    },
    "input": ["x"],
    "forward": [
        {"ops": ["conv", "F.relu", "pool"], "input": ["x"], "output": "x1"},
        {
            "ops": ["pool", ["torch.flatten", {"start_dim": 1}], "fc"],
            "input": ["x1"],
            "output": "x2",
        },
    ],
    "output": ["x2"],
}


def bent(scenario: str, *changes: tuple[str, Any]) -> dict[str, Any]:
    value = document(scenario, "pipeline_config")
    for pointer, new in changes:
        change(value, pointer, new)
    return value


def refused(scenario: str, *changes: tuple[str, Any], **said: Any) -> list[str]:
    with pytest.raises(DocumentError) as error:
        imported_pipeline(scenario, bent(scenario, *changes), **said)
    return [str(problem) for problem in error.value.problems]


def listed(scenario: str, *changes: tuple[str, Any]) -> list[str]:
    return [str(one) for one in imported_pipeline(scenario, bent(scenario, *changes)).changes]


def test_the_brats_configuration_becomes_a_join_and_a_graph() -> None:
    pipeline = imported_pipeline("brats").pipeline
    train = pipeline.train
    assert pipeline.datasets == ("brats_A", "brats_B", "brats_C", "brats_D")
    assert isinstance(train.model, GraphModel)
    assert graph_parameters(train.model) == 2_164_145
    assert train.model.gives_probabilities
    assert (train.steps, train.batch_size, train.threshold) == (45, 8, 0.3)
    assert train.metrics == ("dice_score", "jaccard_index", "hausdorff_distance")
    assert train.base_weights == "base"
    assert train.privacy_params is not None
    assert (train.privacy_params.epsilon, train.privacy_params.unit) == (1.5, "patient")


def test_the_mnist_configuration_becomes_open_training_of_an_onnx_file() -> None:
    pipeline = imported_pipeline("mnist").pipeline
    train = pipeline.train
    assert (pipeline.join, pipeline.datasets) == (None, ("mnist",))
    assert (train.model.kind, train.output, train.is_private) == ("onnx", "onnx", False)
    assert train.steps == 375
    assert train.metrics == (
        "accuracy",
        "confusion_matrix",
        "f1_score",
        "classification_report",
    )


OF_MASKS = ("dice_score", "jaccard_index", "hausdorff_distance", "mse", "mae", "rmse", "r2_score")
OF_CLASSES = (
    *("accuracy", "f1_score", "precision", "recall", "roc_auc", "confusion_matrix"),
    *("classification_report", "precision_recall_curve", "roc_curve"),
)


@pytest.mark.parametrize(
    ("scenario", "at", "names"),
    [("brats", "/pipeline/1/config", OF_MASKS), ("mnist", "/pipeline/0/config", OF_CLASSES)],
)
def test_all_sixteen_metrics_of_depa_come_over(
    scenario: str, at: str, names: tuple[str, ...]
) -> None:
    assert len({*OF_MASKS, *OF_CLASSES}) == 16
    found = imported_pipeline(scenario, bent(scenario, (f"{at}/metrics", list(names))))
    assert found.pipeline.train.metrics == names
    assert not [one for one in found.changes if one.kind == "dropped" and "metrics" in one.pointer]


def test_what_was_dropped_or_changed_is_listed() -> None:
    found = " ".join(listed("brats"))
    for word in (
        "the clean room chooses all paths",
        "the clean room chooses the device",
        "45 steps: 1 times 360 units, 8 a step",
        "bce_loss: is computed but not used",
        "base model base",
        "all units train",
        "never on private data",
        "unit patient, adjacency add-remove",
    ):
        assert word in found


def test_numbers_that_are_texts_become_numbers() -> None:
    source = bent(
        "brats",
        (f"{TRAIN}/privacy_params/epsilon", "1.5"),
        (f"{TRAIN}/batch_size", "8"),
        (f"{TRAIN}/total_epochs", "1.0"),
    )
    assert imported_pipeline("brats", source).pipeline == imported_pipeline("brats").pipeline


def test_a_delta_above_what_is_granted_is_tightened() -> None:
    larger = [item.model_copy(update={"units": 220}) for item in given("brats").datasets]
    agreed = imported("brats", datasets=larger).contract
    found = imported_pipeline("brats", contract=agreed)
    assert found.pipeline.train.privacy_params is not None
    assert found.pipeline.train.privacy_params.delta == 0.0004
    (said,) = (one for one in found.changes if one.kind == "tightened")
    assert said.pointer == f"{TRAIN}/privacy_params/delta"


def test_an_epsilon_is_never_changed() -> None:
    source = bent("brats", (f"{TRAIN}/privacy_params/epsilon", 99.0))
    params = imported_pipeline("brats", source).pipeline.train.privacy_params
    assert params is not None
    assert params.epsilon == 99.0


@pytest.mark.parametrize(
    ("pointer", "value", "at"),
    [
        (f"{TRAIN}/loss_config", {"class": "torch.os.system", "params": {"command": "id"}}, None),
        (f"{LOSS}/components/bce_loss", {"class": "torch.os.system", "params": {}}, None),
        (f"{LOSS}/components/l1_loss/class", "kornia.losses.DiceLoss", None),
        (f"{LOSS}/components/l1_loss/params/reduction", "sum", None),
        (f"{LOSS}/components/l1_loss/params/weight", [1.0], None),
        (f"{LOSS}/components/dice_loss/params/sigmoid", False, None),
        (f"{LOSS}/components/dice_loss/params/batch", True, None),
        (f"{LOSS}/components/bce_loss/params/input", "targets", None),
        (f"{LOSS}/expression", "__import__('os').system('id')", None),
        (f"{LOSS}/expression", "dice_loss.backward()", None),
        (f"{LOSS}/reduction", "sum", None),
        (f"{LOSS}/save_to", "/mnt/remote/output", None),
        (f"{NETWORK}/layers/in_conv/class", "torch.os.system", None),
        (f"{NETWORK}/layers/in_conv/class", "nn.Dropout", None),
        (f"{NETWORK}/layers/in_conv/class", "nn.modules.conv.Conv2d", None),
        (f"{NETWORK}/layers/in_conv/class", "Conv2d", None),
        (f"{NETWORK}/layers/in_conv/class", ["nn.Conv2d"], None),
        (f"{NETWORK}/layers/in_conv/params/device", "cuda:0", None),
        (f"{NETWORK}/layers/in_conv/params/in_channels", 0, None),
        (f"{NETWORK}/layers/in_conv/params/padding_mode", "circular", None),
        (f"{NETWORK}/layers/in_conv/hook", "x", None),
        (f"{NETWORK}/layers/down_conv0/params/in_ch", "__class__", None),
        (f"{NETWORK}/layers/down_conv0/submodule", "os", NETWORK),
        (f"{NETWORK}/forward/21/ops/0", "F.torch.os.system", None),
        (f"{NETWORK}/forward/21/ops/0", ["torch.load", {"f": "/mnt/remote/brats_A/x"}], None),
        (f"{NETWORK}/forward/21/ops/0", ["torch.flatten", {"start_dim": 0}], None),
        (f"{NETWORK}/forward/21/ops/0", ["torch.cat", {"dim": 0}], None),
        (f"{NETWORK}/forward/21/output", ["x22"], None),
        (f"{NETWORK}/state_dict", {}, None),
        (f"{NETWORK}/output", ["x22", "x21"], None),
        (f"{TRAIN}/optimizer/name", "LBFGS", None),
        (f"{TRAIN}/optimizer/params/foreach", True, None),
        (f"{TRAIN}/optimizer/params/lr", -1.0, None),
        (f"{TRAIN}/scheduler/name", "LambdaLR", None),
        (f"{TRAIN}/scheduler/params/cycle_momentum", True, None),
        (f"{TRAIN}/scheduler/params/scale_fn", "os.system", None),
        (f"{TRAIN}/privacy_params/max_grad_norm", 1e9, None),
        (f"{TRAIN}/privacy_params/epsilon", "none", None),
        (f"{TRAIN}/privacy_params/delta", 0.9, None),
        (f"{TRAIN}/privacy_params/noise", 0.0, None),
        (f"{TRAIN}/model_type", "pickle", None),
        (f"{TRAIN}/metrics/0/name", "os.system", f"{TRAIN}/metrics/0"),
        (f"{TRAIN}/metrics/0/params/threshold", 0.9, None),
        (f"{TRAIN}/metrics/0/params/save", "x", None),
        (f"{TRAIN}/paths/trained_model_output_path", "/mnt/remote/brats_A", None),
        (f"{TRAIN}/paths/saved_weights_path", "/mnt/remote/brats_A/raw.safetensors", None),
        (f"{TRAIN}/paths/saved_weights_path", "/mnt/remote/model/../brats_A/x.onnx", None),
        (f"{TRAIN}/paths/base_model_path", "/mnt/remote/brats_A/model.onnx", None),
        (f"{TRAIN}/device", "torch.os.system", None),
        (f"{TRAIN}/metrics/0/params/average", "os.system", None),
        (f"{TRAIN}/paths/input_dataset_path", "/mnt/remote/brats_A", None),
        (f"{TRAIN}/paths/extra_output", "/srv", None),
        (f"{TRAIN}/dataset_config/script", "prepare.py", None),
        (f"{TRAIN}/dataset_config/type", "tabular", f"{TRAIN}/dataset_config"),
        (f"{TRAIN}/callbacks", [], None),
        (f"{TRAIN}/batch_size", "many", None),
        (f"{TRAIN}/total_epochs", 0, None),
        (f"{TRAIN}/task_type", "classification", TRAIN),
        ("/pipeline/0/config/joined_dataset", "/mnt/remote/output/stolen", None),
        ("/pipeline/0/config/datasets/0/mount_path", "/etc", None),
        ("/pipeline/0/config/datasets/0/mount_path", "/mnt/remote/brats_B", None),
        ("/pipeline/0/config/datasets/0/file", "x", None),
        ("/pipeline/0/config/query", "select 1", None),
        ("/pipeline/0/name", "SparkJoin", "/pipeline/0/config"),
        ("/azure_filesystems", [], None),
    ],
)
def test_what_is_unknown_or_dangerous_is_refused_at_its_pointer(
    pointer: str, value: Any, at: str | None
) -> None:
    said = refused("brats", (pointer, value))
    wanted = at or pointer
    assert any(one.startswith((f"{wanted}: ", f"{wanted}/")) for one in said), said


@pytest.mark.parametrize(
    "stage", ["Train_XGB", "LLM_Finetune", "FeatureEnggCustom", "Noop", "PrivateTrain"]
)
def test_a_stage_that_is_not_offered_is_refused_by_its_name(stage: str) -> None:
    (said,) = refused("brats", ("/pipeline/1", {"name": stage, "config": {}}))
    assert said.startswith(f"/pipeline/1/name: stage '{stage}' is not offered (")


def test_stages_in_another_order_are_refused() -> None:
    source = bent("brats")
    source["pipeline"].reverse()
    with pytest.raises(DocumentError, match="/pipeline: stages are"):
        imported_pipeline("brats", source)


def test_weights_that_nobody_sealed_are_refused() -> None:
    agreed = imported("brats", base_models=[]).contract
    (said,) = refused("brats", contract=agreed)
    assert said.startswith(
        f"{TRAIN}/paths/saved_weights_path: names base weights, and the contract"
    )
    source = bent("brats")
    del source["pipeline"][1]["config"]["paths"]["saved_weights_path"]
    train = imported_pipeline("brats", source, contract=agreed).pipeline.train
    assert train.base_weights is None


def test_a_data_set_that_the_contract_does_not_have_is_refused() -> None:
    item = {"id": "x", "provider": "icmr", "name": "icmr", "mount_path": "/mnt/remote/icmr"}
    assert refused("brats", ("/pipeline/0/config/datasets/-", item)) == [
        "/pipeline/0/config/datasets/4: icmr is no data set of the contract"
    ]


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/mnt/remote/output/x", "/mnt/remote/model/x", "/mnt/remote/mnist/../x", "x"],
)
def test_data_that_is_not_where_data_sets_are_mounted_is_refused(path: str) -> None:
    at = "/pipeline/0/config/paths/input_dataset_path"
    assert refused("mnist", (at, path)) == [f"{at}: is not where DEPA mounts data sets"]


def test_pictures_of_two_sides_are_refused() -> None:
    (said, *_) = refused("brats", shape=(64, 64))
    assert said.startswith(f"{TRAIN}/dataset_config: pictures have three sides, got [64, 64]")


def test_pictures_that_the_network_cannot_take_are_refused() -> None:
    (said,) = refused("brats", shape=(1, 40, 40))
    assert said.startswith(f"{TRAIN}: layer up_samp3.")


def test_a_network_that_couples_a_batch_is_read_and_named() -> None:
    source = bent(
        "brats",
        (
            f"{NETWORK}/submodules/ConvBlock2d/layers/norm1",
            {"class": "nn.BatchNorm2d", "params": {"num_features": "$mid_ch"}},
        ),
    )
    model = imported_pipeline("brats", source).pipeline.train.model
    assert isinstance(model, GraphModel)
    assert "bottleneck.norm1 (BatchNorm2d)" in model.coupled


def test_layers_for_volumes_and_transposed_ones_come_over() -> None:
    sizes = {"in_channels": 2, "out_channels": 2, "kernel_size": [2, 2, 2], "stride": [2, 2, 2]}
    network: dict[str, Any] = {
        "layers": {
            "down": {"class": "nn.Conv3d", "params": sizes},
            "norm": {"class": "nn.InstanceNorm3d", "params": {"num_features": 2}},
            "up": {"class": "torch.nn.ConvTranspose3d", "params": {**sizes, "output_padding": 0}},
        },
        "input": ["x"],
        "forward": [
            {"ops": ["down", "norm", "up"], "input": ["x"], "output": "y"},
            {"ops": [["F.avg_pool3d", {"kernel_size": [2, 2, 2]}]], "input": ["y"], "output": "p"},
            {
                "ops": [["F.interpolate", {"scale_factor": 2.0, "mode": "trilinear"}]],
                "input": ["p"],
                "output": "z",
            },
        ],
        "output": ["z"],
    }
    model = described.graph(graph_of(network, at=NETWORK))
    assert output_shape(model, (2, 4, 8, 8)) == (2, 4, 8, 8)
    network["layers"]["down"]["params"] = {**sizes, "kernel_size": [1, 2, 2]}
    with pytest.raises(ValidationError, match="kernelSize"):
        described.graph(graph_of(network, at=NETWORK))


def test_a_classifier_of_many_layers_comes_over() -> None:
    source = bent(
        "mnist",
        ("/pipeline/0/config/model_type", "safetensors"),
        ("/pipeline/0/config/paths/base_model_path", "/mnt/remote/model/model.safetensors"),
        ("/pipeline/0/config/model_config", CLASSIFIER),
        ("/pipeline/0/config/loss_config", {"class": "nn.CrossEntropyLoss", "params": {}}),
        ("/pipeline/0/config/scheduler", None),
        ("/pipeline/0/config/metrics", [{"name": "f1_score", "params": {"average": "micro"}}]),
    )
    found = imported_pipeline("mnist", source)
    train = found.pipeline.train
    assert isinstance(train.model, GraphModel)
    assert (train.base_weights, train.scheduler, train.metrics) == (None, None, ("f1_score",))
    listed = " ".join(map(str, found.changes))
    assert "base_model_path: is not read for a model of type safetensors" in listed
    assert "params/average: the mean over classes is taken" in listed


def test_a_configuration_of_depa_is_told_from_one_of_ours() -> None:
    assert is_depa_pipeline(document("brats", "pipeline_config"))
    assert not is_depa_pipeline(imported_pipeline("brats").pipeline.to_json())
    assert not is_depa_pipeline([])
