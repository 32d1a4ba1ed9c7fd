"""The cast of a played scenario: roles with homes, cards and files, and the stack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.cli.output import Output
from clients.cli.play.narrator import in_parallel
from clients.cli.play.role import Role
from clients.cli.play.scenario import Provider, Scenario, Size

WORKERS = max(2, os.cpu_count() or 2)


@dataclass(frozen=True)
class Cast:
    """Everybody who takes part, and where they work."""

    scenario: Scenario
    size: Size
    folder: Path
    operator: Role
    consumer: Role
    room: Role
    providers: tuple[Role, ...]

    @property
    def parties(self) -> tuple[Role, ...]:
        """Everybody who signs."""
        return (*self.providers, self.room, self.consumer)

    @property
    def owners(self) -> tuple[Role, ...]:
        """Everybody who holds keys in a vault."""
        return (*self.providers, self.consumer)

    @property
    def stack(self) -> Path:
        """Folder of the local stack."""
        return self.folder / "stack"

    @property
    def blobs(self) -> Path:
        """Folder that plays the blob store."""
        return self.stack / "blobs"

    def card(self, role: Role) -> Path:
        """Public card of a role; handing it around needs no secrecy."""
        return self.folder / "cards" / f"{role.name}.json"

    def offer(self, role: Role) -> Path:
        """Offer of a role's sealed file."""
        return self.folder / "offers" / f"{role.name}.json"

    def profile(self, role: Role) -> Provider:
        """Return what the scenario says about a provider."""
        return next(p for p in self.scenario.providers if p.name == role.name)


def gather(scenario: Scenario, size: Size, folder: Path) -> Cast:
    """Give every role a home and a passphrase of its own."""
    for name in ("cards", "offers"):
        (folder / name).mkdir()
    return Cast(
        scenario=scenario,
        size=size,
        folder=folder,
        operator=Role.new("operator", folder),
        consumer=Role.new("developer", folder),
        room=Role.new("clean-room", folder),
        providers=tuple(Role.new(profile.name, folder) for profile in scenario.providers),
    )


def introduce(cast: Cast) -> None:
    """Let every party make its keys and hand out its card."""
    organizations = {
        cast.consumer.name: (cast.scenario.consumer, "tdc"),
        cast.room.name: (cast.scenario.room, "ccrp"),
        **{p.name: (p.organization, "tdp") for p in cast.scenario.providers},
    }

    def one(role: Role) -> None:
        organization, kind = organizations[role.name]
        named = ("--name", organization, "--role", kind)
        role.depa("party", "init", *named, "--card", cast.card(role))

    in_parallel(one, cast.parties, workers=WORKERS)


@dataclass(frozen=True)
class Stage:
    """The local stack, which starts while other things are done."""

    cast: Cast
    _starting: Future[dict[str, Any]]

    def ready(self) -> dict[str, Any]:
        """Wait for the stack, let every party join it, and return what it says of itself."""
        stack = self._starting.result()
        in_parallel(
            lambda role: role.depa("config", "join", self.cast.stack),
            self.cast.parties,
            workers=WORKERS,
        )
        return stack


@contextmanager
def on_stage(cast: Cast, out: Output) -> Iterator[Stage]:
    """Run the local stack while the block runs; it is stopped whatever happens."""
    vaults = [text for role in cast.owners for text in ("--vault", str(cast.card(role)))]
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(cast.operator.depa, "up", cast.stack, *vaults)
        try:
            yield Stage(cast, starting)
        finally:
            wait([starting])
            if (cast.stack / "stack.json").exists():
                cast.operator.depa("down", cast.stack)
                out.note("stack stopped", style="dim")
