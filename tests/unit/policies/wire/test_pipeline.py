import json
from typing import Any

import pytest

from policies.errors import DocumentError
from policies.wire.pipeline import PARTS, Pipeline, consolidate
from tests.training import train_json

CONTRACT = "sha256:" + "0" * 64


def pipeline_json(**changes: Any) -> dict[str, Any]:
    stage = {"name": "Train_DL", "config": train_json(**changes)}
    return {"version": "1.0", "contract": CONTRACT, "name": "lesions", "pipeline": [stage]}


def refusal(value: dict[str, Any]) -> str:
    with pytest.raises(DocumentError) as caught:
        Pipeline.parse(json.dumps(value).encode())
    return str(caught.value)


def parts() -> dict[str, dict[str, Any]]:
    stage = train_json()
    del stage["input"]
    return {
        "model": {key: stage.pop(key) for key in ("model", "baseWeights", "output")},
        "dataset": {"dataset": stage.pop("dataset")},
        "loss": {"loss": stage.pop("loss")},
        "eval": {key: stage.pop(key) for key in ("metrics", "taskType")},
        "join": {"datasets": ["mri-a", "mri-b"]},
        "train": stage,
    }


def joined(values: dict[str, Any]) -> Pipeline:
    data = {name: json.dumps(value).encode() for name, value in values.items()}
    return consolidate(data, contract=CONTRACT, name="lesions")


def test_a_pipeline_survives_its_canonical_form() -> None:
    pipeline = Pipeline.parse(json.dumps(pipeline_json()).encode())
    assert Pipeline.parse(pipeline.canonical()) == pipeline
    assert pipeline.datasets == ("mri-a",)


def test_config_parts_become_one_pipeline_with_the_join_first() -> None:
    pipeline = joined(parts())
    assert [stage.name for stage in pipeline.pipeline] == ["DirectoryJoin", "Train_DL"]
    assert pipeline.datasets == ("mri-a", "mri-b")
    assert pipeline.contract == CONTRACT


@pytest.mark.parametrize("part", [part for part in PARTS if part != "join"])
def test_consolidation_names_the_missing_part(part: str) -> None:
    values = parts()
    del values[part]
    with pytest.raises(DocumentError, match=f"/{part}: is missing"):
        joined(values)


def test_consolidation_names_an_unknown_part() -> None:
    with pytest.raises(DocumentError, match="/extra: is not a part of a pipeline"):
        joined({**parts(), "extra": {}})


def test_consolidation_names_a_field_that_stands_in_two_parts() -> None:
    values = parts()
    values["eval"]["loss"] = values["loss"]["loss"]
    with pytest.raises(DocumentError, match="/eval/loss: stands in the loss part too"):
        joined(values)


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"a":1,"a":2}', b"\xff"])
def test_consolidation_refuses_a_part_that_is_no_json_object(data: bytes) -> None:
    values = {name: json.dumps(value).encode() for name, value in parts().items()}
    with pytest.raises(DocumentError, match="loss part"):
        consolidate({**values, "loss": data}, contract=CONTRACT, name="lesions")


def test_a_loss_that_runs_a_command_is_refused_by_name() -> None:
    loss = {"class": "torch.os.system", "params": {"command": "id"}}
    text = refusal(pipeline_json(loss=loss))
    assert "/pipeline/0/config/loss" in text
    assert "torch.os.system" in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer", {"name": "torch.os.system", "params": {"lr": 0.1}}),
        ("scheduler", {"name": "os.system", "params": {}}),
        ("model", {"kind": "F.torch.os.system"}),
        ("model", {"layers": {}, "forward": [{"ops": ["F.torch.os.system", {"command": "id"}]}]}),
        ("dataset", {"kind": "pickle"}),
        ("metrics", ["__import__"]),
        ("output", "pth"),
        ("taskType", "exfiltration"),
    ],
)
def test_a_choice_that_is_not_offered_is_refused_at_its_place(field: str, value: object) -> None:
    assert f"/pipeline/0/config/{field}" in refusal(pipeline_json(**{field: value}))


@pytest.mark.parametrize("field", ["device", "paths", "saved_weights_path", "custom", "transforms"])
def test_a_field_that_does_not_exist_is_refused_at_its_place(field: str) -> None:
    text = refusal(pipeline_json(**{field: "/mnt/remote"}))
    assert f"/pipeline/0/config/{field}: unknown field" in text


