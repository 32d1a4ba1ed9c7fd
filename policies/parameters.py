"""How many parameters a pipeline can train, known before any weights are opened."""

from __future__ import annotations

from policies.errors import DocumentError, Problem
from policies.shapes import graph_parameters
from policies.wire.contract import Contract
from policies.wire.graph import GraphModel
from policies.wire.pipeline import Pipeline, UNet2d

_BYTES_PER_WEIGHT = 4


def most_parameters(pipeline: Pipeline, contract: Contract) -> int:
    """Return an upper bound on the trainable parameters of a pipeline's model.

    That of a U-Net or a described graph follows from the description. An ONNX graph is sealed with
    its weights, so the size of the sealed file bounds it.

    Raises:
        DocumentError: when the pipeline starts from weights that the contract does not name.
    """
    model = pipeline.train.model
    if isinstance(model, UNet2d):
        return _unet2d(model)
    if isinstance(model, GraphModel):
        return graph_parameters(model)
    wanted = pipeline.train.base_weights
    for base in contract.base_models:
        if base.id == wanted:
            return base.size // _BYTES_PER_WEIGHT
    at = f"/pipeline/{len(pipeline.pipeline) - 1}/config/baseWeights"
    raise DocumentError(Pipeline.kind, [Problem(at, "is no base model of the contract")])


def _unet2d(model: UNet2d) -> int:
    widths = [model.channels * 2**level for level in range(model.levels)]
    down = zip([model.in_channels, *widths[:-1]], widths, strict=True)
    up = ((deep + skip, skip) for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True))
    blocks = sum(_block(inside, outside) for inside, outside in (*down, *up))
    return int(blocks + (widths[0] + 1) * model.out_channels)


def _block(inside: int, outside: int) -> int:
    # Two 3x3 convolutions without bias, each followed by a scale and a shift per channel.
    return 9 * inside * outside + 9 * outside * outside + 4 * outside
