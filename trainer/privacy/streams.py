"""The random streams of one training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from trainer.privacy.csprng import SecureStream, UnsafeSeededStream


@dataclass(frozen=True)
class Streams:
    """One stream for each use, each with its own fresh key."""

    sampling: SecureStream = field(default_factory=SecureStream)
    noise: SecureStream = field(default_factory=SecureStream)
    augmentation: SecureStream = field(default_factory=SecureStream)

    @property
    def repeatable(self) -> bool:
        """Whether the streams come from a seed, so that a run is to be repeated exactly."""
        return isinstance(self.noise, UnsafeSeededStream)

    def begin(self, step: int) -> None:
        """Hear that a step begins; only seeded streams care."""
        for stream in (self.sampling, self.noise, self.augmentation):
            stream.begin(step)

    @classmethod
    def unsafe_seeded(cls, seed: int) -> Self:
        """Return repeatable streams for tests and benchmarks; they protect nobody."""
        return cls(
            sampling=UnsafeSeededStream(seed, purpose="sampling"),
            noise=UnsafeSeededStream(seed, purpose="noise"),
            augmentation=UnsafeSeededStream(seed, purpose="augmentation"),
        )
