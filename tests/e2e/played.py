"""A scenario that was played, and what every process of it could see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.independent import Log, read_log

ROOT = Path(__file__).resolve().parents[2]
OURS = (b"clients.cli", b"deploy.local", b"contract_service", b"trainer.run", b"/scenarios/")
_LOOK_SECONDS = 0.1


@dataclass
class Seen:
    """Command lines and secret variables of the processes of a play, seen from outside."""

    commands: set[bytes] = field(default_factory=set)
    passphrases: dict[str, str] = field(default_factory=dict)
    """By home of a role; those of vaults and service under their command line."""
    run_tokens: set[str] = field(default_factory=set)

    def look(self, folder: Path) -> None:
        """Look at every process whose command or environment names `folder` or our modules."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
                environment = (process / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in command + environment and any(o in command for o in OURS):
                self._note(command, environment)

    def _note(self, command: bytes, environment: bytes) -> None:
        self.commands.add(command)
        variables = dict(
            os.fsdecode(item).split("=", 1) for item in environment.split(b"\0") if b"=" in item
        )
        if "DEPA_RUN_TOKEN" in variables:
            self.run_tokens.add(variables["DEPA_RUN_TOKEN"])
        if "DEPA_PASSPHRASE" in variables:
            owner = variables.get("DEPA_HOME", os.fsdecode(command))
            self.passphrases[owner] = variables["DEPA_PASSPHRASE"]


@dataclass(frozen=True)
class Played:
    """A scenario that was played."""

    folder: Path
    figures: dict[str, Any]
    output: str
    told: str
    log: Log
    seen: Seen

    @property
    def contract(self) -> dict[str, Any]:
        (entry,) = self.log.of("contract")
        document: dict[str, Any] = entry.document
        return document

    @property
    def digest(self) -> str:
        return self.log.of("contract")[0].payload

    @property
    def stack(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "stack" / "stack.json").read_bytes())
        return value


def play(folder: Path, *options: str) -> Played:
    """Play the demo with a tiny cohort, keeping everything in `folder`."""
    command = [sys.executable, "-m", "clients.cli.main", "demo", *options, "--tiny", "--json"]
    # Whoever runs the tests may have settings, and a passphrase, of an own.
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("DEPA_")}
    with _watching(folder) as seen:
        done = subprocess.run(
            [*command, "--dir", str(folder)],
            cwd=ROOT,
            env={**inherited, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    return Played(folder, figures, done.stdout, done.stderr, read_log(folder / "bundle.json"), seen)


@contextmanager
def _watching(folder: Path) -> Iterator[Seen]:
    seen, over = Seen(), threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_SECONDS):
            seen.look(folder)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
