"""Write the page about the engines that bound gradients: layers, ways, refusals, limits.

What an engine refuses is found out by giving it such a network, and the page quotes its words.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Final

import torch
from torch import Tensor, nn

from docs.markdown import page, table
from trainer.privacy.clipping import Clipping
from trainer.privacy.engine import MAX_NUMBERS, Precision, UnitBatch
from trainer.privacy.errors import EngineRefused
from trainer.privacy.layers import convolution
from trainer.privacy.layers.registry import KINDS, is_known, strategies
from trainer.privacy.layers.rule import ROUNDING, Call, Ghost
from trainer.privacy.opacus_engine import OpacusEngine, check_layers
from trainer.privacy.per_sample_engine import MAX_FLOATS, MAX_SAMPLES, PerSampleEngine

_ABOUT = (
    "An engine turns the samples of a step into one sum over privacy units in which no unit counts "
    "for more than `maxGradNorm`; a unit's samples are averaged before its gradient is bounded. "
    "Noise is added to that sum and to nothing else. What the sum then costs: "
    "[accounting](accounting.md). Which fields choose among what stands here: "
    "[pipeline](pipeline.md#traindlconfig)."
)
_ENGINES = [
    (
        "`per-sample`",
        "the default",
        "Gradients of single samples in place of the batch's gradient, by a rule for each kind of "
        "layer; layers without a rule by `torch.func`.",
    ),
    (
        "`opacus`",
        '`"engine": "opacus"`',
        f"The hooks of Opacus {version('opacus')}, to compare with: slower, fewer layers, fp32 "
        "alone. Its samplers, its noise and its accountants are not used.",
    ),
]
_RULES = (
    "In the settings that the last column does not exclude, a layer's gradients are computed by "
    "a rule. Where there are several ways, the quickest is measured on random numbers of the "
    "same shapes when a run begins; the first is the one of seeded runs, which do not measure."
)
_WAYS = {
    "grouped": "one backward convolution in which each sample is a group of channels of its own",
    "one by one": "one backward convolution for each sample",
    "unfolded": "the input under the kernel as columns, one matrix product a sample; as long as "
    f"the columns of a batch take at most {convolution.MAX_COLUMNS:,} numbers",
    "pointwise": "one matrix product a sample, of kernels of one point",
    "outer product": "the product of output gradient and input, summed over positions",
    "scattered": "output gradients added to the rows that were looked up",
    "per channel": "sums over the positions of a channel; of group normalisation, those that its "
    "backward pass makes anyway",
    "per feature": "sums over positions, of the normalised input",
    "ghost": "norms first, from pairs of positions, then one weighted sum for the whole batch; no "
    "sample's gradient is ever held. In fp32, where a layer was called once, each unit has one "
    "sample and the pairs take no more memory than the gradients would. Such a norm is rounded up "
    f"by {ROUNDING:g} of its absolute terms, more than the error of its sums",
}
_CLIPPING = {
    Clipping.FLAT: (
        "the norm of the whole gradient is at most C (Abadi and others 2016)",
        "the default",
    ),
    Clipping.PER_LAYER: (
        "the norm of each of L layers is at most C / √L, so that the whole has at most C",
        "layers whose gradients differ by orders of magnitude",
    ),
    Clipping.AUTOMATIC: (
        "the gradient is scaled to C n / (n + 0.01), n its norm (Bu and others 2023)",
        "not having to tune C",
    ),
}
_PRECISIONS = {
    Precision.FP32: "everything in float32",
    Precision.BF16: "activations and their gradients in bfloat16; weights, sums over units, norms "
    "and noise in float32. Ghost norms are left out. Quicker where the processor has instructions "
    "for it",
}
_FALLBACK = (
    "Any other layer that owns parameters, such as attention, is run again by `vmap(grad)` with "
    "everything below it. That is exact for every layer that treats samples apart, and slower "
    "than a rule. It takes a layer whose tensors have the samples first, and refuses one that "
    "draws random numbers. Layers without parameters (activations, pooling, dropout, reshaping) "
    "need no rule."
)
_REFUSED = (
    "Before the first step, and for what only a batch shows in the first step, before its weights "
    "change. Whether samples are apart is also tried: an output or a loss of one sample that "
    "changes with the samples beside it is refused, whatever the layers are called."
)
_MEMORY = (
    f"A part of a batch has at most {MAX_SAMPLES} samples, so few that what goes in is at most "
    f"{MAX_NUMBERS:,} numbers (patches of volumes pass a few at a time) and that their gradients "
    f"are at most {MAX_FLOATS:,} numbers ({MAX_FLOATS * 4 // 1024**2} MB); a unit is never cut, so "
    "that `samplesPerUnit` times the number of parameters is what a part holds at least. Layers "
    "that go by ghost norms hold no gradients of samples. Batches of any size cost time, not "
    "memory: gradients accumulate over the parts, without a setting. Where the memory is not "
    "enough for one part, take fewer samples a unit, fewer channels or smaller pictures."
)
_EXACT = (
    "Tests compare every rule, way and random network of them with `torch.func`: norms agree to "
    "1e-4 or better in fp32, and `python benchmarks/training.py` prints the largest error together "
    "with the time and memory of a step. Norms are summed in float64, for float32 loses up to 2e-4 "
    "of the norm of five million numbers: a unit's part is within 1e-6 of the bound whatever the "
    "network's size. A gradient that is not finite counts as zero. Empty batches take their step "
    "like any other, of noise alone."
)


def engine_page() -> str:
    """Return the page."""
    clipping = [(f"`{one}`", *_CLIPPING[one]) for one in Clipping]
    return page(
        "Engine",
        _ABOUT,
        table("engine", "asked for by", "how", rows=_ENGINES),
        f"## Layers with a rule\n\n{_RULES}",
        table("layer", "ways", "in Opacus", "without a rule", rows=list(_layers())),
        table("way", "what it computes", rows=[(f"`{way}`", text) for way, text in _WAYS.items()]),
        f"## Other layers\n\n{_FALLBACK}",
        f"## Refused\n\n{_REFUSED}",
        table("for example", "engine", "is refused because", "use", rows=list(_refusals())),
        "## Clipping\n\n`privacyParams.clipping`, with C for `maxGradNorm`. Each is the same "
        "mechanism for the accountant.",
        table("clipping", "bound", "for", rows=clipping),
        "## Precision",
        table("`precision`", "computed", rows=[(f"`{p}`", _PRECISIONS[p]) for p in Precision]),
        f"## Memory\n\n{_MEMORY}",
        f"## Exactness\n\n{_EXACT}",
    )


_PADDING = "`padding` as a word, or a `padding_mode` other than zeros"
_EXAMPLES: Final[dict[type[nn.Module], tuple[list[tuple[nn.Module, tuple[int, ...]]], str]]] = {
    nn.Linear: ([(nn.Linear(32, 32), (4, 32))], ""),
    nn.Embedding: ([(nn.Embedding(32, 32), (4,))], "`max_norm`, `scale_grad_by_freq`, `sparse`"),
    nn.Conv1d: (
        [(nn.Conv1d(8, 8, 3), (8, 6)), (nn.Conv1d(8, 8, 1), (8, 6))],
        _PADDING,
    ),
    nn.Conv2d: (
        [(nn.Conv2d(8, 8, 3), (8, 6, 6)), (nn.Conv2d(8, 8, 1), (8, 2, 2))],
        _PADDING,
    ),
    nn.Conv3d: (
        [(nn.Conv3d(8, 8, 3), (8, 4, 4, 4)), (nn.Conv3d(8, 8, 1), (8, 2, 2, 2))],
        _PADDING,
    ),
    nn.ConvTranspose1d: ([(nn.ConvTranspose1d(8, 8, 2), (8, 4))], ""),
    nn.ConvTranspose2d: ([(nn.ConvTranspose2d(8, 8, 2), (8, 4, 4))], ""),
    nn.ConvTranspose3d: ([(nn.ConvTranspose3d(8, 8, 2), (8, 4, 4, 4))], ""),
    nn.GroupNorm: ([(nn.GroupNorm(2, 8), (8, 4, 4))], ""),
    nn.LayerNorm: ([(nn.LayerNorm(8), (4, 8))], ""),
    nn.PReLU: ([(nn.PReLU(8), (8, 4, 4))], ""),
    nn.InstanceNorm1d: ([(nn.InstanceNorm1d(8, affine=True), (8, 4))], "statistics of the data"),
    nn.InstanceNorm2d: ([(nn.InstanceNorm2d(8, affine=True), (8, 4, 4))], "statistics of the data"),
    nn.InstanceNorm3d: (
        [(nn.InstanceNorm3d(8, affine=True), (8, 2, 2, 2))],
        "statistics of the data",
    ),
}


def _layers() -> Iterator[tuple[str, ...]]:
    for kind in KINDS:
        examples, unless = _EXAMPLES[kind]
        ways = dict.fromkeys(way for layer, shape in examples for way in _ways(layer, shape))
        named = ", ".join(f"`{way}`" for way in ways)
        yield (f"`{kind.__name__}`", named, _in_opacus(examples[0][0]), unless)


def _in_opacus(layer: nn.Module) -> str:
    try:
        check_layers(layer)
    except EngineRefused:
        return "no"
    return "yes"


def _ways(layer: nn.Module, shape: tuple[int, ...]) -> Iterator[str]:
    if not is_known(layer):
        raise ValueError(f"no rule knows {layer}")
    whole = isinstance(layer, nn.Embedding)
    inputs = torch.zeros(2, *shape, dtype=torch.int64 if whole else torch.float32)
    for way in strategies(layer, Call(inputs, layer(inputs).detach())):
        if isinstance(way, Ghost) != (way.name == "ghost") or way.name not in _WAYS:
            raise ValueError(f"the page says nothing of {way.name}")
        yield way.name


class _Centred(nn.Module):
    """Takes the mean of the batch away from each sample."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class _InPlace(nn.Module):
    """Changes the input of a layer after it was used."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.last(x)
        x.add_(1.0)
        return y


class _Attention(nn.Module):
    """Attention over one row a sample."""

    def __init__(self, *, batch_first: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        found: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return found


class _Turned(nn.Module):
    """Gives a layer the features first and the samples second."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.first(x).T[..., None])
        return found[..., 0].T


