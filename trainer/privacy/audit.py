"""Measure a training run's privacy from below, with made-up units in one run.

Of many canaries each is a member or not by a coin of its own. After training somebody who sees the
weights guesses which were, where it dares to. If training is (epsilon, delta)-private, so many
right guesses are improbable; the largest epsilon that is refuted with the wanted confidence is a
lower bound (Steinke, Nasr and Jagielski 2023, theorem 5.2). A bound above the reported epsilon
proves that something is broken. One below it proves nothing.

The canaries are as strong as the mechanism allows: each is alone in one input of a linear model, so
that its clipped gradient stands in one weight with the noise and nothing else. For made data only:
guesses about real units would be private.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from policies.accounting import PrivacyPlan
from policies.wire.pipeline import TrainDlConfig
from trainer.loop import train
from trainer.privacy.csprng import SecureStream
from trainer.privacy.errors import AuditFailed
from trainer.privacy.streams import Streams

_LOUD = 100.0
"""Size of a canary's input: its gradient is clipped at every step."""
_MOST = 100.0
_HALVINGS = 60


@dataclass(frozen=True)
class Guesses:
    """How well somebody told members from others."""

    canaries: int
    made: int
    """Guesses; about the other canaries nothing was said."""
    right: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.made <= self.canaries:
            raise ValueError(
                f"guesses: expected right <= made <= canaries, "
                f"got {self.right}, {self.made}, {self.canaries}"
            )

    def chance(self, *, epsilon: float, delta: float) -> float:
        """Return the most probability of so many right guesses under (epsilon, delta)."""
        right = 1 / (1 + np.exp(-epsilon))
        lucky = stats.binom(self.made, right)
        beyond = float(lucky.sf(self.right - 1))
        if self.right == 0:
            return 1.0
        # What delta can add: the failures that move the count over the mark most cheaply.
        just_below = np.cumsum(lucky.pmf(np.arange(self.right - 1, -1, -1)))
        moved = float((just_below / np.arange(1, self.right + 1)).max())
        return min(1.0, beyond + 2 * self.canaries * delta * moved)

    def epsilon_at_least(self, *, delta: float, confidence: float = 0.95) -> float:
        """Return the largest epsilon that these guesses refute; 0 if they refute none.

        Raises:
            ValueError: if the confidence is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence: expected between 0 and 1, got {confidence}")
        low, high = 0.0, _MOST
        if self.chance(epsilon=low, delta=delta) > 1 - confidence:
            return 0.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            refuted = self.chance(epsilon=middle, delta=delta) <= 1 - confidence
            low, high = (middle, high) if refuted else (low, middle)
        return low


@dataclass(frozen=True)
class Canaries:
    """Made-up units of which a coin each chose the members; a set of the members."""

    members: NDArray[np.bool_]

    @classmethod
    def draw(cls, count: int, *, stream: SecureStream) -> Canaries:
        """Toss the coins."""
        return cls(stream.integers(count, below=2).astype(np.bool_))

    def __len__(self) -> int:
        return int(self.members.sum())

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
        """Return a member's only sample, which is alone in its input."""
        image = np.zeros((1, len(self.members)), dtype=np.float32)
        image[0, np.flatnonzero(self.members)[index]] = _LOUD
        return image, np.ones((1, 1), dtype=np.float32)

    def guess(self, scores: NDArray[np.float64], *, guesses: int) -> Guesses:
        """Call the highest scores members and the lowest others, half of the guesses each.

        How many guesses are made MUST NOT depend on who is a member.

        Raises:
            ValueError: if there are not so many canaries.
        """
        half = guesses // 2
        if not 0 < 2 * half <= len(self.members) == len(scores):
            raise ValueError(f"guesses: expected 2 to {len(self.members)}, got {guesses}")
        order = np.argsort(scores, kind="stable")
        right = self.members[order[-half:]].sum() + (~self.members[order[:half]]).sum()
        return Guesses(canaries=len(self.members), made=2 * half, right=int(right))


@dataclass(frozen=True)
class Audited:
    """What an audit found."""

    guesses: Guesses
    reported: float
    """Epsilon that the run says it spent."""
    refuted: float
    """Epsilon that the guesses refute."""


def audit_training(
    config: TrainDlConfig,
    agreed: PrivacyPlan,
    *,
    streams: Streams,
    coins: SecureStream,
    canaries: int = 1000,
    guesses: int = 400,
    confidence: float = 0.95,
) -> Audited:
    """Train on canaries as a run trains, attack the weights, and compare with what it reports.

    Args:
        config: A private training stage with one number a sample as its target.
        agreed: Its privacy plan.
        streams: The run's random streams.
        coins: Who is a member; none of the run's streams.
        canaries: How many there are.
        guesses: About how many of them the attack says something.
        confidence: Of the lower bound.

    Raises:
        AuditFailed: if the guesses refute the reported epsilon.
    """
    drawn = Canaries.draw(canaries, stream=coins)
    model = nn.Linear(canaries, 1, bias=False)
    nn.init.zeros_(model.weight)
    trained = train(
        model, drawn, config, agreed=agreed, streams=streams, on_step=lambda _report: None
    )
    if trained.spent is None:
        raise ValueError("the stage is not private, so that there is nothing to audit")
    scores = trained.weights["weight"].flatten().to(torch.float64).numpy()
    made = drawn.guess(scores, guesses=guesses)
    found = Audited(
        guesses=made,
        reported=trained.spent.micro_epsilon / 1e6,
        refuted=made.epsilon_at_least(delta=agreed.delta, confidence=confidence),
    )
    if found.refuted > found.reported:
        raise AuditFailed(
            f"reported epsilon {found.reported:g}, refuted up to {found.refuted:.3g}: "
            f"{made.right} of {made.made} guesses were right",
            hint="noise, clipping or sampling is not what the accountant was told",
        )
    return found
