"""Sealed files and released keys become a training set and a network, in this process only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from clients.api.blobs import split_blob_url
from clients.api.stores import open_store
from policies.agreement import Agreement
from policies.parameters import most_parameters
from policies.wire.contract import Dataset
from policies.wire.datasets import SlicesDataset, VolumesDataset, sample_shape
from policies.wire.tables import TableDataset, TableJoinConfig
from trainer.data.errors import DataError
from trainer.data.join import DirectoryJoin, Joinable, open_dataset
from trainer.data.rows import open_tables
from trainer.models.factory import BaseModel, build_model, read_base_model
from trainer.sealed.dataset import unseal
from trainer.sealed.keys import OpeningKek


@dataclass(frozen=True)
class Inputs:
    """What training works on."""

    units: Joinable
    model: nn.Module
    base: BaseModel | None
    opened: tuple[str, ...]
    """Digests of the sealed files that were opened."""


def open_inputs(agreement: Agreement, *, keks: Mapping[str, OpeningKek], scratch: Path) -> Inputs:
    """Open every file of the agreement, and refuse what is not exactly as agreed.

    Args:
        agreement: What was approved.
        keks: Released keys by id of the sealed file.
        scratch: Private folder on encrypted memory.

    Raises:
        SealedError: when a file is not the one of the contract.
        DataError: when what is inside does not fit contract or pipeline.
        ModelRefused: when the base model does not.
    """
    for item in agreement.files:
        store_url, name = split_blob_url(item.url)
        with open_store(store_url).open(name) as stream:
            unseal(
                stream,
                kek=keks[item.id],
                expected_digest=item.digest,
                dataset=item.id,
                version=item.version,
                into=scratch / item.id,
            )
    units = _units(agreement, scratch)
    weights = agreement.pipeline.train.base_weights
    base = read_base_model(scratch / weights) if weights else None
    model = build_model(agreement.pipeline.train.model, base=base)
    limit = min(
        agreement.contract.constraints.max_parameters,
        most_parameters(agreement.pipeline, agreement.contract),
    )
    trainable = sum(each.numel() for each in model.parameters() if each.requires_grad)
    if trainable > limit:
        raise DataError(f"the model trains {trainable} parameters, at most {limit} were approved")
    return Inputs(units, model, base, tuple(item.digest for item in agreement.files))


def _units(agreement: Agreement, scratch: Path) -> Joinable:
    join, dataset = agreement.pipeline.join, agreement.pipeline.train.dataset
    if isinstance(join, TableJoinConfig) and isinstance(dataset, TableDataset):
        items = [item for item in agreement.contract.datasets if item.id in join.datasets]
        folders = {item.id: scratch / item.id for item in items}
        return open_tables(items, folders, join=join, dataset=dataset)
    opened: dict[str, Joinable] = {}
    for name in agreement.pipeline.datasets:
        item = agreement.contract.dataset(name)
        if item is None:
            raise DataError(f"{name} is no data set of the contract")
        opened[name] = _dataset(item, scratch / name)
    units: Joinable = DirectoryJoin(opened) if join else opened.popitem()[1]
    _fits(agreement, units)
    return units


def _dataset(item: Dataset, folder: Path) -> Joinable:
    units = open_dataset(folder)
    if len(units) != item.units:
        raise DataError(
            f"{item.id} holds another number of units than the {item.units} of the contract"
        )
    return units


def _fits(agreement: Agreement, units: Joinable) -> None:
    wanted = agreement.pipeline.train.dataset
    # Patches are cut out of volumes of any size.
    shape = (wanted.channels,) if isinstance(wanted, VolumesDataset) else sample_shape(wanted)
    got = units.sample_shape
    if tuple(got) != tuple(shape):
        raise DataError(f"samples have shape {list(got)}, the pipeline asks for {list(shape)}")
    if isinstance(wanted, SlicesDataset | VolumesDataset) and wanted.classes != 1:
        raise DataError(f"masks have 1 channel, the pipeline asks for {wanted.classes}")
