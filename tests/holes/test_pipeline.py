"""A pipeline is data: it names choices of a closed list, and is never executed."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from policies.errors import DocumentError
from policies.wire.base import canonical_json
from policies.wire.pipeline import Pipeline
from tests.unit.policies.good import change, pipeline_document

CONFIG = "/pipeline/1/config"
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ledger", "policies", "clients", "trainer", "contract_service", "deploy", "scenarios")
EVALUATES = {"eval", "exec", "compile", "__import__"}
LOADS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "code"}
FORBIDDEN_CALLS = {
    ("os", "system"),
    ("os", "popen"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.jit", "load"),
    ("yaml", "load"),
    ("numpy", "load"),
    ("np", "load"),
}


def problems(document: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong with a pipeline, by pointer."""
    with pytest.raises(DocumentError) as refused:
        Pipeline.from_json(document)
    return {problem.pointer: str(problem) for problem in refused.value.problems}


def bent(pointer: str, value: Any) -> dict[str, Any]:
    document = pipeline_document()
    change(document, pointer, value)
    return document


@pytest.mark.parametrize(
    "name",
    [
        "torch.os.system",
        "os.system",
        "torch.nn.BCEWithLogitsLoss",
        "builtins.eval",
        "__import__('os').system",
        "monai.losses.DiceLoss",
    ],
)
def test_a_loss_that_names_a_shell_command_is_refused(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    command = {"class": name, "params": {"command": f"touch {canary}"}}
    assert any(at.startswith(f"{CONFIG}/loss") for at in problems(bent(f"{CONFIG}/loss", command)))
    assert not canary.exists()


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('id')",
        "ce.__class__",
        "ce[0]",
        "(lambda: ce)()",
        "ce if ce else ce",
        "[ce for _ in ce]",
        "ce // 2",
        "ce @ ce",
        "f'{ce}'",
        "(ce := 1)",
    ],
)
def test_a_loss_expression_with_anything_but_arithmetic_is_refused(expression: str) -> None:
    composed = {
        "expression": expression,
        "components": {"ce": {"class": "BCEWithLogitsLoss", "params": {}}},
        "variables": {},
        "reduction": "mean",
    }
    found = problems(bent(f"{CONFIG}/loss", composed))
    assert any(pointer.startswith(f"{CONFIG}/loss") for pointer in found)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        (f"{CONFIG}/optimizer", {"name": "torch.os.system", "params": {"lr": 0.1}}),
        (f"{CONFIG}/scheduler", {"name": "torch.os.system", "params": {}}),
        (f"{CONFIG}/model", {"kind": "graph", "forward": [{"ops": [["F.torch.os.system", {}]]}]}),
        (f"{CONFIG}/model", {"kind": "pickle"}),
        (f"{CONFIG}/dataset", {"kind": "python", "file": "load.py"}),
        (f"{CONFIG}/metrics/0", "torch.os.system"),
        (f"{CONFIG}/output", "pickle"),
    ],
)
def test_a_name_that_is_no_choice_is_refused_at_its_place(pointer: str, value: Any) -> None:
    assert any(found.startswith(pointer) for found in problems(bent(pointer, value)))


@pytest.mark.parametrize(
    "field",
    ["mount_path", "joined_dataset", "output", "paths", "select_variables", "joining_query"],
)
def test_a_copy_stage_into_the_output_is_refused(field: str) -> None:
    document = bent("/pipeline/0/config", {"datasets": ["mri-a", "mri-b"], field: "/mnt/output"})
    assert "unknown field" in problems(document)[f"/pipeline/0/config/{field}"]


@pytest.mark.parametrize("stage", ["Noop", "SparkJoin", "Train_XGB", "LLM_Finetune", ""])
def test_an_unknown_stage_is_refused(stage: str) -> None:
    decoy = {
        "name": stage,
        "config": {"isPrivate": True, "privacyParams": {"epsilon": 0.1, "delta": 1e-9}},
    }
    for place in ("/pipeline/0", "/pipeline/1", "/pipeline/-"):
        found = problems(bent(place, decoy))
        assert any(pointer.startswith("/pipeline") for pointer in found)


@pytest.mark.parametrize("place", ["", "/pipeline/0/config", CONFIG, f"{CONFIG}/privacyParams"])
@pytest.mark.parametrize("field", ["seed", "noiseMultiplier", "debug", "saveSteps", "baseline"])
def test_seeds_noise_and_checkpoints_cannot_be_asked_for(place: str, field: str) -> None:
    assert "unknown field" in problems(bent(f"{place}/{field}", 42))[f"{place}/{field}"]


@pytest.mark.parametrize("first", [b'"isPrivate":false', b'"isPrivate":true'])
def test_a_pipeline_that_says_a_thing_twice_is_refused(first: bytes) -> None:
    text = canonical_json(pipeline_document()).replace(
        b'"isPrivate":true', first + b',"isPrivate":true', 1
    )
    with pytest.raises(DocumentError, match="isPrivate"):
        Pipeline.parse(text)


def test_a_pipeline_with_something_behind_it_is_refused() -> None:
    with pytest.raises(DocumentError, match="is not valid JSON"):
        Pipeline.parse(canonical_json(pipeline_document()) + b"{}")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", '"8.0"', "true"])
def test_an_epsilon_that_compares_with_nothing_is_refused(number: str) -> None:
    text = json.dumps(pipeline_document()).replace('"epsilon": 8.0', f'"epsilon": {number}', 1)
    with pytest.raises(DocumentError):
        Pipeline.parse(text.encode())


def sources() -> list[Path]:
    return sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_evaluates_text_or_loads_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {name.name.partition(".")[0] for name in node.names} & LOADS_CODE
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in LOADS_CODE
        elif isinstance(node, ast.Call):
            _check_call(node)


def _check_call(node: ast.Call) -> None:
    called = node.func
    if isinstance(called, ast.Name):
        assert called.id not in EVALUATES, node.lineno
    elif isinstance(called, ast.Attribute):
        assert (ast.unparse(called.value), called.attr) not in FORBIDDEN_CALLS, node.lineno
    for keyword in node.keywords:
        if isinstance(keyword.value, ast.Constant):
            given = (keyword.arg, keyword.value.value)
            assert given not in {("shell", True), ("verify", False)}, node.lineno
