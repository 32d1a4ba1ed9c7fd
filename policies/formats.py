"""Whether a pipeline reads its data sets as what the contract says that they are."""

from __future__ import annotations

from policies.errors import DocumentError, Problem
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline


def check_formats(pipeline: Pipeline, contract: Contract) -> None:
    """Raise unless every data set has the kind of samples that the pipeline trains on.

    A data set that the contract does not have is for the policy to refuse.

    Raises:
        DocumentError: naming the data sets of another kind.
    """
    wanted = pipeline.train.dataset.kind
    found = [contract.dataset(name) for name in pipeline.datasets]
    others = [f"{item.id} ({item.format})" for item in found if item and item.format != wanted]
    if others:
        at = f"/pipeline/{len(pipeline.pipeline) - 1}/config/dataset/kind"
        problem = Problem(
            at,
            f"is {wanted}, which {', '.join(others[:5])} of the contract is not",
            "take the kind that the data sets have",
        )
        raise DocumentError(Pipeline.kind, [problem])
