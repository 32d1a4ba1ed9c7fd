"""A pipeline configuration as DEPA-Training writes it: closed, nothing in it looked up or run.

What the clean room decides by itself (paths, devices) and what the provider has done before sealing
(reading and preparing files) is read here so that an unknown field is refused, and then dropped.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints

from policies.depa.form import Count, DepaPart, Number, Text
from policies.errors import DocumentError
from policies.wire.base import Document, without_tags

_MAX = 64

Share = Annotated[Number, Field(ge=0, le=1)]


class DepaPaths(DepaPart):
    """Where DEPA reads and writes."""

    input_dataset_path: Text
    base_model_path: Text | None = None
    saved_weights_path: Text | None = None
    trained_model_output_path: Text


class DepaPrivacyParams(DepaPart):
    """What the run may spend."""

    max_grad_norm: Number
    epsilon: Number
    delta: Number


class DepaNamed(DepaPart):
    """An optimiser or schedule."""

    name: Text
    params: dict[Text, Any] = Field(default_factory=dict, max_length=32)


class DepaMetric(DepaPart):
    """A metric with parameters."""

    name: Text
    params: dict[Text, Any] = Field(default_factory=dict, max_length=16)


class DepaTransforms(DepaPart):
    """What DEPA states and ignores."""

    normalize: bool = False
    augment: bool = False


class DepaSplits(DepaPart):
    """Shares of the private data."""

    train: Share
    val: Share = 0.0
    test: Share = 0.0
    random_state: Count | None = None
    stratify: bool = False


class DepaSerialized(DepaPart):
    """Arrays in one file."""

    type: Literal["serialized"]
    format: Literal["hdf5", "safetensors", "parquet"]
    structure: Literal["list_of_tuples", "dict", "separate_tensors"]
    features_key: Text = "features"
    targets_key: Text = "targets"
    transforms: DepaTransforms = DepaTransforms()
    splits: DepaSplits


class DepaPairing(DepaPart):
    """Which files belong together."""

    folder_pattern: Text
    input_pattern: Text
    target_pattern: Text


class DepaImages(DepaPart):
    """How pictures are read."""

    use_cv2: bool = False
    convert_to_pil: bool = False
    grayscale: bool = False
    to_tensor: bool = True
    binarize: bool = False
    binarize_threshold: Number = 0.0


class DepaFiltering(DepaPart):
    """Which pictures are left out."""

    filter_empty_targets: bool = False


class DepaDirectory(DepaPart):
    """Pictures in folders."""

    type: Literal["directory"]
    structure_type: Literal["paired"]
    data_type: Literal["image"]
    pairing: DepaPairing
    image_config: DepaImages = DepaImages()
    filtering: DepaFiltering = DepaFiltering()
    splits: DepaSplits


class DepaPreprocessing(DepaPart):
    """How numbers are scaled, by statistics of the private data."""

    scaler: Literal["standard", "minmax", "robust", "normalizer"] | None = None


class DepaTabular(DepaPart):
    """Rows of a table."""

    type: Literal["tabular"]
    target_variable: Text
    preprocessing: DepaPreprocessing = DepaPreprocessing()
    missing_strategy: Literal["drop", "fill", "forward_fill", "backward_fill"] = "drop"
    fill_value: Number | None = None
    data_type: Literal["numpy", "torch"] | None = None
    splits: DepaSplits


DepaData = Annotated[DepaSerialized | DepaDirectory | DepaTabular, Field(discriminator="type")]


class DepaTrainDl(DepaPart):
    """How a network is trained."""

    paths: DepaPaths
    model_type: Literal["onnx", "safetensors"]
    is_private: bool
    privacy_params: DepaPrivacyParams | None = None
    device: Annotated[str, StringConstraints(pattern=r"\A(cpu|mps|cuda(:[0-9])?)\z")] = "cpu"
    batch_size: Count
    optimizer: DepaNamed
    scheduler: DepaNamed | None = None
    total_epochs: Count
    network: dict[Text, Any] | None = Field(default=None, alias="model_config")
    dataset_config: DepaData
    loss_config: dict[Text, Any] = Field(min_length=1, max_length=8)
    metrics: tuple[Text | DepaMetric, ...] = Field(min_length=1, max_length=16)
    task_type: Literal["classification", "segmentation"]
    threshold: Number | None = None


class DepaJoined(DepaPart):
    """A data set of a join."""

    id: Text
    provider: Text | None = None
    name: Text
    mount_path: Text


class DepaJoinConfig(DepaPart):
    """Which data sets are put together."""

    datasets: tuple[DepaJoined, ...] = Field(min_length=1, max_length=_MAX)
    joined_dataset: Text


class DepaJoin(DepaPart):
    """Stage: put data sets together."""

    name: Literal["DirectoryJoin"]
    config: DepaJoinConfig


class DepaTable(DepaPart):
    """A table of a join."""

    id: Text
    provider: Text | None = None
    name: Text
    file: Text
    select_variables: tuple[Text, ...] = Field(max_length=512)
    mount_path: Text


class DepaJoinedTable(DepaPart):
    """The result of a join."""

    joined_dataset: Text
    joining_query: Annotated[str, StringConstraints(max_length=4000)]
    joining_key: Text
    drop_columns: tuple[Text, ...] = Field(default=(), max_length=512)
    identifiers: tuple[Text, ...] = Field(default=(), max_length=512)
    joined_result_columns: tuple[Text, ...] = Field(default=(), max_length=512)


class DepaTableJoinConfig(DepaPart):
    """Which tables are put together."""

    datasets: tuple[DepaTable, ...] = Field(min_length=1, max_length=_MAX)
    joined_dataset: DepaJoinedTable


class DepaTableJoin(DepaPart):
    """Stage: put tables together."""

    name: Literal["SparkJoin"]
    config: DepaTableJoinConfig


class DepaTrain(DepaPart):
    """Stage: train a network."""

    name: Literal["Train_DL"]
    config: DepaTrainDl


DepaStage = Annotated[DepaJoin | DepaTableJoin | DepaTrain, Field(discriminator="name")]


class DepaPipeline(Document, DepaPart):
    """A pipeline configuration."""

    kind: ClassVar[str] = "DEPA pipeline"

    pipeline: tuple[DepaStage, ...] = Field(min_length=1, max_length=2)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read a configuration from a parsed JSON value.

        Raises:
            DocumentError: naming every field that is missing, unknown or wrong.
        """
        try:
            return super().from_json(value)
        except DocumentError as error:
            problems = [without_tags(problem, value) for problem in error.problems]
            raise DocumentError(cls.kind, problems) from None