def _apart(outputs: Tensor, targets: Tensor) -> Tensor:
    del targets
    return outputs.flatten(1).square().sum(1)


def _together(outputs: Tensor, targets: Tensor) -> Tensor:
    return _apart(outputs, targets) / outputs.square().sum()


def _images(layer: nn.Module) -> nn.Module:
    parts = {"unflatten": nn.Unflatten(1, (4, 1, 1)), "layer": layer, "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(parts))


_CASES: Final = [
    ("`BatchNorm2d`", "per-sample", lambda: _images(nn.BatchNorm2d(4)), _apart),
    (
        "`InstanceNorm2d` with `track_running_stats`",
        "per-sample",
        lambda: _images(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
        _apart,
    ),
    (
        "dropout inside attention",
        "per-sample",
        lambda: _Attention(dropout=0.1),
        _apart,
    ),
    (
        "attention with the batch second",
        "per-sample",
        lambda: _Attention(batch_first=False),
        _apart,
    ),
    ("a layer that gets samples second", "per-sample", _Turned, _apart),
    (
        "a layer that centres the batch",
        "per-sample",
        lambda: nn.Sequential(nn.Linear(4, 4), _Centred()),
        _apart,
    ),
    ("a loss normalised over the batch", "per-sample", lambda: nn.Linear(4, 4), _together),
    ("an input changed in place", "per-sample", _InPlace, _apart),
    (
        "a network without trainable weights",
        "per-sample",
        nn.Flatten,
        _apart,
    ),
    (
        "`ConvTranspose2d`",
        "opacus",
        lambda: _images(nn.ConvTranspose2d(4, 4, 2)),
        _apart,
    ),
    ("`PReLU`", "opacus", lambda: _images(nn.PReLU(4)), _apart),
]


def _refusals() -> Iterator[tuple[str, ...]]:
    batch = UnitBatch(torch.ones(3, 4), torch.zeros(3), torch.arange(3), 3)
    for what, engine, network, loss in _CASES:
        reason, hint = _refusal(engine, network, loss, batch)
        yield (what, f"`{engine}`", reason, hint)


def _refusal(
    engine: str,
    network: Callable[[], nn.Module],
    loss: Callable[[Tensor, Tensor], Tensor],
    batch: UnitBatch,
) -> tuple[str, str]:
    kind = {"per-sample": PerSampleEngine, "opacus": OpacusEngine}[engine]
    try:
        kind(network(), loss=loss, max_grad_norm=1.0).unit_sum(batch)
    except EngineRefused as error:
        return str(error), error.hint
    raise ValueError(f"{network()} is not refused")
