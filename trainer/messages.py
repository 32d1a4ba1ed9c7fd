"""What a clean room tells its training process, and hears from it: one JSON object a line.

The training process gets no key but those of its checkpoints and of the files that it trains on,
never one that opens anything else, and its words are few: none of them has a place for a value that
depends on private data.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from policies.accounting import PrivacyPlan
from policies.wire.base import MAX_DOCUMENT_BYTES, Digest, Document, RunId, Slug, Wire, load_json
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from trainer.sealed.dataset import Base64

MAX_JOB_BYTES: Final = 3 * MAX_DOCUMENT_BYTES
OUTPUT: Final = "output"
"""Folder below the scratch folder that the training process leaves the model in."""


class Kept(Wire):
    """Which checkpoint a run may go on from."""

    run: RunId
    pipeline: Digest
    step: int = Field(ge=1)
    digest: Digest
    """Of the sealed file."""


class Plan(Wire):
    """A privacy plan; see `PrivacyPlan`."""

    epsilon: float
    delta: float
    adjacency: Literal["add-remove", "replace-one"]
    sampling_rate: float
    steps: int
    noise_multiplier: float
    cost: float
    metrics_noise: float | None = None

    @classmethod
    def of(cls, plan: PrivacyPlan) -> Self:
        """Return the plan as it is sent."""
        return cls(**asdict(plan))

    def privacy_plan(self) -> PrivacyPlan:
        """Return the plan as it is followed."""
        return PrivacyPlan(**self.model_dump())


class HeldKey(Wire):
    """What opens a file that stays sealed while it is trained on."""

    id: Slug
    key: Base64 = Field(repr=False)


class Job(Document):
    """What is to be trained, on files that were opened before."""

    kind: ClassVar[str] = "training job"

    run: RunId
    contract: Contract
    pipeline: Pipeline
    plan: Plan | None = None
    """None for a run that is not private."""
    scratch: str = Field(max_length=1000)
    checkpoint_key: Base64 = Field(repr=False)
    held: tuple[HeldKey, ...] | None = Field(default=None, min_length=1, repr=False)
    kept: Kept | None = None
    """Checkpoint to go on from."""

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Read a job from its line.

        Raises:
            DocumentError: if it is none.
        """
        return cls.from_json(load_json(line, kind=cls.kind, limit=MAX_JOB_BYTES))


class Stepped(Wire):
    """A step was taken."""

    step: int = Field(ge=1)
    micro_epsilon: int = Field(ge=0)
    eta_seconds: float = Field(ge=0)


class Said(Document):
    """One word of the training process."""

    kind: ClassVar[str] = "word of the training process"

    ready: Literal[True] | None = None
    """The data are read, and training begins."""
    stepped: Stepped | None = None
    kept: Kept | None = None
    """A checkpoint was written."""
    trained: int | None = Field(default=None, ge=0)
    """The model is written, after so many steps."""
    failed: Slug | None = None
    """Why nothing comes of it."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("expected one word")
        return self
