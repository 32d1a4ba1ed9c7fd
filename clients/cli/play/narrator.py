"""What the audience of a played scenario sees: each step with what was done and what was proven."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from clients.cli.output import Output

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Step:
    """One step while it is played."""

    done: str = ""
    """What was done."""
    proven: str = ""
    """What that proves."""
    _out: Output = field(default_factory=Output, repr=False)

    def progress(self, text: str) -> None:
        """Tell how the step goes on."""
        self._out.note(f"      {text}", style="dim")


@dataclass
class Narrator:
    """Numbers the steps and times them."""

    out: Output
    steps: int
    _number: int = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Play one step; what it sets is told when it has succeeded."""
        self._number += 1
        label = f"[{self._number}/{self.steps}]"
        self.out.note(f"{label} {title}", style="bold")
        step, begun = Step(_out=self.out), time.monotonic()
        yield step
        self.out.note(f"      done:   {step.done} ({time.monotonic() - begun:.1f} s)")
        self.out.note(f"      proven: {step.proven}", style="green")


def in_parallel(function: Callable[[T], R], items: Iterable[T], *, workers: int) -> list[R]:
    """Apply a function to all items at once, in order; the first error ends it.

    The work is done by other processes, so that threads are enough here.
    """
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))
