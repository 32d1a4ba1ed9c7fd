"""Files that were opened become a training set and a network, in this process only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from policies.parameters import most_parameters
from policies.wire.contract import Contract, Dataset
from policies.wire.datasets import SlicesDataset, VolumesDataset, sample_shape
from policies.wire.pipeline import Pipeline
from policies.wire.tables import TableDataset, TableJoinConfig
from trainer.data.errors import DataError
from trainer.data.files import Files
from trainer.data.join import DirectoryJoin, Joinable, open_dataset
from trainer.data.rows import open_tables
from trainer.models.factory import BaseModel, build_model, read_base_model
from trainer.models.onnx_model import OnnxNetwork
from trainer.sealed.dataset import held_name, reopen
from trainer.sealed.keys import DataKey


@dataclass(frozen=True)
class Inputs:
    """What training works on."""

    units: Joinable
    model: nn.Module
    base: BaseModel | None


def read_inputs(
    contract: Contract, pipeline: Pipeline, *, scratch: Path, held: Mapping[str, DataKey]
) -> Inputs:
    """Read what was opened, and refuse what is not exactly as agreed.

    Args:
        contract: What was agreed.
        pipeline: What was approved under it.
        scratch: Folder that holds a folder for each unsealed file, by its id, and a copy of each
            file that is held.
        held: Data keys of the files that stay sealed, by id.

    Raises:
        SealedError: when a copy is not the file of the contract.
        DataError: when what is inside does not fit contract or pipeline.
        ModelRefused: when the base model does not.
    """
    units = _units(contract, pipeline, scratch, held)
    weights = pipeline.train.base_weights
    base = read_base_model(scratch / weights) if weights else None
    model = build_model(pipeline.train.model, base=base)
    if isinstance(model, OnnxNetwork):
        model.check_fit(pipeline.train.dataset)
    limit = min(contract.constraints.max_parameters, most_parameters(pipeline, contract))
    trainable = sum(each.numel() for each in model.parameters() if each.requires_grad)
    if trainable > limit:
        raise DataError(f"the model trains {trainable} parameters, at most {limit} were approved")
    return Inputs(units, model, base)


def _units(
    contract: Contract, pipeline: Pipeline, scratch: Path, held: Mapping[str, DataKey]
) -> Joinable:
    join, dataset = pipeline.join, pipeline.train.dataset
    if isinstance(join, TableJoinConfig) and isinstance(dataset, TableDataset):
        items = [item for item in contract.datasets if item.id in join.datasets]
        folders = {item.id: scratch / item.id for item in items}
        return open_tables(items, folders, join=join, dataset=dataset)
    opened: dict[str, Joinable] = {}
    for name in pipeline.datasets:
        item = contract.dataset(name)
        if item is None or name not in held:
            raise DataError(f"{name} is no data set of the contract that can be trained on alone")
        files = reopen(scratch / held_name(name), key=held[name], expected_digest=item.digest)
        opened[name] = _dataset(item, files)
    units: Joinable = DirectoryJoin(opened) if join else opened.popitem()[1]
    _fits(pipeline, units)
    return units


def _dataset(item: Dataset, files: Files) -> Joinable:
    units = open_dataset(files)
    if len(units) != item.units:
        raise DataError(
            f"{item.id} holds another number of units than the {item.units} of the contract"
        )
    return units


def _fits(pipeline: Pipeline, units: Joinable) -> None:
    wanted = pipeline.train.dataset
    # Patches are cut out of volumes of any size.
    shape = (wanted.channels,) if isinstance(wanted, VolumesDataset) else sample_shape(wanted)
    got = units.sample_shape
    if tuple(got) != tuple(shape):
        raise DataError(f"samples have shape {list(got)}, the pipeline asks for {list(shape)}")
    if isinstance(wanted, SlicesDataset | VolumesDataset) and wanted.classes != 1:
        raise DataError(f"masks have 1 channel, the pipeline asks for {wanted.classes}")
