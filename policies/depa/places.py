"""Where DEPA's configurations read and write: compared with its mounts, then forgotten.

The clean room chooses all paths, so that none of these is used. A path that is not where DEPA
mounts things is refused all the same: whoever wrote it wanted something else than training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from policies.depa.form import Notes, named
from policies.depa.pipeline_form import DepaJoinConfig, DepaTrainDl
from policies.wire.contract import Contract

_MOUNT: Final = re.compile(r"\A/mnt/remote/(?P<folder>[A-Za-z0-9][A-Za-z0-9_-]{0,63})(/|\Z)")
_NO_DATA: Final = frozenset({"config", "model", "output"})
_MODEL: Final = re.compile(r"\A/mnt/remote/model/[A-Za-z0-9_-]{1,64}\.(onnx|safetensors)\Z")
_OUTPUT: Final = re.compile(r"\A/mnt/remote/output/?\Z")
_SCRATCH: Final = re.compile(r"\A/tmp/[A-Za-z0-9_-]{1,64}(\.csv|\.parquet|/)?\Z")


def check_paths(joined: str | None, train: DepaTrainDl, *, at: str, notes: Notes) -> None:
    """Note every path that is not where DEPA mounts things.

    Args:
        joined: Where a join before it writes, if there is one.
        train: The training stage.
        at: Pointer to its configuration.
        notes: What takes the notes.
    """
    paths = train.paths
    for name, text, wanted in (
        ("base_model_path", paths.base_model_path, _MODEL),
        ("saved_weights_path", paths.saved_weights_path, _MODEL),
        ("trained_model_output_path", paths.trained_model_output_path, _OUTPUT),
    ):
        if text and not wanted.match(text):
            notes.refuse(f"{at}/paths/{name}", "is not where DEPA mounts the consumer's model")
    notes.change("dropped", f"{at}/paths", "the clean room chooses all paths")
    notes.change("dropped", f"{at}/device", "the clean room chooses the device")
    if joined is None:
        return
    if not _SCRATCH.match(joined):
        notes.refuse(
            "/pipeline/0/config/joined_dataset",
            "a join may not write where data sets, model or output are mounted",
            "expected a scratch place such as /tmp/joined",
        )
    if paths.input_dataset_path.rstrip("/") != joined.rstrip("/"):
        notes.refuse(f"{at}/paths/input_dataset_path", "is not the data set that was joined")


def input_dataset(train: DepaTrainDl, contract: Contract, *, at: str, notes: Notes) -> str:
    """Return the id of the one data set that a stage without a join reads."""
    here, path = f"{at}/paths/input_dataset_path", train.paths.input_dataset_path
    found = _MOUNT.match(path)
    datasets = contract.datasets
    if found is None or found["folder"] in _NO_DATA or ".." in path:
        notes.refuse(here, "is not where DEPA mounts data sets")
        return datasets[0].id
    folder = found["folder"]
    ids = named(datasets, dataset_id=folder, owner=folder, name=folder)
    if len(ids) != 1 and len(datasets) != 1:
        notes.refuse(here, f"{folder} is no data set of the contract")
        return datasets[0].id
    chosen = ids[0] if ids else datasets[0].id
    notes.change("changed", here, f"data set {chosen}")
    return chosen


def joined_datasets(join: DepaJoinConfig, contract: Contract, *, notes: Notes) -> Sequence[str]:
    """Return the ids of the data sets that a join reads."""
    chosen: list[str] = []
    for index, item in enumerate(join.datasets):
        at = f"/pipeline/0/config/datasets/{index}"
        folder = item.provider or item.name
        if item.mount_path.rstrip("/") != f"/mnt/remote/{folder}":
            notes.refuse(f"{at}/mount_path", f"expected /mnt/remote/{folder[:60]}")
        ids = named(contract.datasets, dataset_id=item.id, owner=folder, name=item.name)
        if len(ids) == 1:
            chosen.append(ids[0])
        else:
            notes.refuse(at, f"{item.name[:100]} is no data set of the contract")
    return chosen