@pytest.mark.parametrize("name", ["SparkJoin", "FeatureEnggCustom", "Train_XGB", "TaskBase"])
def test_a_stage_that_is_not_offered_is_refused_by_name(name: str) -> None:
    value = pipeline_json()
    value["pipeline"].insert(0, {"name": name, "config": {}})
    assert name in refusal(value)


def test_stages_out_of_order_are_refused() -> None:
    value = pipeline_json()
    value["pipeline"].append({"name": "DirectoryJoin", "config": {"datasets": ["a", "b"]}})
    assert "DirectoryJoin then Train_DL" in refusal(value)


def test_a_data_set_joined_with_itself_is_refused() -> None:
    values = parts()
    values["join"] = {"datasets": ["mri-a", "mri-a"]}
    with pytest.raises(DocumentError, match="named twice"):
        joined(values)


def test_data_named_twice_or_not_at_all_are_refused() -> None:
    values = parts()
    values["dataset"]["input"] = "mri-a"
    with pytest.raises(DocumentError, match="either by a DirectoryJoin stage or by input"):
        joined(values)
    assert "either by a DirectoryJoin stage or by input" in refusal(pipeline_json(input=None))


def test_a_dice_over_the_whole_batch_is_refused_with_the_reason() -> None:
    text = refusal(pipeline_json(loss={"class": "DiceLoss", "params": {"batch": True}}))
    assert "/pipeline/0/config/loss/params/batch: couples the samples of a batch" in text


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        ({"expression": "a + c", "components": {"a": {"class": "MSELoss"}}}, "'c'"),
        ({"expression": "a.x", "components": {"a": {"class": "MSELoss"}}}, "only numbers"),
        (
            {"expression": "p", "components": {"p": {"class": "Exp", "params": {"input": "$p"}}}},
            "not a loss",
        ),
        (
            {
                "expression": "a",
                "components": {"a": {"class": "MSELoss"}},
                "variables": {"a": 1.0},
            },
            "both components and variables",
        ),
        ({"class": "Exp", "params": {"input": "$a"}}, "Exp"),
        ({"expression": "a", "components": {"a": {"class": "eval"}}}, "eval"),
        (
            {"expression": "a", "components": {"a": {"class": "MSELoss"}}, "reduction": "sum"},
            "reduction",
        ),
    ],
)
def test_a_composed_loss_is_refused_for_what_it_must_not_say(
    loss: dict[str, Any], says: str
) -> None:
    assert says in refusal(pipeline_json(loss=loss))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"isPrivate": False}, "privacyParams is given but isPrivate is false"),
        ({"privacyParams": None}, "isPrivate is true but privacyParams is missing"),
        ({"model": {"kind": "onnx"}, "baseWeights": None}, "an onnx model needs baseWeights"),
        ({"output": "onnx"}, "does not fit model"),
        ({"taskType": "classification", "metrics": ["accuracy"]}, "does not fit dataset"),
        ({"metrics": ["accuracy"]}, "do not fit taskType"),
        ({"dataset": {"kind": "slices", "size": [9, 8]}}, "not a multiple of 2"),
        ({"dataset": {"kind": "slices", "size": [8, 8], "channels": 2}}, "inChannels"),
        ({"model": {"kind": "unet2d", "inChannels": 1, "outChannels": 1, "channels": 6}}, "groups"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(changes: dict[str, Any], says: str) -> None:
    assert says in refusal(pipeline_json(**changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 10**7),
        ("steps", 1.5),
        ("steps", "10"),
        ("steps", True),
        ("batchSize", -1),
        ("samplesPerUnit", 0),
        ("threshold", 1.0),
    ],
)
def test_a_number_out_of_range_is_refused_at_its_place(field: str, value: object) -> None:
    assert f"/pipeline/0/config/{field}" in refusal(pipeline_json(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", 0),
        ("epsilon", 1000),
        ("epsilon", 1.0000001),
        ("delta", 1),
        ("maxGradNorm", 0),
        ("unit", "row"),
        ("adjacency", "none"),
        ("noise", 0.0),
    ],
)
def test_privacy_that_is_no_privacy_is_refused_at_its_place(field: str, value: object) -> None:
    params = {**train_json()["privacyParams"], field: value}
    text = refusal(pipeline_json(privacyParams=params))
    assert f"/pipeline/0/config/privacyParams/{field}" in text


@pytest.mark.parametrize("field", ["model", "dataset", "loss", "optimizer", "steps", "isPrivate"])
def test_a_missing_field_is_named(field: str) -> None:
    value = pipeline_json()
    del value["pipeline"][0]["config"][field]
    assert f"/pipeline/0/config/{field}: is missing" in refusal(value)
