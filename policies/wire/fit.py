"""Whether a network takes the samples of a data set and answers in the shape of its targets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from policies.shapes import output_shape
from policies.wire.datasets import (
    ArraysDataset,
    Dataset,
    SlicesDataset,
    VolumesDataset,
    answer_shape,
    sample_shape,
)
from policies.wire.graph import GraphModel
from policies.wire.models import Cnn, Mlp, Model, OnnxModel, UNet2d, UNet3d
from policies.wire.tables import TableDataset


def check_fit(model: Model, dataset: Dataset) -> None:
    """Raise unless the network is one for the data set; what is in an ONNX file is seen later.

    Raises:
        ValueError: naming what does not fit.
    """
    match model, dataset:
        case (UNet2d() as unet, SlicesDataset() as given):
            _check_unet(unet, given, sides={"size": given.size})
        case (UNet3d() as unet, VolumesDataset() as given):
            _check_unet(unet, given, sides={"patch": given.patch})
        case (Cnn(), ArraysDataset()):
            _expect("shape", model.shape, dataset.shape)
            _expect("classes", model.classes, dataset.classes)
        case (Mlp(), ArraysDataset() | TableDataset()):
            _expect("inputs", model.inputs, math.prod(dataset.shape))
            _expect("classes", model.classes, dataset.classes)
        case (GraphModel(), _):
            got, wanted = output_shape(model, sample_shape(dataset)), answer_shape(dataset)
            if got != wanted:
                raise ValueError(
                    f"the graph gives {list(got)}, the dataset asks for {list(wanted)}"
                )
        case (OnnxModel(), _):
            pass
        case _:
            raise ValueError(f"model {model.kind} does not fit dataset {dataset.kind}")


def _check_unet(
    model: UNet2d | UNet3d,
    dataset: SlicesDataset | VolumesDataset,
    *,
    sides: Mapping[str, tuple[int, ...]],
) -> None:
    if model.in_channels != dataset.channels or model.out_channels != dataset.classes:
        raise ValueError(
            "inChannels and outChannels of the model are not channels and classes of the dataset"
        )
    factor = 2 ** (model.levels - 1)
    for name, given in sides.items():
        if any(side % factor for side in given):
            raise ValueError(
                f"{name} {list(given)} is not a multiple of {factor}, as the levels ask"
            )
        if model.norm == "instance" and all(side == factor for side in given):
            raise ValueError(
                f"{name} {list(given)} leaves one number a channel at the last level, which norm "
                "instance makes zero: use fewer levels"
            )


def _expect(field: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise ValueError(f"{field} of the model is {_text(got)}, the dataset has {_text(wanted)}")


def _text(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
