"""How many parameters a pipeline can train, known before any weights are opened."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from policies.errors import DocumentError, Problem
from policies.shapes import graph_parameters
from policies.wire.contract import Contract
from policies.wire.graph import GraphModel
from policies.wire.models import Cnn, Mlp, OnnxModel, UNet2d, UNet3d
from policies.wire.pipeline import Pipeline

_BYTES_PER_WEIGHT = 4


def most_parameters(pipeline: Pipeline, contract: Contract) -> int:
    """Return an upper bound on the trainable parameters of a pipeline's model.

    That of a network that is described follows from the description. An ONNX graph is sealed with
    its weights, so the size of the sealed file bounds it.

    Raises:
        DocumentError: when the pipeline starts from weights that the contract does not name.
    """
    model = pipeline.train.model
    if isinstance(model, OnnxModel):
        return _sealed(pipeline, contract)
    return parameters_of(model)


def parameters_of(model: UNet2d | UNet3d | Cnn | Mlp | GraphModel) -> int:
    """Return the number of trainable parameters of a network that is described."""
    match model:
        case UNet2d():
            return _unet(model, window=3**2)
        case UNet3d():
            return _unet(model, window=3**3)
        case Cnn():
            return _cnn(model)
        case Mlp():
            return _linear((model.inputs, *model.hidden, model.classes))
        case GraphModel():
            return graph_parameters(model)


def _sealed(pipeline: Pipeline, contract: Contract) -> int:
    wanted = pipeline.train.base_weights
    for base in contract.base_models:
        if base.id == wanted:
            return base.size // _BYTES_PER_WEIGHT
    at = f"/pipeline/{len(pipeline.pipeline) - 1}/config/baseWeights"
    raise DocumentError(Pipeline.kind, [Problem(at, "is no base model of the contract")])


def _unet(model: UNet2d | UNet3d, *, window: int) -> int:
    widths = model.widths
    down = zip([model.in_channels, *widths[:-1]], widths, strict=True)
    up = ((deep + skip, skip) for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True))
    residual = model.blocks == "residual"
    blocks = sum(
        _block(inside, outside, window=window, residual=residual)
        for inside, outside in (*down, *up)
    )
    heads = widths if model.supervision == "deep" else widths[:1]
    return blocks + sum((width + 1) * model.out_channels for width in heads)


def _block(inside: int, outside: int, *, window: int, residual: bool) -> int:
    # Two convolutions without bias, each followed by a scale and a shift per channel; a residual
    # block brings what goes in to as many channels as come out, if these are others.
    past = inside * outside if residual and inside != outside else 0
    return window * inside * outside + window * outside * outside + 4 * outside + past


def _cnn(model: Cnn) -> int:
    inside, found = model.shape[0], 0
    for convolution in model.convolutions:
        outside = convolution.channels
        found += outside * (inside * convolution.kernel**2 + 1)
        found += 2 * outside if model.groups else 0
        inside = outside
    return found + _linear((model.flat, *model.hidden, model.classes))


def _linear(widths: Iterable[int]) -> int:
    return sum((inside + 1) * outside for inside, outside in pairwise(widths))
