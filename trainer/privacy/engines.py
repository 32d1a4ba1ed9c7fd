"""Which engine bounds the gradients of a private stage."""

from __future__ import annotations

from torch import nn

from policies.wire.pipeline import TrainDlConfig
from trainer.privacy.clipping import Clipping
from trainer.privacy.engine import Precision, PrivateEngine, SampleLoss
from trainer.privacy.errors import EngineRefused
from trainer.privacy.per_sample_engine import PerSampleEngine


def private_engine(
    model: nn.Module, config: TrainDlConfig, *, loss: SampleLoss, measure: bool
) -> PrivateEngine:
    """Return the engine that a private stage asks for, attached to its model.

    Args:
        model: The network.
        config: The stage; it MUST be private.
        loss: One loss a sample.
        measure: See `PerSampleEngine`.

    Raises:
        EngineRefused: if the model or the loss breaks the privacy guarantee, or the engine lacks
            what is asked for.
    """
    params = config.privacy_params
    if params is None:
        raise ValueError("a stage without privacy parameters has no private engine")
    clipping = Clipping(params.clipping or Clipping.FLAT)
    precision = Precision(config.precision or Precision.FP32)
    if config.engine != "opacus":
        return PerSampleEngine(
            model,
            loss=loss,
            max_grad_norm=params.max_grad_norm,
            clipping=clipping,
            precision=precision,
            measure=measure,
        )
    if precision is not Precision.FP32:
        raise EngineRefused(
            f"/precision: the engine opacus computes in fp32, got {precision}",
            hint="use the engine per-sample",
        )
    # Opacus takes a second to load, which the other engine has no use for.
    from trainer.privacy.opacus_engine import OpacusEngine  # noqa: PLC0415

    return OpacusEngine(model, loss=loss, max_grad_norm=params.max_grad_norm, clipping=clipping)
