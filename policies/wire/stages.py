"""Stages that people ask for and the clean room does not have, each with the reason."""

from __future__ import annotations

from typing import Any, Final

from policies.errors import Problem

OFFERED: Final = ("DirectoryJoin", "TableJoin", "Train_DL")
NOT_OFFERED: Final = {
    "SparkJoin": "use TableJoin, which names columns and keys instead of a query in SQL",
    "Train_XGB": (
        "no library of gradient-boosted trees bounds what one person changes in a way that the "
        "accountant can compose; use Train_DL with an onnx model on the same columns"
    ),
    "Train_ML": "use Train_DL with an onnx model: one linear layer is a logistic regression",
    "LLM_Finetune": "language models are not trained here",
    "FeatureEnggCustom": "code of the consumer does not run on the providers' data",
}


def not_offered(problem: Problem, pipeline: Any) -> Problem:
    """Return the problem of a stage with an unknown name in words that say what to do instead."""
    stages = pipeline.get("pipeline") if isinstance(pipeline, dict) else None
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        name = stage.get("name") if isinstance(stage, dict) else None
        if problem.pointer != f"/pipeline/{index}" or not isinstance(name, str) or name in OFFERED:
            continue
        expected = f"expected one of {', '.join(OFFERED)}, got {name[:60]}"
        return Problem(f"{problem.pointer}/name", expected, NOT_OFFERED.get(name, ""))
    return problem
